"""Start the worker, follow it, stop it, and say how it ended."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder.errors import Interrupted, RunFailed, ScaffolderError
from scaffolder.process import Worker, stop_on_interrupt
from scaffolder.records import EVENTS, LOG

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO


@dataclass(slots=True)
class Outcome:
    """What the worker reported of a verified result."""

    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    size: int = 0
    peak_memory: int = 0
    verified: bool = False


def supervise(
    python: Path,
    job: dict[str, Any],
    folder: Path,
    on_event: Callable[[dict[str, Any]], None],
    *,
    command: str,
    begin: dict[str, Any],
) -> Outcome:
    """Run a job to its verified end.

    Args:
        python: The project's interpreter.
        job: For the worker.
        folder: The run's folder; takes `events.jsonl` and `run.log`.
        on_event: Gets every event.
        command: How the user would run this again, without the program's name.
        begin: What this attempt is, for those who read its events: workflow, preset, configuration.

    Raises:
        RunFailed: The worker failed, died, or ended without a verified result.
        Interrupted: The user stopped it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / LOG
    outcome, failure, step = Outcome(), None, 0
    environment = {"HF_DATASETS_CACHE": str(Path(job["cache"]) / "datasets")}
    with (
        Worker(python, job, log, environment) as worker,
        (folder / EVENTS).open("a", encoding="utf-8") as record,
        stop_on_interrupt(worker) as interrupted,
    ):
        _write(record, {"event": "begin", "time": round(time.time(), 3), "pid": os.getpid(), **begin})
        for event in worker.events():
            _write(record, event)
            on_event(event)
            step = _note(event, outcome) or step
            if event["event"] == "failed":
                failure = event
        code = worker.wait()
        again = f"`scaffolder {command}` continues" + (f" from step {step}" if step else "")
        error: ScaffolderError | None = None
        if interrupted.is_set():
            error = Interrupted("stopped", hint=again)
        elif failure is not None:
            hints = [failure["hint"], f"the log: {log}"]
            error = RunFailed(failure["message"], hint="\n      ".join(hint for hint in hints if hint))
        elif code != 0 or not outcome.verified:
            error = RunFailed(_death(code), hint=f"the log: {log}\n      {again}")
        _write(record, _ending(error))
    if error is not None:
        raise error
    return outcome


def _write(record: TextIO, event: dict[str, Any]) -> None:
    record.write(json.dumps(event, ensure_ascii=False) + "\n")
    record.flush()


def _ending(error: ScaffolderError | None) -> dict[str, Any]:
    end = {"event": "ended", "time": round(time.time(), 3)}
    if error is None:
        return {**end, "state": "verified"}
    if isinstance(error, Interrupted):
        return {**end, "state": "stopped"}
    return {**end, "state": "failed", "message": error.message}


def _note(event: dict[str, Any], outcome: Outcome) -> int:
    """Keep what the record needs; return the last step that a checkpoint holds, else 0."""
    match event["event"]:
        case "verified":
            outcome.metrics = event["metrics"]
            outcome.size = event["size"]
            outcome.peak_memory = event["peak_memory"]
            outcome.verified = True
        case "step":
            outcome.training |= {key: event[key] for key in ("steps", "tokens", "tokens_per_second")}
        case "metrics":
            if "loss" in event:
                outcome.training["last_loss"] = event["loss"]
                outcome.training.setdefault("first_loss", event["loss"])
        case "checkpoint":
            return int(event["step"])
    return 0


def _death(code: int) -> str:
    if code in (-signal.SIGKILL, 137):
        return "the worker was killed, most likely because memory ran out"
    if code < 0:
        return f"the worker was ended by {signal.Signals(-code).name}"
    return f"the worker ended with exit code {code} and without a verified result"
