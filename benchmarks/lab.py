"""The widely copied Olive lab on a card: its minutes and sizes, and what the preset `lab` takes here.

    python benchmarks/lab.py [--out results.json]

Needs an NVIDIA card with 80 GB or more and the cuda stack. The lab quantises Phi-3.5-mini (AWQ), trains LoRA for 100
steps over the 4-bit weights and exports with adapters, on an A100. The model here has the same shape and random
weights, the rows are as many and as long as the lab's. Random weights never end an answer: `evaluate` shows 40 tokens,
as many as the lab's answers have. Measured: the stages by their own events, and all commands by the clock,
verification and `evaluate` included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import gpu

MODEL = "Phi-3.5-mini-instruct"
ROWS = 379
ANSWER_TOKENS = 40
# As the lab's text says.
LAB_MINUTES = {"quantise": 8, "lora": 6, "export": 5}
LAB_GB = {"model": 7.5, "quantised": 2.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    card = gpu.card_name()
    with tempfile.TemporaryDirectory() as folder:
        for found in measure(Path(folder) / "project"):  # what is measured so far
            results = {"card": card, "model": MODEL, **found}
            if arguments.out:
                arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


def measure(project: Path) -> Iterator[dict[str, Any]]:
    from scaffolder.catalogue import models

    entry = models()[MODEL]
    gpu.command("new", project, "--preset", "lab", "--defaults", "-q", cwd=project.parent)
    model = project / "model-cache" / entry.repo
    gpu.make_model(entry, model)
    gpu.write_rows(project / "datasets" / "train.jsonl", ROWS)
    gpu.write_rows(project / "datasets" / "eval.jsonl", 8)
    settings = (project / "scaffolder.toml").read_text()
    short = settings.replace("[evaluation]\n", f"[evaluation]\nmax_new_tokens = {ANSWER_TOKENS}\n")
    (project / "scaffolder.toml").write_text(short)
    seconds: dict[str, float] = {}
    found: dict[str, dict[str, float]] = {}
    exported = project / "gen-model" / "quantised-adapters"
    for name, command in {
        "fine-tuning": ("run", "fine-tuning", "-q", "--force"),
        "gen-model": ("run", "gen-model", "-q", "--force"),
        "evaluate": ("evaluate",),
    }.items():
        begin = time.monotonic()
        models = timed(*command, cwd=project)
        seconds[name] = round(time.monotonic() - begin, 1)
        found[name] = stages(project, name) or models
        print(f"{name}: {seconds[name]} s {found[name]}", flush=True)
        yield {"commands": seconds, "stages": found, "gb": sizes(model, exported)}
    tuning, export = found["fine-tuning"], found["gen-model"]
    ours = {
        "quantise": tuning["quantise"],
        "lora": tuning["lora"],
        "export": round(sum(export.values()) - export["verify"], 1),
        "verify": round(tuning["verify"] + export["verify"], 1),
        "evaluate": seconds["evaluate"],
        "everything": round(sum(seconds.values()), 1),
    }
    for name, value in ours.items():
        theirs = f"{60 * LAB_MINUTES[name]} s" if name in LAB_MINUTES else ""
        print(f"{name:<12} {theirs:>8} {value:>8} s")
    gigabytes = sizes(model, exported)
    for name, value in gigabytes.items():
        theirs = f"{LAB_GB[name]} GB" if name in LAB_GB else ""
        print(f"{name:<12} {theirs:>8} {value:>7} GB")
    lab = {"minutes": LAB_MINUTES, "gb": LAB_GB}
    yield {"lab": lab, "seconds": ours, "commands": seconds, "stages": found, "gb": gigabytes}


def timed(*arguments: str, cwd: Path) -> dict[str, float]:
    """Run `scaffolder`; return the seconds from each "measuring MODEL" of its messages to the next one."""
    command = [sys.executable, "-m", "scaffolder", *arguments]
    with subprocess.Popen(
        command, cwd=cwd, env=gpu.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = [(time.monotonic(), line) for line in process.stderr]
    if process.returncode:
        raise RuntimeError("".join(line for _, line in lines))
    begins = [(at, line.split()[1]) for at, line in lines if line.startswith("measuring ")]
    ends = [*(at for at, _ in begins), time.monotonic()][1:]
    return {name: round(end - begin, 1) for (begin, name), end in zip(begins, ends, strict=True)}


def stages(project: Path, workflow: str) -> dict[str, float]:
    """Return the seconds of each stage of a workflow's newest run."""
    paths = list(project.glob(f"{workflow}/runs/*/events.jsonl"))
    if not paths:
        return {}
    lines = max(paths, key=lambda path: path.stat().st_mtime).read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return {event["name"]: event["seconds"] for event in found if event["event"] == "stage" and "seconds" in event}


def sizes(model: Path, exported: Path) -> dict[str, float]:
    """Return gigabytes of the base model, of the exported one, and of the adapters beside it."""
    files = [path for path in exported.rglob("*") if path.is_file()]
    adapters = [path for path in files if path.suffix == ".onnx_adapter"]
    graph = [path for path in files if path not in adapters]
    groups = {"model": model.glob("*.safetensors"), "quantised": graph, "adapters": adapters}
    return {name: round(sum(path.stat().st_size for path in group) / 1e9, 2) for name, group in groups.items()}


if __name__ == "__main__":
    main()
