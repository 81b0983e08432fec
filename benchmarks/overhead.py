"""What a trusted run costs above Olive alone: the same fine-tuning by `scaffolder run` and by `olive run`, in turn.

    python benchmarks/overhead.py [--repeats 3] [--steps 60] [--model FOLDER]

Both start from nothing each time, with Olive's telemetry off, and must end with the same weights. Prints wall
times with and without the verification, which Olive does not do: opening the adapter, an answer, and the loss on
the evaluation examples before and after. The model is the embedded SmolLM2-135M-Instruct; --model takes another
transformers folder instead. Enough steps are needed for the training to dominate, as it does in a real run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent
MODEL = "model-cache/HuggingFaceTB/SmolLM2-135M-Instruct"
CONFIGURATION = "fine-tuning/lora.json"
ADAPTER = "fine-tuning/adapters/lora/adapter/adapter_model.safetensors"
ENVIRONMENT = {**os.environ, "CI": "1", "OLIVE_DISABLE_TELEMETRY": "1", "ORT_DISABLE_TELEMETRY": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    ours: list[float] = []
    verifying: list[float] = []
    olives: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder) / "project", options.model, options.steps)
        alone = Path(folder) / "alone"
        shutil.copytree(project, alone)
        for turn in range(options.repeats):
            olives.append(run_olive(alone))
            seconds, verify = run_ours(project)
            ours.append(seconds)
            verifying.append(verify)
            assert (project / ADAPTER).read_bytes() == (alone / ADAPTER).read_bytes(), "the weights differ"
            print(
                f"turn {turn + 1}: olive {olives[-1]:.1f} s, scaffolder {seconds:.1f} s, {verify:.1f} s of it verifying"
            )
    report(ours, verifying, olives)


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


def call(command: list[str], folder: Path) -> float:
    """Run a command and return its wall time in seconds."""
    start = time.perf_counter()
    subprocess.run([str(BIN / command[0]), *command[1:]], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
    return time.perf_counter() - start


def run_olive(project: Path) -> float:
    for made in (".olive-cache", "fine-tuning/adapters"):
        shutil.rmtree(project / made, ignore_errors=True)
    return call(["olive", "run", "--config", CONFIGURATION], project)


def run_ours(project: Path) -> tuple[float, float]:
    """Return the wall time, and how much of it the verification took."""
    seconds = call(["scaffolder", "run", "fine-tuning", "--restart", "--quiet"], project)
    [events] = project.glob("fine-tuning/runs/*/events.jsonl")
    found = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    verify = [
        event["seconds"]
        for event in found
        if event["event"] == "stage" and event["name"] == "verify" and "seconds" in event
    ]
    return seconds, verify[-1]


def report(ours: list[float], verifying: list[float], olives: list[float]) -> None:
    olive = statistics.median(olives)
    bare = statistics.median([whole - verify for whole, verify in zip(ours, verifying, strict=True)])
    print(f"the weights are equal, byte for byte; medians of {len(ours)}:")
    for name, seconds in (("olive", olive), ("scaffolder", statistics.median(ours)), ("without verifying", bare)):
        print(f"{name:<18} {seconds:7.2f} s  {100 * (seconds / olive - 1):+6.1f} %")


if __name__ == "__main__":
    main()
