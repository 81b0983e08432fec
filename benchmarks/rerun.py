"""What it costs to ask again when nothing changed: `scaffolder run` against `olive run` on its own full cache.

    python benchmarks/rerun.py [--repeats 5] [--model FOLDER]

Makes a project in a temporary folder; runs its fine-tuning, then its export, once with each tool, then asks both
again in turn, with Olive's telemetry off. Prints the median wall times and their ratio. The model is the embedded
SmolLM2-135M-Instruct; --model takes another transformers folder instead.
"""

from __future__ import annotations

import argparse
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
CONFIGURATIONS = {"fine-tuning": "fine-tuning/lora.json", "gen-model": "gen-model/onnx-int8.json"}
ENVIRONMENT = {**os.environ, "CI": "1", "OLIVE_DISABLE_TELEMETRY": "1", "ORT_DISABLE_TELEMETRY": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder) / "project", options.model)
        alone = Path(folder) / "alone"
        shutil.copytree(project, alone)
        for workflow, configuration in CONFIGURATIONS.items():
            ours, olives = ["scaffolder", "run", workflow, "--quiet"], ["olive", "run", "--config", configuration]
            print(
                f"{workflow}, first run: {timed(ours, project):.1f} s, olive {timed(olives, alone):.1f} s", flush=True
            )
            times: dict[str, list[float]] = {"scaffolder": [], "olive": []}
            for _ in range(options.repeats):
                times["scaffolder"].append(timed(ours, project))
                times["olive"].append(timed(olives, alone))
            report(times)


def make_project(root: Path, model: Path | None) -> Path:
    """Generate a project that trains four steps, with its model in place."""
    call(["scaffolder", "new", str(root), "--defaults", "--quiet"], root.parent)
    for name in ("train", "eval"):
        path = root / "datasets" / f"{name}.jsonl"
        path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:16]), encoding="utf-8")
    config = root / CONFIGURATIONS["fine-tuning"]
    text = config.read_text(encoding="utf-8").replace('"max_steps": 16', '"max_steps": 4')
    config.write_text(text, encoding="utf-8")
    if model is None:
        call(["scaffolder", "download", "--quiet"], root)
    else:
        shutil.copytree(model, root / MODEL)
    return root


def call(command: list[str], folder: Path) -> None:
    subprocess.run([str(BIN / command[0]), *command[1:]], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)


def timed(command: list[str], folder: Path) -> float:
    """Return the seconds that a command takes."""
    start = time.perf_counter()
    call(command, folder)
    return time.perf_counter() - start


def report(times: dict[str, list[float]]) -> None:
    ours = statistics.median(times["scaffolder"])
    for name, values in times.items():
        median = statistics.median(values)
        print(
            f"{name:<12} {median:7.3f} s (from {min(values):.3f} to {max(values):.3f})  {median / ours:6.1f} times ours"
        )


if __name__ == "__main__":
    main()
