"""A project against its template: how far behind it is, what an update would do, and the update itself."""

from scaffolder.updater.apply import Applied, recover, update
from scaffolder.updater.branch import Proposal, propose
from scaffolder.updater.changelog import Notes
from scaffolder.updater.status import Status, status
from scaffolder.updater.subject import Subject, open_subject
from scaffolder.updater.trial import Change, Trial, difference, history_of, make_trial, trial_of

__all__ = [
    "Applied", "Change", "Notes", "Proposal", "Status", "Subject", "Trial", "difference", "history_of", "make_trial",
    "open_subject", "propose", "recover", "status", "trial_of", "update",
]  # fmt: skip
