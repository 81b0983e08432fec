"""What is up to date: workflows resolved and compared with what is published; loads nothing that only a run needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder import plan
from scaffolder.content import Hashes
from scaffolder.environment import Environment
from scaffolder.errors import ConfigError
from scaffolder.project import Project
from scaffolder.records import RunRecord, read_record

if TYPE_CHECKING:
    from scaffolder.plan import Fingerprint, Workflow

EventSink = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Context:
    """What every workflow of one command shares.

    Attributes:
        project: The project.
        environment: Its heavy one.
        hashes: Of files, remembered.
        force: Run what the estimate says does not fit.
        on_event: Gets every event.
    """

    project: Project
    environment: Environment
    hashes: Hashes
    force: bool
    on_event: EventSink


def resolve_workflows(
    project: Project, name: str, *, preset: str | None, overrides: dict[str, Any] | None
) -> list[Workflow]:
    """Resolve a workflow, or all, after what they need, each once.

    Raises:
        UsageError: A workflow, a preset or a path of an override does not exist.
        ConfigError: A configuration is missing or unreadable, or workflows need each other.
    """
    ordered: dict[str, Workflow] = {}

    def visit(current: str, path: tuple[str, ...]) -> None:
        if current in path:
            raise ConfigError(f"workflows need each other: {' → '.join((*path, current))}")
        named = current == name
        workflow = plan.resolve(
            project, current, preset=preset if named else None, overrides=overrides if named else None
        )
        for need in workflow.needs:
            visit(need, (*path, current))
        ordered.setdefault(current, workflow)

    for start in project.manifest.workflows if name == "all" else [name]:
        visit(start, ())
    return list(ordered.values())


def compare(
    workflow: Workflow, wanted: Fingerprint, hashes: Hashes, *, restart: bool
) -> tuple[str | None, RunRecord | None]:
    """Return why a workflow has to run, None where what is published still holds, and what is published."""
    published = read_record(workflow.output)
    return ("restarted" if restart else _why_run(workflow, wanted, published, hashes)), published


def since(published: RunRecord | None) -> str:
    """Return in words since when nothing changed."""
    return f"nothing changed since {published.started[:19]}" if published else ""


def _why_run(workflow: Workflow, wanted: Fingerprint, published: RunRecord | None, hashes: Hashes) -> str | None:
    if published is None:
        return "no verified result yet"
    if published.fingerprint.key != wanted.key:
        return wanted.difference(published.fingerprint)
    if not published.intact(workflow.output, hashes):
        return "the published files were changed or are incomplete"
    return None
