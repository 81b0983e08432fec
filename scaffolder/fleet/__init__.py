"""Many projects against their template: one table, and one branch each."""

from scaffolder.fleet.members import Member, Roster, read_roster
from scaffolder.fleet.page import page
from scaffolder.fleet.rollout import Plan, roll_out
from scaffolder.fleet.survey import Row, survey

__all__ = ["Member", "Plan", "Roster", "Row", "page", "read_roster", "roll_out", "survey"]
