"""Runs as their folders tell them: found, read, followed."""

from __future__ import annotations

import datetime
import difflib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder import curves, lock, plan, process
from scaffolder.errors import ScaffolderError, UsageError
from scaffolder.records import EVENTS, RunRecord, find_runs, read_events, read_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scaffolder.project import Project

_SECONDS_BETWEEN_LOOKS = 0.4
STATES = ("running", "verified", "failed", "stopped", "died")


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its folder tells it; figures are those of the last attempt, None where there are none.

    Attributes:
        id: Name of the run's folder.
        workflow: The workflow.
        preset: The configuration it ran with.
        state: One of `STATES`; "died" is an end that nobody could report.
        message: Why it failed.
        started: Local time with its offset, ISO 8601.
        seconds: Wall time, so far where it runs.
        step: The last training step.
        steps: Training steps planned.
        last_loss: Training loss, nats per token.
        evaluation_loss: Loss on the evaluation examples afterwards, nats per token.
        size: Bytes of the artefact.
        attempts: How often it was started.
        folder: Of its events and its log, relative to the project.
        output: Of its artefact, relative to the project.
    """

    id: str
    workflow: str
    preset: str
    state: str
    message: str
    started: str
    seconds: float
    step: int | None
    steps: int | None
    last_loss: float | None
    evaluation_loss: float | None
    size: int | None
    attempts: int
    folder: str
    output: str | None


def list_runs(project: Project) -> list[Run]:
    """Return every run that left its folder, newest first."""
    found = [_read(project, folder) for folder in run_folders(project)]
    return sorted(found, key=lambda run: datetime.datetime.fromisoformat(run.started), reverse=True)


def find_run(project: Project, name: str | None = None) -> Run:
    """Return a run by id, by the beginning of its id or of its key, or the newest of a workflow.

    Args:
        project: The project.
        name: What was asked for; the newest run of all where left out.

    Raises:
        ScaffolderError: Nothing ran yet.
        UsageError: No run is meant, or several are.
    """
    runs = list_runs(project)
    if not runs:
        raise ScaffolderError("nothing ran in this project yet", hint="scaffolder run all")
    if name is None:
        return runs[0]
    for run in runs:
        if name in (run.id, run.workflow):
            return run
    meant = [run for run in runs if run.id.startswith(name) or key_of(run.id).startswith(name)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise UsageError(
            f"`{name}` begins {len(meant)} runs: {', '.join(run.id for run in meant)}", hint="give more of one"
        )
    if name in project.manifest.workflows:
        raise ScaffolderError(f"{name} has not run yet", hint=f"scaffolder run {name}")
    known = list(dict.fromkeys(name for run in runs for name in (run.workflow, run.id, key_of(run.id))))
    near = difflib.get_close_matches(name, known, n=1)
    suggestion = f"did you mean `{near[0]}`? " if near else ""
    raise UsageError(f"unknown run `{name}`", hint=suggestion + "`scaffolder runs list` shows them all")


def follow(project: Project, run: Run) -> Iterator[dict[str, Any]]:
    """Yield the events of a run's last attempt, and while it runs those that come."""
    folder = project.root / run.folder
    seen = 0
    while True:
        # Asked first: whatever an ended run wrote is there at the reading that follows.
        running = _read(project, folder).state == "running"
        events = _last_attempt(read_events(folder))
        yield from events[seen:]
        seen = len(events)
        if not running:
            return
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def next_run(project: Project, run: Run) -> Run | None:
    """Wait for the next run of the command that made `run`; None once that command has ended without one."""
    pid = _pid(project, run)
    while pid is not None:
        working = _holder(project) == pid
        newest = list_runs(project)[0]
        if newest.id != run.id and _pid(project, newest) == pid:
            return newest
        if not working:
            return None
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return None


def look_again(project: Project, run: Run) -> Run:
    """Return a run as it is now."""
    return _read(project, project.root / run.folder)


def key_of(run_id: str) -> str:
    """Return the part of a run's id that its content gave it."""
    return run_id.rpartition("-")[2]


def _pid(project: Project, run: Run) -> int | None:
    attempt = _last_attempt(read_events(project.root / run.folder))
    return attempt[0].get("pid") if attempt else None


def run_folders(project: Project) -> list[Path]:
    """Return the folder of every run."""
    roots = {(project.root / workflow.config).parent / "runs" for workflow in project.manifest.workflows.values()}
    return [path.parent for root in roots for path in root.glob(f"*/{EVENTS}")]


def _read(project: Project, folder: Path) -> Run:
    events = read_events(folder)
    attempt = _last_attempt(events)
    begun: dict[str, Any] = attempt[0] if attempt and attempt[0]["event"] == "begin" else {}
    state, message = _state(attempt, _holder(project))
    record = run_record(project, folder) if state == "verified" else None
    first, last = _span(attempt, folder)
    seconds = last - first if state != "running" else datetime.datetime.now().timestamp() - first
    steps = [event for event in events if event["event"] in ("training", "step")]
    curve = curves.of_events(events)
    verified: dict[str, Any] = next((event for event in reversed(attempt) if event["event"] == "verified"), {})
    after = verified.get("metrics", {}).get("after")
    workflow, preset = begun.get("workflow"), begun.get("preset")
    if workflow is None or preset is None:
        workflow, preset = _name_parts(project, folder.name)
    started = datetime.datetime.fromtimestamp(first).astimezone().isoformat(timespec="seconds")
    return Run(
        id=folder.name,
        workflow=workflow,
        preset=preset,
        state=state,
        message=message,
        started=record.started if record else started,
        seconds=record.seconds if record else round(seconds, 2),
        step=steps[-1]["step"] if steps else None,
        steps=steps[-1]["steps"] if steps else None,
        last_loss=curve.training[-1][1] if curve.training else None,
        evaluation_loss=after["loss"] if after else None,
        size=verified.get("size"),
        attempts=max(sum(event["event"] == "begin" for event in events), 1),
        folder=project.relative(folder),
        output=record.output if record else begun.get("output"),
    )


def _last_attempt(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    starts = [index for index, event in enumerate(events) if event["event"] == "begin"]
    return events[starts[-1] :] if starts else events


def _state(attempt: list[dict[str, Any]], holder: int | None) -> tuple[str, str]:
    """Return the state of an attempt, and why it failed."""
    if attempt and attempt[-1]["event"] == "ended":
        return attempt[-1]["state"], attempt[-1].get("message", "")
    if holder is not None and attempt and attempt[0].get("pid") == holder:
        return "running", ""
    if attempt and attempt[0].get("job") and "pid" not in attempt[0]:
        return "running", ""  # on another machine, or detached; its end is noted when `jobs` learns of it
    # The command itself died, or was of a release that did not write an end.
    for event in reversed(attempt):
        if event["event"] in ("verified", "failed", "stopped"):
            return event["event"], event.get("message", "")
    return "died", ""


def _holder(project: Project) -> int | None:
    """Return the process that works in the project now."""
    found = lock.last_holder(project.root / plan.STATE_FOLDER)
    return int(found["pid"]) if found and process.alive(int(found["pid"])) else None


def _span(attempt: list[dict[str, Any]], folder: Path) -> tuple[float, float]:
    times = [event["time"] for event in attempt if isinstance(event.get("time"), (int, float))]
    return (times[0], times[-1]) if times else (2 * ((folder / EVENTS).stat().st_mtime,))


def _name_parts(project: Project, run_id: str) -> tuple[str, str]:
    """Return workflow and preset of a run whose events do not tell: both may hold hyphens."""
    name = run_id.rpartition("-")[0]
    known = sorted(project.manifest.workflows, key=len, reverse=True)
    workflow = next((found for found in known if name.startswith(f"{found}-")), name.partition("-")[0])
    return workflow, name.removeprefix(f"{workflow}-")


def run_record(project: Project, folder: Path) -> RunRecord | None:
    """Return the record of a run's artefact: its own copy, or that of a release that kept it beside the artefact."""
    own = read_record(folder)
    return own or next((record for record in find_runs(project) if record.id == folder.name), None)
