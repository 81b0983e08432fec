"""Run one job and report how it ended."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from .channel import Channel, StopRequested
from .explain import explain


def main() -> int:
    """Take a job from standard input, run it, and return the exit code: 0 done, 1 failed, 130 stopped."""
    channel = Channel()
    job = channel.receive()
    os.chdir(job["root"])
    try:
        _TASKS[job["task"]](job, channel)
    except StopRequested:
        channel.emit("stopped")
        return 130
    except Exception as error:
        traceback.print_exc()
        message, hint = explain(error)
        channel.emit("failed", type=type(error).__name__, message=message, hint=hint)
        return 1
    channel.emit("end")
    sys.stdout.flush()
    return 0


def _run(job: dict[str, Any], channel: Channel) -> None:
    from .olive_run import run_workflow

    run_workflow(job, channel)


def _convert(job: dict[str, Any], channel: Channel) -> None:
    from .convert import convert_gguf

    convert_gguf(job, channel)


def _session(job: dict[str, Any], channel: Channel) -> None:
    from .session import hold

    hold(job, channel)


def _evaluate(job: dict[str, Any], channel: Channel) -> None:
    from .evaluate import evaluate

    evaluate(job, channel)


def _adapters(job: dict[str, Any], channel: Channel) -> None:
    from .adapters import fit_adapters

    fit_adapters(job, channel)


_TASKS = {"run": _run, "convert": _convert, "session": _session, "evaluate": _evaluate, "adapters": _adapters}
