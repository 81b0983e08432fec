"""What ran in a project: every run with its state, what it was made from, and how two of them differ."""

from scaffolder.history.origins import Comparison, Difference, Lineage, compare, flat, lineage, measured
from scaffolder.history.runs import STATES, Run, find_run, follow, key_of, list_runs, look_again, next_run

__all__ = [
    "STATES",
    "Comparison",
    "Difference",
    "Lineage",
    "Run",
    "compare",
    "find_run",
    "flat",
    "follow",
    "key_of",
    "lineage",
    "list_runs",
    "look_again",
    "measured",
    "next_run",
]
