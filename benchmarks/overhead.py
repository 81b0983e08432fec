"""What a trusted run costs above Olive alone: the same fine-tuning by `scaffolder run` and by `olive run`, in turn.

    python benchmarks/overhead.py [--repeats 3] [--steps 60] [--model FOLDER]

Both start from nothing each time, with Olive's telemetry off, and must end with the same weights. Prints wall times
and processor times, the latter for a machine that others use too, with and without the verification, which Olive
does not do: opening the adapter, an answer, and the loss on the evaluation examples (the base's only where no run
before has measured it, so the first turn takes longer). The model is the embedded SmolLM2-135M-Instruct; --model
takes another transformers folder instead. Enough steps are needed for the training to dominate, as it does in a
real run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

BIN = Path(sys.executable).parent
MODEL = "model-cache/HuggingFaceTB/SmolLM2-135M-Instruct"
CONFIGURATION = "fine-tuning/lora.json"
ADAPTER = "fine-tuning/adapters/lora/adapter/adapter_model.safetensors"
ENVIRONMENT = {**os.environ, "CI": "1", "OLIVE_DISABLE_TELEMETRY": "1", "ORT_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock and of all processors, and how long the verification took by the clock."""

    wall: float
    cpu: float
    verifying: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    ours: list[Cost] = []
    olives: list[Cost] = []
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder) / "project", options.model, options.steps)
        alone = Path(folder) / "alone"
        shutil.copytree(project, alone)
        for turn in range(options.repeats):
            olives.append(run_olive(alone))
            ours.append(run_ours(project))
            assert (project / ADAPTER).read_bytes() == (alone / ADAPTER).read_bytes(), "the weights differ"
            print(f"turn {turn + 1}: olive {shown(olives[-1])}, scaffolder {shown(ours[-1])}", flush=True)
    report(ours, olives)


def make_project(root: Path, model: Path | None, steps: int) -> Path:
    """Generate a project with its model in place."""
    call(["scaffolder", "new", str(root), "--defaults", "--quiet"], root.parent)
    config = root / CONFIGURATION
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings["passes"]["lora"]["training_args"]["max_steps"] = steps
    config.write_text(json.dumps(settings, indent=2), encoding="utf-8")
    if model is None:
        call(["scaffolder", "download", "--quiet"], root)
    else:
        shutil.copytree(model, root / MODEL)
    return root


def call(command: list[str], folder: Path) -> Cost:
    """Run a command and return what it took."""
    start, before = time.perf_counter(), cpu_seconds()
    subprocess.run([str(BIN / command[0]), *command[1:]], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
    return Cost(time.perf_counter() - start, cpu_seconds() - before)


def cpu_seconds() -> float:
    """Return the processor seconds of all processes that have ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_olive(project: Path) -> Cost:
    for made in (".olive-cache", "fine-tuning/adapters"):
        shutil.rmtree(project / made, ignore_errors=True)
    return call(["olive", "run", "--config", CONFIGURATION], project)


def run_ours(project: Path) -> Cost:
    cost = call(["scaffolder", "run", "fine-tuning", "--restart", "--quiet"], project)
    [events] = project.glob("fine-tuning/runs/*/events.jsonl")
    found = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    verifying = [
        event["seconds"]
        for event in found
        if event["event"] == "stage" and event["name"] == "verify" and "seconds" in event
    ]
    return replace(cost, verifying=verifying[-1])


def shown(cost: Cost) -> str:
    verifying = f", {cost.verifying:.1f} s of it verifying" if cost.verifying else ""
    return f"{cost.wall:.1f} s ({cost.cpu:.1f} s of processors){verifying}"


def report(ours: list[Cost], olives: list[Cost]) -> None:
    print(f"the weights are equal, byte for byte; medians of {len(ours)}:")
    wall, cpu = (statistics.median(getattr(cost, name) for cost in olives) for name in ("wall", "cpu"))
    rows = {
        "olive": ([cost.wall for cost in olives], wall),
        "scaffolder": ([cost.wall for cost in ours], wall),
        "without verifying": ([cost.wall - cost.verifying for cost in ours], wall),
        "olive, processors": ([cost.cpu for cost in olives], cpu),
        "ours, processors": ([cost.cpu for cost in ours], cpu),
    }
    for name, (seconds, olive) in rows.items():
        median = statistics.median(seconds)
        print(f"{name:<18} {median:7.2f} s  {100 * (median / olive - 1):+6.1f} %")


if __name__ == "__main__":
    main()
