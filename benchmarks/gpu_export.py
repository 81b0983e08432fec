"""Exports: time, size, verification and decode speed where they run, for a random model of a catalogue shape.

    python benchmarks/gpu_export.py [--model NAME] [--presets "onnx-int4;onnx-fp16;cpu-onnx-int4"]
        [--out results.json]

Needs an NVIDIA card and the cuda stack, ONNX Runtime's and GenAI's builds for CUDA included. Exports are for the card,
those with `cpu-` before a preset's name for its host's processors. An adapter that two steps made is merged into each,
but for those with an adapter as an input. `scaffolder run` verifies them; they are asked for answers where they run.
`stages` are the seconds of each part by the run's events: the merge, the graph, verification.
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
    parser.add_argument("--presets", default="onnx-int4;onnx-fp16;adapters-int4;cpu-onnx-int4")
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
    # Answers, not changes to one run: an adapter that its configuration would not make is trained again by the export.
    few = ["-d", "epochs=0", "-d", "max_steps=2"]
    gpu.generate(project, name, "cuda-80gb", *few)
    other = project.with_name("for-processors")
    gpu.generate(other, name, "cuda-80gb", "-d", "export_target=cpu", *few)
    for path in (other / "gen-model").glob("*.json"):
        config = json.loads(path.read_text()) | {"output_dir": f"gen-model/cpu-{path.stem}"}
        (project / "gen-model" / f"cpu-{path.name}").write_text(json.dumps(config, indent=2))
    gpu.make_model(entry, project / "model-cache" / entry.repo)
    gpu.write_rows(project / "datasets" / "train.jsonl", 60)
    gpu.write_rows(project / "datasets" / "eval.jsonl", 2)
    gpu.command("run", "fine-tuning", "-q", "--force", cwd=project)


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
    """Return the speeds of an export, measured in a process of its own."""
    command = [sys.executable, __file__, "--decode", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, env=gpu.environment())
    if result.returncode:
        raise RuntimeError(result.stderr[-600:])
    return dict(json.loads(result.stdout.splitlines()[-1]))


def decode(folder: Path) -> dict[str, Any]:
    """Return where GenAI runs an export, and how fast it reads a prompt and writes an answer, in tokens a second."""
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
