"""What a run would do, without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder import plan
from scaffolder.content import Hashes
from scaffolder.environment import find_environment
from scaffolder.workflow.current import EventSink, compare, resolve_workflows, since
from scaffolder.workflow.ready import check_inputs, check_support
from scaffolder.workflow.room import Forecast, check_room

if TYPE_CHECKING:
    from scaffolder.project import Project


@dataclass(frozen=True, slots=True)
class Planned:
    """A workflow, and what a run would do with it.

    Attributes:
        workflow: Its name.
        preset: The configuration it would run with.
        output: Where the result is or would be published, relative to the project.
        would_run: Whether there is anything to do.
        reason: Why, or since when there is not.
        config: The configuration with every value set over it.
        forecast: What its training would take, None where there is nothing to train.
    """

    workflow: str
    preset: str
    output: str
    would_run: bool
    reason: str
    config: dict[str, Any]
    forecast: Forecast | None


def preview_workflows(
    project: Project,
    name: str,
    *,
    preset: str | None = None,
    overrides: dict[str, Any] | None = None,
    restart: bool = False,
    rehash: bool = False,
    on_event: EventSink,
) -> list[Planned]:
    """Say of each workflow whether it would run and why; the arguments are those of `run_workflows`.

    Raises:
        ScaffolderError: Whatever would keep the run from starting.
    """
    workflows = resolve_workflows(project, name, preset=preset, overrides=overrides)
    environment = find_environment(project.root)
    hashes = Hashes(project.root / plan.STATE_FOLDER / "hashes.json", fresh=rehash)
    project.check_model(hashes)
    planned: list[Planned] = []
    for workflow in workflows:
        wanted = plan.fingerprint(project, workflow, environment, hashes)
        reason, published = compare(workflow, wanted, hashes, restart=restart and name in (workflow.name, "all"))
        before = [earlier.workflow for earlier in planned if earlier.would_run]
        needed = [need for need in workflow.needs if need in before]
        if reason is None and needed:
            reason = f"{', '.join(needed)} would run before it"
        if reason is not None:
            check_inputs(project, workflow, on_event)
            check_support(project, workflow, environment)
        planned.append(
            Planned(
                workflow.name,
                workflow.preset,
                project.relative(workflow.output),
                reason is not None,
                reason or since(published),
                workflow.config,
                check_room(project, workflow, force=True) if reason else None,
            )
        )
    hashes.save()
    return planned
