"""Forms of the model side by side: figures, gates, report."""

from scaffolder.evaluation.compare import Comparison, Score, candidates, evaluate
from scaffolder.evaluation.gates import (
    Gate,
    compared_with,
    fail_if_missed,
    judge,
    judge_project,
    judgeable,
    models_needed,
)
from scaffolder.evaluation.report import base_of
from scaffolder.evaluation.results import write_results

__all__ = [
    "Comparison",
    "Gate",
    "Score",
    "base_of",
    "candidates",
    "compared_with",
    "evaluate",
    "fail_if_missed",
    "judge",
    "judge_project",
    "judgeable",
    "models_needed",
    "write_results",
]
