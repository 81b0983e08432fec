"""Quantising on a card: seconds and size of each algorithm, for a random model of a catalogue shape.

    python benchmarks/gpu_quantise.py [--model NAME] [--presets "rtn;kquant;gptq"] [--out results.json]

Needs an NVIDIA card and the cuda stack; without one it measures the processor. Each algorithm is a preset of the
generated project, run and verified by `scaffolder run`; the seconds are the quantiser's alone, by the run's events.
Gptq takes 64 of the project's examples to calibrate on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import gpu, lab


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="Phi-3.5-mini-instruct")
    parser.add_argument("--presets", default="rtn;kquant;gptq")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    import torch

    from scaffolder.catalogue import models

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    results: dict[str, Any] = {"card": card, "model": arguments.model}
    entry = models()[arguments.model]
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        model = project / "model-cache" / entry.repo
        gpu.generate(project, arguments.model, "cuda-80gb" if card else "cpu")
        gpu.make_model(entry, model)
        gpu.write_rows(project / "datasets" / "train.jsonl", 379)
        gpu.write_rows(project / "datasets" / "eval.jsonl", 4)
        results["gb"] = gigabytes(model)
        for preset in arguments.presets.split(";"):
            try:
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


def gigabytes(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*.safetensors")) / 1e9, 3)


if __name__ == "__main__":
    main()
