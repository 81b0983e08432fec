"""Quantising on a card: seconds and size of each algorithm, for a random model of a catalogue shape.

    python benchmarks/gpu_quantise.py [--model NAME] [--presets "rtn;kquant;gptq;awq"] [--awq PYTHON] [--out FILE]

Needs an NVIDIA card and the cuda stack; without one it measures the processor. Each algorithm is a preset of the
generated project, run and verified by `scaffolder run`; the seconds are the quantiser's alone, by the run's events.
Gptq and awq take 64 of the project's examples to calibrate on. Awq needs `--awq`, the Python of an environment made
from setup/awq.txt; it has the seconds of rescaling besides, start to end, and of rounding what that left.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import gpu, lab

AWQ = ["-d", "method=quantise-then-lora", "-d", "base_quantiser=awq"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="Phi-3.5-mini-instruct")
    parser.add_argument("--presets", default="rtn;kquant;gptq;awq")
    parser.add_argument("--awq", metavar="PYTHON", help="the Python of an environment with llm-compressor")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    import torch

    from scaffolder.catalogue import models

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    results: dict[str, Any] = {"card": card, "model": arguments.model}
    entry = models()[arguments.model]
    with tempfile.TemporaryDirectory() as folder:
        project, rescaled = Path(folder) / "project", Path(folder) / "rescaled"
        model = project / "model-cache" / entry.repo
        hardware = "cuda-80gb" if card else "cpu"
        gpu.generate(project, arguments.model, hardware)
        gpu.generate(rescaled, arguments.model, hardware, *AWQ)
        gpu.make_model(entry, model)
        (rescaled / "model-cache" / entry.repo).parent.mkdir(parents=True)
        (rescaled / "model-cache" / entry.repo).symlink_to(model)
        for each in (project, rescaled):
            gpu.write_rows(each / "datasets" / "train.jsonl", 379)
            gpu.write_rows(each / "datasets" / "eval.jsonl", 4)
        results["gb"] = gigabytes(model)
        for preset in arguments.presets.split(";"):
            try:
                if preset == "awq":
                    results[preset] = rescale(rescaled, arguments.awq) | quantise(rescaled, "quantise-rtn")
                else:
                    results[preset] = quantise(project, f"quantise-{preset}")
            except RuntimeError as error:  # one that fails must not cost the others' figures
                results[preset] = {"failed": str(error)[-600:]}
            print(f"{preset:<8} {json.dumps(results[preset])}", flush=True)
            if arguments.out:
                arguments.out.write_text(json.dumps(results, indent=2) + "\n")


def quantise(project: Path, preset: str) -> dict[str, float]:
    gpu.command("run", "gen-model", "--preset", preset, "-q", "--force", cwd=project)
    seconds = lab.stages(project, "gen-model")["quantise"]
    return {"seconds": seconds, "gb": gigabytes(project / "gen-model" / preset)}


def rescale(project: Path, python: str | None) -> dict[str, float]:
    """Run the project's script that rescales its model."""
    if python is None:
        raise RuntimeError("--awq names no Python")
    begin = time.monotonic()
    result = subprocess.run([python, "model-cache/awq.py"], cwd=project, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(result.stderr)
    print(result.stdout.splitlines()[-1], flush=True)
    return {"rescale_seconds": round(time.monotonic() - begin, 1)}


def gigabytes(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*.safetensors")) / 1e9, 3)


if __name__ == "__main__":
    main()
