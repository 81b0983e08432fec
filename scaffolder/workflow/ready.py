"""Everything that can be known before a workflow starts: mistakes, missing inputs, what the stack cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaffolder import plan, support
from scaffolder.dataset import check_workflow
from scaffolder.errors import ConfigError
from scaffolder.oliveconfig import describe

if TYPE_CHECKING:
    from scaffolder.environment import Environment
    from scaffolder.plan import Workflow
    from scaffolder.project import Project
    from scaffolder.workflow.current import EventSink


def check_inputs(project: Project, workflow: Workflow, on_event: EventSink) -> None:
    """Refuse a configuration with mistakes, and inputs that are missing or unfit."""
    problems = plan.problems(project, workflow)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        hint = next((problem.hint for problem in errors if problem.hint), "")
        raise ConfigError("\n".join(describe(problem) for problem in errors), hint=hint)
    for problem in problems:
        on_event({"event": "warning", "message": describe(problem)})
    model = workflow.config.get("input_model", {}).get("model_path")
    if isinstance(model, str) and model.startswith("model-cache/") and not (project.root / model).is_dir():
        raise ConfigError(f"missing model {model}", hint=project.how_to_get(model))
    check_workflow(project, workflow.config, on_event)


def check_adapter(project: Project, workflow: Workflow) -> None:
    """Before the workflow itself: what it needs has run by now."""
    adapter = workflow.config.get("input_model", {}).get("adapter_path")
    if isinstance(adapter, str) and not (project.root / adapter).is_dir():
        raise ConfigError(f"missing adapter {adapter}", hint="scaffolder run fine-tuning")


def check_support(project: Project, workflow: Workflow, environment: Environment) -> None:
    """Refuse what this model, method or pass cannot do on the locked stack."""
    found = support.obstacles(workflow.config, project.root, project.manifest.model.id, environment.version)
    if found:
        message = "\n".join(obstacle.message for obstacle in found)
        raise ConfigError(message, hint="; ".join(dict.fromkeys(obstacle.hint for obstacle in found)))
