"""One process of a job that a node's entry started: trains with its peers, or does alone what only one may do."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import distributed, stages
from .explain import TaskError, explain
from .loading import loading
from .measure import memory_figures
from .trust import guard

if TYPE_CHECKING:
    from .stages import Stage

# What a process says when another one died: that one has the cause.
_OF_A_PEER = r"Connection closed by peer|Connection reset by peer|Broken pipe|gloo/transport|remote process exited|NCCL"
TRAINED = "trained.json"


class Recorder:
    """Events of a job, as lines of JSON: into the run's `events.jsonl`, and among what the job prints.

    Takes the place of `channel.Channel` where no command listens; a silent one is for all processes but the first.
    """

    can_stop_softly = False
    stopping = False

    def __init__(self, folder: Path, *, silent: bool = False) -> None:
        self._path = folder / "events.jsonl"
        self._silent = silent

    def emit(self, event: str, **fields: Any) -> None:
        """Record one event, unless silent; numbers that are not finite become null."""
        if self._silent:
            return
        finite = {k: None if isinstance(v, float) and v - v != 0 else v for k, v in fields.items()}
        record = {"event": event, "time": round(time.time(), 3), **finite}
        line = json.dumps(record, ensure_ascii=False, default=str) + "\n"
        with contextlib.suppress(OSError), self._path.open("ab", buffering=0) as file:
            file.write(line.encode())
        sys.stdout.write(line)
        sys.stdout.flush()


def main(spec: dict[str, Any], run: Path, world: int, number: int) -> int:
    """Run a stage of a job and return the exit code: 0 done, 1 failed.

    Args:
        spec: Of the job, see `node`.
        run: The run's folder.
        world: Processes that train, on all nodes.
        number: Of the stage; one more than there are only verifies.
    """
    job = stages.placed(spec, run)
    recorder = Recorder(run, silent=distributed.rank() > 0)
    try:
        guard(Path(job["root"]))
        plan = stages.split(job["config"])
        if number < len(plan):
            _run(job, plan, number, run, recorder)
        if number == len(plan) or (number == len(plan) - 1 and distributed.world() == 1):
            _finish(world, job, plan, run, recorder)
    except Exception as error:
        traceback.print_exc()
        _report(error, job, run)
        return 1
    return 0


def _run(job: dict[str, Any], plan: list[Stage], number: int, run: Path, recorder: Any) -> None:
    own = run / "work" / f"rank-{distributed.rank()}"
    os.environ["HF_DATASETS_CACHE"] = str(own / "datasets")  # read when it is imported
    with loading():
        from .olive_run import run_passes

    stage = plan[number]
    config = stages.configuration(job["config"], plan, number, run)
    several = distributed.world() > 1
    if several:
        config["passes"] = distributed.prepare(config["passes"])
    # Olive's cache and output of its own for each process; the first one's output is the stage's.
    output = stages.output(plan, number, run) if distributed.rank() == 0 else own / "output"
    run_passes(config, output, own / "cache", job["seed"], recorder)
    processes = distributed.processes_inside()
    if stage.trains and distributed.rank() == 0:
        (run / "work" / TRAINED).write_text(json.dumps({"processes": processes}), encoding="utf-8")
    if processes > 1:
        import torch

        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _finish(world: int, job: dict[str, Any], plan: list[Stage], run: Path, recorder: Any) -> None:
    from .olive_run import finish

    if any(stage.trains for stage in plan):
        trained = json.loads((run / "work" / TRAINED).read_text(encoding="utf-8"))["processes"]
        if trained != world:
            raise TaskError(f"{trained} of {world} processes took part in the training")
    finish(Path(job["output"]), job, recorder)


def _report(error: Exception, job: dict[str, Any], run: Path) -> None:
    told = explain(error, job)
    if distributed.world() > 1 and re.search(_OF_A_PEER, f"{error}"):
        return
    message = told.message if told.kind != "memory" else f"{told.message}: {memory_figures(error)}"
    # Any process may be the one that has the cause.
    Recorder(run).emit("failed", type=type(error).__name__, message=message, hint=told.hint, kind=told.kind)
