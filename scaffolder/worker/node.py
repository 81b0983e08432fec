"""What every engine starts, once on each node: training on all processes of all nodes, everything else once.

    PYTHON worker/ node JOB.json [--run DIR]

in the project's folder. The file holds `job` (as `olive_run` takes it, with paths relative to the project), `nodes`,
`processes` (of each node; "gpus" for one a card), `run` (the run's folder), `restart` (from nothing), `variables` (for
every process) and `begin` (what the run is, for those who read its events). `DIR` takes the place of the run's folder;
all nodes have to see it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from . import stages
from .explain import TaskError
from .rank import Recorder

_PORT = 29500
_WORKER = Path(__file__).parent
# Seconds that other nodes wait for the first one's own stages.
_PATIENCE = 24 * 3600


class Place(NamedTuple):
    """Where this node stands among the job's.

    Attributes:
        nodes: How many there are.
        number: Of this one; 0 does what only one may do.
        address: Of the first, for all to meet.
        port: There.
    """

    nodes: int
    number: int
    address: str
    port: int


def main(arguments: list[str]) -> int:
    """Run a job's part of this node and return the exit code: 0 done and verified, 1 failed."""
    parser = argparse.ArgumentParser(prog="worker node")
    parser.add_argument("spec", type=Path)
    parser.add_argument("--run", type=Path)
    given = parser.parse_args(arguments)
    spec = json.loads(given.spec.read_text(encoding="utf-8"))
    os.environ.update(spec["variables"])
    run = (given.run or Path(spec["run"])).resolve()
    for name, folder in {"TENSORBOARD_LOGGING_DIR": run / "tensorboard", "WANDB_DIR": run}.items():
        os.environ.setdefault(name, str(folder))
    place = find_place()
    recorder = Recorder(run, silent=place.number > 0)
    run.mkdir(parents=True, exist_ok=True)
    if place.number == 0:
        _begin(spec, run, recorder)
    try:
        _check(spec, place)
        _run_stages(spec, given.spec, run, place)
    except TaskError as error:
        _fail(run, error)
        recorder.emit("ended", state="failed", message=_failure(run))
        return 1
    if place.number == 0:
        recorder.emit("ended", state="verified")
    return 0


def find_place(variables: dict[str, str] | None = None) -> Place:
    """Return this node's place, from the variables of Slurm, Azure Machine Learning or SkyPilot; else it is alone."""
    env = dict(os.environ) if variables is None else variables
    if "SLURM_NODEID" in env and "SLURM_STEP_NUM_NODES" in env:
        # Jobs that share a node must not meet at the same port.
        port = 20000 + int(env["SLURM_JOB_ID"]) % 20000
        return Place(int(env["SLURM_STEP_NUM_NODES"]), int(env["SLURM_NODEID"]), _slurm_address(env), port)
    if "AZUREML_RUN_ID" in env and "NODE_RANK" in env:
        # One process a node was asked for, so its ranks are nodes.
        return Place(int(env["WORLD_SIZE"]), int(env["NODE_RANK"]), env["MASTER_ADDR"], int(env["MASTER_PORT"]))
    if "SKYPILOT_NODE_IPS" in env:
        addresses = env["SKYPILOT_NODE_IPS"].split()
        return Place(len(addresses), int(env["SKYPILOT_NODE_RANK"]), addresses[0], _PORT)
    return Place(1, 0, "127.0.0.1", _free_port())


def _slurm_address(env: dict[str, str]) -> str:
    """Return the first node's address: its name where the cluster has no other."""
    nodes = env.get("SLURM_STEP_NODELIST") or env["SLURM_JOB_NODELIST"]
    with contextlib.suppress(OSError, subprocess.SubprocessError, IndexError):
        first = _said("scontrol", "show", "hostnames", nodes).split()[0]
        found = re.search(r"NodeAddr=(\S+)", _said("scontrol", "show", "node", first, "-o"))
        return found[1] if found else first
    # Inside a container there may be no Slurm; srun says where it was started.
    return env.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1")


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _begin(spec: dict[str, Any], run: Path, recorder: Recorder) -> None:
    shutil.rmtree(run / "output", ignore_errors=True)
    for leftover in [run / "work"] if spec["restart"] else (run / "work").glob("rank-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    (run / "work").mkdir(exist_ok=True)
    recorder.emit("begin", **spec["begin"])
    if any((run / "work").glob("checkpoints/*/checkpoint-*")):
        from .resume import drop_unfinished

        drop_unfinished(run / "work")


def _check(spec: dict[str, Any], place: Place) -> None:
    if place.nodes != spec["nodes"]:
        raise TaskError(f"the job is for {spec['nodes']} nodes, and {place.nodes} run it")


def _processes(spec: dict[str, Any]) -> int:
    if spec["processes"] != "gpus":
        return int(spec["processes"])
    import torch

    if not torch.cuda.device_count():
        raise TaskError('`processes = "gpus"`, and PyTorch sees no card here', kind="environment")
    return int(torch.cuda.device_count())


def _run_stages(spec: dict[str, Any], file: Path, run: Path, place: Place) -> None:
    plan = stages.split(spec["job"]["config"])
    processes = _processes(spec)
    command = [sys.executable, str(_WORKER), "rank", str(file), str(run), str(place.nodes * processes)]
    several = place.nodes * processes > 1
    for number, stage in enumerate(plan):
        if stages.done(number, run).is_file() and not spec["restart"]:
            continue
        if stage.trains and several:
            _train([*command, str(number)], Path(spec["run"]).name, processes, place)
        elif place.number == 0:
            _alone([*command, str(number)])
        if place.number == 0 and number < len(plan) - 1:
            stages.done(number, run).touch()
    if several and plan[-1].trains and place.number == 0:
        _alone([*command, str(len(plan))])


def _alone(command: list[str]) -> None:
    variables = {key: value for key, value in os.environ.items() if key not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    code = subprocess.run(command, env=variables, check=False).returncode
    if code:
        raise TaskError(_death(code))


def _train(command: list[str], name: str, processes: int, place: Place) -> None:
    """Run a stage on all processes of all nodes, through torchrun's own agent."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Each process would take all processors.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=place.nodes,
        max_nodes=place.nodes,
        nproc_per_node=processes,
        run_id=name,
        rdzv_backend="static",
        rdzv_endpoint=f"{place.address}:{place.port}",
        rdzv_configs={"rank": place.number, "timeout": _PATIENCE},
        max_restarts=0,
    )
    python, *rest = command
    try:
        elastic_launch(config, python)(*rest)
    except ChildFailedError as error:
        which, failure = error.get_first_failure()
        raise TaskError(f"training process {which}: {_death(failure.exitcode)}") from error


def _death(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}, and the log says why"
    return f"was killed ({signal.Signals(-code).name})"


def _fail(run: Path, error: TaskError) -> None:
    """Record why the job failed, unless the process that has the cause did."""
    if not _failure(run):
        Recorder(run).emit("failed", type="TaskError", message=str(error), hint=error.hint, kind=error.kind)


def _failure(run: Path) -> str:
    """Return why this attempt failed, as its events tell; empty where they do not."""
    with contextlib.suppress(OSError, ValueError):
        lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
        for line in reversed(lines):
            event = json.loads(line)
            if event["event"] == "begin":
                break
            if event["event"] == "failed":
                return str(event["message"])
    return ""
