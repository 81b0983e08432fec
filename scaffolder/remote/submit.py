"""Submit a workflow to a target, and say how what was submitted stands."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder.content import write_atomically
from scaffolder.errors import ConfigError, ScaffolderError
from scaffolder.records import EVENTS, read_events
from scaffolder.remote import store
from scaffolder.remote.engine import engine_for
from scaffolder.remote.job import JobReference, JobStatus, Rendered
from scaffolder.remote.prepare import prepare, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaffolder.project import Project
    from scaffolder.remote.engine import Engine
    from scaffolder.remote.job import Job
    from scaffolder.workflow.current import EventSink


@dataclass(frozen=True, slots=True)
class Submission:
    """What came of a request to run a workflow elsewhere.

    Attributes:
        references: Of what was submitted; empty for a dry run.
        rendered: The files that submit it, or would.
        up_to_date: Results that need no job, and since when.
    """

    references: tuple[JobReference, ...]
    rendered: tuple[Rendered, ...]
    up_to_date: dict[str, str]


def submit_workflow(
    project: Project,
    name: str,
    target: str,
    *,
    preset: str | None = None,
    overrides: dict[str, Any] | None = None,
    sweep: dict[str, list[Any]] | None = None,
    restart: bool = False,
    dry_run: bool = False,
    on_event: EventSink,
) -> Submission:
    """Check a workflow, render what runs it on a target, and submit that.

    Args:
        project: The project.
        name: A workflow of the manifest.
        target: A target of the manifest; "local" needs no table.
        preset: Another configuration for the workflow.
        overrides: Values set over its configuration, by dotted path.
        sweep: Values by key; one job for each combination, each with an output of its own.
        restart: Run again from nothing, even when it is up to date.
        dry_run: Render alone.
        on_event: Gets warnings.

    Raises:
        ScaffolderError: Something is wrong with workflow, target or engine; nothing was submitted.
    """
    engine = engine_for(project, target)
    prepared = prepare(
        project,
        name,
        target,
        preset=preset,
        overrides=overrides or {},
        sweep=sweep or {},
        restart=restart,
        on_event=on_event,
    )
    fresh = [each for each in prepared if each.reason is not None]
    up_to_date = {each.job.output: each.since for each in prepared if each.reason is None}
    if not fresh:
        return Submission((), (), up_to_date)
    jobs = [each.job for each in fresh]
    problems = engine.check(jobs)
    if problems:
        raise ConfigError("\n".join(problems), hint=f"[targets.{target}] in {project.root / 'scaffolder.toml'}")
    rendered = engine.render(jobs)
    if dry_run:
        return Submission((), tuple(rendered), up_to_date)
    _check_idle(project, jobs)
    write(project, fresh)
    for each in rendered:
        write_atomically(project.root / each.path, each.text)
    references = engine.submit(jobs)
    for reference in references:
        store.save(project, reference)
    return Submission(tuple(references), tuple(rendered), up_to_date)


def status_of(project: Project, reference: JobReference, engine: Engine | None = None) -> JobStatus:
    """Return how a job stands; once it has ended, its reference remembers that."""
    if reference.ended is not None:
        return JobStatus(**reference.ended)
    job = reference.job
    status = (engine or engine_for(project, job.target, reference.engine)).status(reference)
    if status.ended:
        store.save(project, dataclasses.replace(reference, ended=dataclasses.asdict(status)))
        _note_end(project, reference, status)
    return status


def _note_end(project: Project, reference: JobReference, status: JobStatus) -> None:
    """Let the run's events tell of an end that the job itself could not report."""
    folder = project.root / reference.job.run
    events = read_events(folder)
    begun = [event for event in events if event["event"] == "begin"]
    if not begun or begun[-1].get("job") != reference.id or events[-1]["event"] == "ended":
        return
    state = {"succeeded": "verified", "cancelled": "stopped"}.get(status.state, status.state)
    end = {"event": "ended", "time": round(time.time(), 3), "state": state, "message": status.message or status.native}
    with (folder / EVENTS).open("ab") as file:
        file.write(json.dumps(end).encode() + b"\n")


def cancel_job(project: Project, reference: JobReference) -> JobStatus:
    """End a job.

    Raises:
        ScaffolderError: It has ended already, or the engine does not know it.
    """
    engine = engine_for(project, reference.job.target, reference.engine)
    status = status_of(project, reference, engine)
    if status.ended or status.state == "unknown":
        raise ScaffolderError(f"{reference.id} cannot be cancelled: it is {status.state} ({status.native})")
    engine.cancel(reference)
    return engine.status(reference)


def _check_idle(project: Project, jobs: Sequence[Job]) -> None:
    """Refuse a second job that would write what a first one is writing."""
    runs = {job.run for job in jobs}
    for reference in store.all_references(project):
        if reference.job.run in runs and status_of(project, reference).state in ("queued", "running"):
            raise ScaffolderError(
                f"{reference.id} does the same and has not ended",
                hint=f"scaffolder jobs logs {reference.id} --follow\n      scaffolder jobs cancel {reference.id}",
            )
