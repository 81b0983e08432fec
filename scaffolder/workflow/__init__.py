"""Run workflows: what is up to date is left alone, the rest runs aside and is published when it works."""

from scaffolder.records import RunRecord, find_runs
from scaffolder.workflow.execute import RunResult, run_workflows
from scaffolder.workflow.preview import Planned, preview_workflows

__all__ = ["Planned", "RunRecord", "RunResult", "find_runs", "preview_workflows", "run_workflows"]
