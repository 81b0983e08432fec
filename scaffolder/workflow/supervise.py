"""Start the worker, follow it, stop it, and say how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder.errors import Interrupted, ScaffolderError
from scaffolder.process import ENDINGS, Worker, stop_on_interrupt
from scaffolder.records import EVENTS, LOG
from scaffolder.workflow.endings import died, failed, kernel_kills

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import RawIOBase


@dataclass(slots=True)
class Outcome:
    """What the worker reported of a verified result."""

    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    size: int = 0
    peak_memory: int = 0
    verified: bool = False


@dataclass(slots=True)
class Seen:
    """What the worker has said so far: the outcome, its failure, the step a checkpoint holds, the stage at hand."""

    outcome: Outcome = field(default_factory=Outcome)
    failure: dict[str, Any] | None = None
    step: int = 0
    stage: str = ""

    def note(self, event: dict[str, Any]) -> None:
        """Keep what the record or the end of the run needs."""
        training = self.outcome.training
        match event["event"]:
            case "stage" if event["state"] == "start":
                self.stage = event["name"]
            case "verified":
                self.outcome.metrics = event["metrics"]
                self.outcome.size = event["size"]
                self.outcome.peak_memory = event["peak_memory"]
                self.outcome.verified = True
            case "training":
                training |= {key: event[key] for key in ("processes", "global_batch") if key in event}
            case "step":
                training |= {key: event[key] for key in ("steps", "tokens", "tokens_per_second")}
                training["peak_memory"] = event["gpu_memory"] or event["memory"]
            case "trained":
                training["seconds"] = event["seconds"]
            case "metrics" if "loss" in event:
                training["last_loss"] = event["loss"]
                training.setdefault("first_loss", event["loss"])
            case "checkpoint":
                self.step = int(event["step"])
            case "failed":
                self.failure = event


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
        on_event: Gets every event, and `stopping` once an end is asked for.
        command: How the user would run this again, without the program's name.
        begin: What this attempt is, for those who read its events: workflow, preset, configuration.

    Raises:
        RunFailed: The worker failed, died, or ended without a verified result.
        Interrupted: The user stopped it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen, kills = Seen(), kernel_kills()
    environment = {"HF_DATASETS_CACHE": str(Path(job["cache"]) / "datasets"), **_trackers(folder)}
    with (
        Worker(python, job, folder / LOG, environment) as worker,
        (folder / EVENTS).open("ab", buffering=0) as record,
        stop_on_interrupt(worker, ENDINGS, lambda: on_event({"event": "stopping"})) as interrupted,
    ):
        _end_half_line(folder / EVENTS, record)
        _write(record, {"event": "begin", "time": round(time.time(), 3), "pid": os.getpid(), **begin})
        for event in worker.events():
            _write(record, event)
            on_event(event)
            seen.note(event)
        code = worker.wait()
        again = f"`scaffolder {command}` continues" + (f" from step {seen.step}" if seen.step else "")
        place = f"the log: {folder / LOG}"
        error: ScaffolderError | None = None
        if interrupted.is_set():
            error = Interrupted("stopped", hint=again)
        elif seen.failure is not None:
            error = failed(seen.failure, job, seen.stage, [place])
        elif code != 0 or not seen.outcome.verified:
            error = died(code, job, seen.stage, kills, [place, again])
        _write(record, _ending(error))
    if error is not None:
        raise error
    return seen.outcome


def _trackers(folder: Path) -> dict[str, str]:
    """Return where `report_to` writes, unless the user's own environment says it: beside the run's other records."""
    places = {"TENSORBOARD_LOGGING_DIR": folder / "tensorboard", "WANDB_DIR": folder}
    return {name: str(place) for name, place in places.items() if name not in os.environ}


def _write(record: RawIOBase, event: dict[str, Any]) -> None:
    # On a full disk the worker fails, and says so; its last words must still reach the user.
    with contextlib.suppress(OSError):
        record.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")


def _end_half_line(path: Path, record: RawIOBase) -> None:
    """Keep what was being written when the machine went down from swallowing the first event of this attempt."""
    if path.read_bytes()[-1:] not in (b"", b"\n"):
        record.write(b"\n")


def _ending(error: ScaffolderError | None) -> dict[str, Any]:
    end = {"event": "ended", "time": round(time.time(), 3)}
    if error is None:
        return {**end, "state": "verified"}
    if isinstance(error, Interrupted):
        return {**end, "state": "stopped"}
    return {**end, "state": "failed", "message": error.message}
