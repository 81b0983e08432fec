"""Exports for a card: time, size, verification and decode speed on CUDA, for a random model of a catalogue shape.

    python benchmarks/gpu_export.py [--model NAME] [--presets "onnx-int4;onnx-fp16"] [--out results.json]

Needs an NVIDIA card and the cuda stack, ONNX Runtime's and GenAI's builds for CUDA included. Each export is merged from
an adapter that two steps made, verified by `scaffolder run`, and asked for answers. `stages` are the seconds of each
part by the run's events: the merge, the graph, verification.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import gpu, lab

PROMPT, ANSWER, REPEATS = 512, 128, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="Phi-3.5-mini-instruct")
    parser.add_argument("--presets", default="onnx-int4;onnx-fp16")
    parser.add_argument("--decode", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.decode:
        print(json.dumps(decode(arguments.decode)))
        return
    results: dict[str, Any] = {"card": gpu.card_name(), "model": arguments.model}
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        prepare(project, arguments.model)
        for preset in arguments.presets.split(";"):
            try:
                results[preset] = export(project, preset)
            except RuntimeError as error:  # one that fails must not cost the others' figures
                results[preset] = {"failed": str(error)[-600:]}
            print(f"{preset:<16} {json.dumps(results[preset])}", flush=True)
            if arguments.out:
                arguments.out.write_text(json.dumps(results, indent=2) + "\n")


def prepare(project: Path, name: str) -> None:
    """Generate a project with a model of random weights, and train an adapter of two steps."""
    from scaffolder.catalogue import models

    entry = models()[name]
    answers = ["-d", f"model={entry.repo}", "-d", "hardware=cuda-80gb", "-d", "advanced=true", *gpu.ATTENTION]
    gpu.command("new", project, "--defaults", "-q", *answers, cwd=project.parent)
    gpu.make_model(entry, project / "model-cache" / entry.repo)
    gpu.write_rows(project / "datasets" / "train.jsonl", 60)
    gpu.write_rows(project / "datasets" / "eval.jsonl", 2)
    few = "passes.lora.training_args.max_steps=2"
    gpu.command("run", "fine-tuning", "-q", "--force", "--set", few, cwd=project)


def export(project: Path, preset: str) -> dict[str, Any]:
    begin = time.monotonic()
    gpu.command("run", "gen-model", "--preset", preset, "-q", "--force", cwd=project)
    seconds = time.monotonic() - begin
    folder = project / "gen-model" / preset
    record = json.loads((folder / "run.json").read_text())
    return {
        "seconds": round(seconds, 1),
        "stages": lab.stages(project, "gen-model"),
        "gb": round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9, 2),
        "loss_after": record["metrics"].get("after", {}).get("loss"),
        **measured(folder),
    }


def measured(folder: Path) -> dict[str, Any]:
    """Return the speeds on the card, measured in a process of their own."""
    command = [sys.executable, __file__, "--decode", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, env=gpu.environment())
    if result.returncode:
        raise RuntimeError(result.stderr[-600:])
    return dict(json.loads(result.stdout.splitlines()[-1]))


def decode(folder: Path) -> dict[str, Any]:
    """Return how fast GenAI reads a prompt and writes an answer on the card, in tokens a second."""
    import onnxruntime

    onnxruntime.preload_dlls()
    import onnxruntime_genai as og

    model = og.Model(str(folder))
    reads, writes = [], []
    for _ in range(REPEATS + 1):
        params = og.GeneratorParams(model)
        params.set_search_options(max_length=PROMPT + ANSWER, min_length=PROMPT + ANSWER, do_sample=False)
        generator = og.Generator(model, params)
        begin = time.monotonic()
        generator.append_tokens([5 + index % 50 for index in range(PROMPT)])
        generator.generate_next_token()
        read = time.monotonic()
        for _ in range(ANSWER - 1):
            generator.generate_next_token()
        reads.append(PROMPT / (read - begin))
        writes.append((ANSWER - 1) / (time.monotonic() - read))
    return {
        "device": model.device_type,
        "reads": round(statistics.median(reads[1:])),
        "writes": round(statistics.median(writes[1:])),
    }


if __name__ == "__main__":
    main()
