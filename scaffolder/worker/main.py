"""Run one job and report how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from .channel import Channel, StopRequested
from .explain import explain
from .loading import loading
from .measure import memory_figures
from .trust import guard


def start(arguments: list[str]) -> int:
    """Run what the arguments say, and return the exit code; without any, a job comes on standard input."""
    match arguments:
        case ["node", *rest]:
            from . import node

            return node.main(rest)
        case ["place", *rest]:
            from . import place

            return place.main(rest)
        case ["rank", spec, run, world, number]:
            from . import rank

            return rank.main(json.loads(Path(spec).read_text(encoding="utf-8")), Path(run), int(world), int(number))
        case _:
            return main()


def main() -> int:
    """Take a job from standard input, run it, and return the exit code: 0 done, 1 failed, 130 stopped."""
    channel = Channel()
    job = channel.receive()
    os.chdir(job["root"])
    try:
        if job["task"] not in _WITHOUT_MODELS:
            guard(Path(job["root"]))
        _TASKS[job["task"]](job, channel)
    except StopRequested:
        channel.emit("stopped")
        return 130
    except Exception as error:
        with contextlib.suppress(OSError):  # the log lies on the disk that is full
            traceback.print_exc()
        told = explain(error, job)
        message = told.message if told.kind != "memory" else f"{told.message}: {memory_figures(error)}"
        channel.emit("failed", type=type(error).__name__, message=message, hint=told.hint, kind=told.kind)
        return 1
    channel.emit("end")
    sys.stdout.flush()
    return 0


def _run(job: dict[str, Any], channel: Channel) -> None:
    with loading():
        from .olive_run import run_workflow

    run_workflow(job, channel)


def _verify(job: dict[str, Any], channel: Channel) -> None:
    from .olive_run import prove

    prove(Path(job["output"]), job, channel)


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


def _check_data(job: dict[str, Any], channel: Channel) -> None:
    from .data.check import check_files

    check_files(job, channel)


def _preview_data(job: dict[str, Any], channel: Channel) -> None:
    from .data.preview import preview_rows

    preview_rows(job, channel)


def _import_data(job: dict[str, Any], channel: Channel) -> None:
    from .data.convert import import_files

    import_files(job, channel)


def _split_data(job: dict[str, Any], channel: Channel) -> None:
    from .data.split import split_file

    split_file(job, channel)


# They load a tokenizer at most, and run where no transformers is.
_WITHOUT_MODELS = {"data check", "data import", "data split"}
_TASKS = {
    "run": _run,
    "verify": _verify,
    "convert": _convert,
    "session": _session,
    "evaluate": _evaluate,
    "adapters": _adapters,
    "data check": _check_data,
    "data preview": _preview_data,
    "data import": _import_data,
    "data split": _split_data,
}
