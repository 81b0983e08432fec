"""What a job's events tell of its own attempt at a run; brought here where the run's folder lies elsewhere."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

from scaffolder.errors import ScaffolderError
from scaffolder.records import EVENTS, read_events

if TYPE_CHECKING:
    from pathlib import Path

    from scaffolder.project import Project
    from scaffolder.remote.engine import Engine
    from scaffolder.remote.job import JobReference, JobStatus

_STATES = {"succeeded": "verified", "cancelled": "stopped"}


def attempt(project: Project, reference: JobReference) -> list[dict[str, Any]]:
    """Return the events of a job's own attempt, up to its end; empty where there are none here."""
    found: list[dict[str, Any]] = []
    own = False
    for event in read_events(project.root / reference.job.run):
        if event["event"] == "begin":
            # Its verification here begins an attempt too, in a process of ours.
            own = event.get("job") == reference.id and "pid" not in event
            found = [] if own else found
        if own:
            found.append(event)
            own = event["event"] != "ended"
    return found


def failure(project: Project, reference: JobReference) -> dict[str, Any]:
    """Return the `failed` event of a job's attempt; empty without one."""
    return next((event for event in reversed(attempt(project, reference)) if event["event"] == "failed"), {})


def take(project: Project, reference: JobReference, fetched: Path) -> None:
    """Put fetched events where those of a run here lie."""
    own, brought = project.root / reference.job.run / EVENTS, fetched / EVENTS
    if brought.is_file() and not (own.is_file() and own.read_bytes() == brought.read_bytes()):
        own.parent.mkdir(parents=True, exist_ok=True)
        brought.replace(own)


def note_end(project: Project, reference: JobReference, status: JobStatus, engine: Engine) -> None:
    """Let the run's events tell of a job's end, also of one that the job itself could not report."""
    folder = project.root / reference.job.run
    if not attempt(project, reference) and status.state == "failed":
        aside = folder / "fetched"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            take(project, reference, engine.fetch(reference, aside))
        except ScaffolderError:  # it failed before it wrote anything
            pass
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    own = attempt(project, reference)
    if not own or own[-1]["event"] == "ended" or read_events(folder)[-1] != own[-1]:
        return
    message = failure(project, reference).get("message") or status.message or status.native
    end = {"event": "ended", "time": round(time.time(), 3), "state": _STATES.get(status.state, status.state)}
    with (folder / EVENTS).open("ab") as file:
        file.write(json.dumps({**end, "message": message}).encode() + b"\n")
