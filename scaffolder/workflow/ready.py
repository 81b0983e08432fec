"""Everything that can be known before the first workflow starts: order, mistakes, what the stack cannot do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scaffolder import plan, support
from scaffolder.environment import Environment, find_environment
from scaffolder.errors import ConfigError
from scaffolder.examples import check_examples
from scaffolder.oliveconfig import describe

if TYPE_CHECKING:
    from scaffolder.plan import Workflow
    from scaffolder.project import Project

EventSink = Callable[[dict[str, Any]], None]


def prepare(
    project: Project,
    name: str,
    *,
    preset: str | None,
    overrides: dict[str, Any] | None,
    on_event: EventSink,
) -> tuple[list[Workflow], Environment]:
    """Resolve and check a workflow, or all, with what they need, before any of them starts.

    Raises:
        ScaffolderError: A configuration, a file, the model or the environment is not fit to run.
    """
    workflows = [
        plan.resolve(
            project,
            current,
            preset=preset if current == name else None,
            overrides=overrides if current == name else None,
        )
        for current in _order(project, name)
    ]
    # Mistakes in the last workflow are told before the first one trains.
    for workflow in workflows:
        _check_inputs(project, workflow, on_event)
    environment = find_environment(project.root)
    for workflow in workflows:
        check_support(project, workflow, environment)
    return workflows, environment


def _order(project: Project, name: str) -> list[str]:
    """Return the named workflow after everything it needs, each once."""
    ordered: list[str] = []

    def visit(current: str, path: tuple[str, ...]) -> None:
        if current in path:
            raise ConfigError(f"workflows need each other: {' → '.join((*path, current))}")
        for need in plan.section(project, current).needs:
            visit(need, (*path, current))
        if current not in ordered:
            ordered.append(current)

    for start in project.manifest.workflows if name == "all" else [name]:
        visit(start, ())
    return ordered


def _check_inputs(project: Project, workflow: Workflow, on_event: EventSink) -> None:
    problems = plan.problems(project, workflow)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        hint = next((problem.hint for problem in errors if problem.hint), "")
        raise ConfigError("\n".join(describe(problem) for problem in errors), hint=hint)
    for problem in problems:
        on_event({"event": "warning", "message": describe(problem)})
    model = workflow.config.get("input_model", {}).get("model_path")
    if isinstance(model, str) and model.startswith("model-cache/") and not (project.root / model).is_dir():
        raise ConfigError(f"missing model {model}", hint=_how_to_get(project, model))
    for name, columns in plan.columns_read(workflow.config):
        check_examples(project.root / name, columns, shown_as=name)


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


def _how_to_get(project: Project, model: str) -> str:
    """Return the commands that make a model's folder; a text model is taken out of a larger one."""
    whole = model.removesuffix("-text")
    extract = f"python model-cache/text_model.py {whole}" if whole == f"model-cache/{project.manifest.model.id}" else ""
    if extract and whole != model:
        return extract if (project.root / whole).is_dir() else f"scaffolder download, then {extract}"
    return f"scaffolder download {model.removeprefix('model-cache/')}"
