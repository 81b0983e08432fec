"""Two cards against one, on the same training: tokens a second and loss curves, in one run.

    python benchmarks/multi_gpu.py [--model NAME] [--steps N] [--cards N] [--out results.json]
    python benchmarks/multi_gpu.py --tiny      # the same on processors, with a tiny model, to try the script itself

Needs a machine with two NVIDIA cards and what `benchmarks/gpu.py` needs. The model is random, of the shape of a model
of the catalogue; the preset is `lora` as generated for an 80 GB card. Both trainings are jobs on a target of kind
`local`, with the same global batch: one card makes two passes of 8 x 2048 tokens for each step, two cards one each.
What follows the training is left out. The losses have to be the same but for the order of sums.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import gpu

ROWS = 3000
LONGEST = 240  # seconds that one training may take
TINY = "SmolLM2-135M-Instruct"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="Phi-3.5-mini-instruct")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--cards", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        begin = time.monotonic()
        prepare(project, TINY if arguments.tiny else arguments.model, tiny=arguments.tiny, cards=arguments.cards)
        print(f"project, model and rows made in {time.monotonic() - begin:.0f} s", flush=True)
        found = {
            count: train(project, count, arguments.cards, arguments.steps, arguments.batch)
            for count in (1, arguments.cards)
        }
    results = compare(found[1], found[arguments.cards], arguments.cards)
    results |= {"model": "tiny" if arguments.tiny else arguments.model, "card": card(), "cards": arguments.cards}
    print(json.dumps(results, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


def prepare(project: Path, name: str, *, tiny: bool, cards: int) -> None:
    """Generate a project with a random model, long rows and a target for one process and for each card."""
    from scaffolder.catalogue import models

    entry = models()[name]
    if tiny:
        from tests.tiny_models import make_tiny_model

        gpu.command("new", project, "--defaults", "-q", "-d", f"model={name}", cwd=project.parent)
        make_tiny_model(entry.export.tiny, project / "model-cache" / entry.repo)
    else:
        gpu.new_project(project, name)
        gpu.make_model(entry, project / "model-cache" / entry.repo)
    gpu.write_rows(project / "datasets" / "train.jsonl", 200 if tiny else ROWS)
    gpu.write_rows(project / "datasets" / "eval.jsonl", 2)
    with (project / "scaffolder.toml").open("a") as manifest:
        for count in (1, cards):
            manifest.write(f'\n[targets.on-{count}]\nkind = "local"\nprocesses = {count}\n')


def train(project: Path, processes: int, cards: int, steps: int, batch: int) -> dict[str, Any]:
    """Submit the training, follow its events to the last step, and end the job there."""
    values = {
        "max_steps": steps,
        "logging_steps": 1,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": cards,
        "dataloader_num_workers": 1,  # the next batch is put together meanwhile
    }
    changes = [
        part
        for key, value in values.items()
        for part in ("--set", f"passes.lora.training_args.{key}={json.dumps(value)}")
    ]
    # Olive would spread one process's model over all cards.
    visible = {"CUDA_VISIBLE_DEVICES": "0"} if processes == 1 else {}
    begin = time.monotonic()
    started = command(project, "run", "fine-tuning", "--preset", "lora", "--on", f"on-{processes}", *changes, **visible)
    job = started.strip()
    try:
        events = until_trained(project, job, begin)
    finally:
        subprocess.run(
            [sys.executable, "-m", "scaffolder", "jobs", "cancel", job],
            cwd=project, env=gpu.environment(), capture_output=True, check=False,
        )  # fmt: skip
    trained = [event for event in events if event["event"] == "step"]
    told = next(event for event in events if event["event"] == "training")
    found = {
        **gpu.speed([(event["time"], event["tokens"]) for event in trained]),
        "processes": told["processes"],
        "global_batch": told["global_batch"],
        "tokens": trained[-1]["tokens"],
        "peak_gb": round((trained[-1]["gpu_memory"] or trained[-1]["memory"]) / 1e9, 1),
        "seconds": round(time.monotonic() - begin, 1),
        "losses": [round(event["loss"], 5) for event in events if event["event"] == "metrics" and "loss" in event],
    }
    print(f"{processes} process(es): {json.dumps(found)}", flush=True)
    shutil.rmtree(project / "fine-tuning" / "runs")
    shutil.rmtree(project / "jobs")
    return found


def until_trained(project: Path, job: str, begin: float) -> list[dict[str, Any]]:
    """Return the job's events once its training has ended."""
    while time.monotonic() - begin < LONGEST:
        files = list(project.glob("fine-tuning/runs/*/events.jsonl"))
        lines = files[0].read_text().splitlines() if files else []
        events = [json.loads(line) for line in lines if line.endswith("}")]
        kinds = {event["event"] for event in events}
        if "trained" in kinds:
            return events
        if kinds & {"failed", "ended"}:
            break
        time.sleep(0.5)
    logs = "".join(path.read_text()[-3000:] for path in project.glob("fine-tuning/runs/*/jobs/*/job.log"))
    raise RuntimeError(f"{job} did not end its training\n{logs}")


def command(project: Path, *arguments: str, **variables: str) -> str:
    """Run `scaffolder` and return what it prints."""
    result = subprocess.run(
        [sys.executable, "-m", "scaffolder", *arguments],
        cwd=project,
        env={**gpu.environment(), **variables},
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise RuntimeError(result.stdout + result.stderr)
    return result.stdout


def compare(one: dict[str, Any], several: dict[str, Any], count: int) -> dict[str, Any]:
    """Return the ratio of speeds, and how far the losses are apart."""
    apart = [abs(a - b) for a, b in zip(one["losses"], several["losses"], strict=True)]
    ratio = several["tokens_per_second"] / one["tokens_per_second"]
    return {
        "ratio": round(ratio, 3),
        "of_ideal": round(ratio / count, 3),
        "largest_loss_difference": round(max(apart), 5),
        "one": one,
        "several": several,
    }


def card() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} processors"


if __name__ == "__main__":
    main()
