"""Start the worker, follow it, stop it, and say how it ended."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder.errors import Interrupted, RunFailed
from scaffolder.process import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

EVENTS = "events.jsonl"
LOG = "run.log"


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
) -> Outcome:
    """Run a job to its verified end.

    Args:
        python: The project's interpreter.
        job: For the worker.
        folder: The run's folder; takes `events.jsonl` and `run.log`.
        on_event: Gets every event.
        command: How the user would run this again, without the program's name.

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
        _stop_on_interrupt(worker) as interrupted,
    ):
        for event in worker.events():
            record.write(json.dumps(event, ensure_ascii=False) + "\n")
            record.flush()
            on_event(event)
            step = _note(event, outcome) or step
            if event["event"] == "failed":
                failure = event
        code = worker.wait()
    again = f"`scaffolder {command}` continues" + (f" from step {step}" if step else "")
    if interrupted.is_set():
        raise Interrupted("stopped", hint=again)
    if failure is not None:
        hints = [failure["hint"], f"the log: {log}"]
        raise RunFailed(failure["message"], hint="\n      ".join(hint for hint in hints if hint))
    if code != 0 or not outcome.verified:
        raise RunFailed(_death(code), hint=f"the log: {log}\n      {again}")
    return outcome


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


@contextmanager
def _stop_on_interrupt(worker: Worker) -> Iterator[threading.Event]:
    """First Ctrl-C: ask the worker to stop at the next safe point. Second: end it now."""
    interrupted = threading.Event()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if interrupted.is_set():
            worker.kill()
        interrupted.set()
        worker.request_stop()

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
