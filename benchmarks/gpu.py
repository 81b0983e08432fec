"""Fine-tuning on a card: our presets against what others do with the same random model, in one run.

    python benchmarks/gpu.py [--model NAME] [--steps N] [--only "CASE;CASE"] [--torchtune PYTHON] [--out results.json]

Needs an NVIDIA card and the cuda stack (liger-kernel, bitsandbytes for QLoRA, trl for its row; what is missing is said
and left out). torchtune needs a torchao that PEFT refuses, so an environment of its own: name its Python. The model has
the shape of a model of the catalogue and random weights. Real tokens are counted, padding is not. The limit is the
card's own rate in a large bfloat16 matrix product, at 4 FLOP a weight and token: forward, and backward through frozen
weights.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

WARM_UP = 4  # steps that compile kernels and fill the allocator
ROWS = 1200
PEERS = {"trainer": "gpu_peers.py trainer", "trl": "gpu_peers.py trl", "torchtune": "gpu_torchtune.py"}
SIZES = (24, 48, 80)
CAP = """import torch
torch.cuda.set_per_process_memory_fraction({bytes} / torch.cuda.get_device_properties(0).total_memory)
"""
ATTENTION = ["-d", "targets=attention", "-d", "r=64"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="Phi-3.5-mini-instruct")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--only", default="")
    parser.add_argument("--torchtune", metavar="PYTHON", help="the Python of an environment with torchtune 0.6.1")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    wanted = [name for name in arguments.only.split(";") if name]
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.model, arguments.steps, wanted, arguments.torchtune, arguments.out)


def measure(folder: Path, name: str, steps: int, wanted: list[str], torchtune: str | None, out: Path | None) -> None:
    from scaffolder.catalogue import models
    from scaffolder.memory import Shape

    entry = models()[name]
    shape = Shape(**entry.shape.model_dump())
    card, rate = card_rate()
    limit = rate / (4 * (shape.block_weights + shape.vocab * shape.hidden))
    print(f"{card}: {rate / 1e12:.0f} TFLOP/s in bfloat16, at most {limit:.0f} tokens/s of {name}", flush=True)
    project = folder / "project"
    model = project / "model-cache" / entry.repo
    new_project(project, name)
    begin = time.monotonic()
    make_model(entry, model)
    fill(project)
    for size in SIZES:
        smaller = folder / f"card-{size}"
        new_card_project(smaller, name, size)
        fill(smaller)
        shutil.rmtree(smaller / "model-cache")
        (smaller / "model-cache").symlink_to(project / "model-cache")
    print(f"model and rows made in {time.monotonic() - begin:.0f} s", flush=True)
    results: dict[str, Any] = {"card": card, "model": name, "tflops": round(rate / 1e12), "limit": round(limit)}
    for case, run in (cases(project, model, steps, torchtune) | card_cases(folder, steps)).items():
        if wanted and case not in wanted:
            continue
        try:
            found = run()
        except Exception as error:  # one peer that fails must not cost the others' figures
            print(f"{case:<34} failed: {str(error)[-400:]}", flush=True)
            continue
        found["share"] = round(found["tokens_per_second"] / limit, 3)
        results[case] = found
        print(f"{case:<34} {json.dumps(found)}", flush=True)
        if out:
            out.write_text(json.dumps(results, indent=2) + "\n")


def cases(project: Path, model: Path, steps: int, torchtune: str | None) -> dict[str, Any]:
    """Return what is measured, by name."""
    batch = "per_device_train_batch_size"

    def ours(preset: str, **values: Any) -> Any:
        return lambda: run_ours(project, preset, steps, values)

    def peer(which: str, python: str = sys.executable) -> Any:
        return lambda: run_peer(python, which, model, project / "datasets" / "train.jsonl", steps)

    return {
        "lora": ours("lora"),
        "lora, batch 2": ours("lora", **{batch: 2}),
        "lora without fast_training.py": ours("lora-plain"),
        "lora, checkpointing": ours("lora", gradient_checkpointing=True),
        "qlora": ours("qlora"),
        "qlora, checkpointing": ours("qlora", gradient_checkpointing=True),
        "dora": ours("dora"),
        "olive finetune's defaults": ours("olive-defaults"),
        "the lab's LoRA": ours("lab-lora"),
        "TRL, packing": peer("trl"),
        "torchtune, packing, compiled": peer("torchtune", torchtune or sys.executable),
        "PEFT and Trainer": peer("trainer"),
    }


def card_cases(folder: Path, steps: int) -> dict[str, Any]:
    """Return what is measured within the memory of smaller cards, by name: presets as they are generated for them."""
    found = {}
    for size in SIZES:
        project = folder / f"card-{size}"
        for method in ("lora", "qlora"):
            found[f"{method}, {size} GB"] = functools.partial(run_ours, project, method, steps, {})
    whole = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
    # The estimate was wrong, or someone else has most of the card: training steps down by itself.
    tight = {**whole, "gradient_checkpointing": False}
    found["lora, batch 8 in 24 GB"] = functools.partial(run_ours, folder / "card-24", "lora", steps, tight)
    # The whole step in one pass, as on a large card: as many blocks keep their activations as there is room for.
    kept = {**whole, "gradient_checkpointing": True}
    found["qlora, batch 8 in 24 GB"] = functools.partial(run_ours, folder / "card-24", "qlora", steps, kept)
    return found


def card_name() -> str:
    """Return the card's name, or end the program where there is none."""
    try:
        import torch
    except ImportError:
        sys.exit(f"error: {sys.executable} lacks the cuda stack; `scaffolder setup` installs it into a cuda project")
    if not torch.cuda.is_available():
        sys.exit(f"error: this needs an NVIDIA card and a PyTorch built for it; here is PyTorch {torch.__version__}")
    return torch.cuda.get_device_name()


def card_rate() -> tuple[str, float]:
    """Return the card's name and its rate in an 8192 x 8192 matrix product, in FLOP a second."""
    name = card_name()
    import torch

    left, right = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    torch.cuda.synchronize()
    begin = time.monotonic()
    for _ in range(20):
        left @ right
    torch.cuda.synchronize()
    return name, 20 * 2 * 8192**3 / (time.monotonic() - begin)


def new_project(project: Path, name: str) -> None:
    """Generate a project for a large card, with the peers' configurations beside its presets."""
    generate(project, name, "cuda-80gb")
    folder = project / "fine-tuning"
    lora = json.loads((folder / "lora.json").read_text())
    plain = json.loads(json.dumps(lora))
    plain["data_configs"] = [entry for entry in plain["data_configs"] if entry["name"] != "speed"]
    write(folder / "lora-plain.json", plain)
    write(folder / "olive-defaults.json", with_olive_text(lora, olive_defaults(), "line-by-line", 1024))
    write(folder / "lab-lora.json", with_olive_text(lora, lab_lora(), "join", 2048))


def generate(project: Path, name: str, hardware: str, *more: str) -> None:
    answers = ["-d", f"model={name}", "-d", f"hardware={hardware}", "-d", "advanced=true", *ATTENTION, *more]
    command("new", project, "--defaults", "-q", *answers, cwd=project.parent)


def new_card_project(project: Path, name: str, size: int) -> None:
    """Generate a project for a card of `size` GB, and let its runs have no more of the card at hand."""
    generate(project, name, f"cuda-{size}gb")
    (project / "fine-tuning" / "cap.py").write_text(CAP.format(bytes=size * 10**9))
    for method in ("lora", "qlora"):
        path = project / "fine-tuning" / f"{method}.json"
        config = json.loads(path.read_text())
        config["data_configs"].append({"name": "cap", "user_script": "fine-tuning/cap.py"})
        path.write_text(json.dumps(config, indent=2))


def fill(project: Path) -> None:
    write_rows(project / "datasets" / "train.jsonl", ROWS)
    write_rows(project / "datasets" / "eval.jsonl", 2)


def write(path: Path, config: dict[str, Any]) -> None:
    config["output_dir"] = f"fine-tuning/adapters/{path.stem}"
    path.write_text(json.dumps(config, indent=2))


def with_olive_text(lora: dict[str, Any], settings: dict[str, Any], strategy: str, length: int) -> dict[str, Any]:
    """Return a configuration as Olive's own tutorials write it: its text component, its settings."""
    text = {"text_template": "{prompt}\n{response}", "strategy": strategy, "max_seq_len": length}
    data = {
        "name": "train",
        "type": "HuggingfaceContainer",
        "load_dataset_config": lora["data_configs"][0]["load_dataset_config"],
        "pre_process_data_config": {**text, "add_special_tokens": False},
    }
    return {
        **lora,
        "data_configs": [data],
        "passes": {"lora": {"type": "LoRA", "train_data_config": "train", **settings}},
    }


def olive_defaults() -> dict[str, Any]:
    """What `olive finetune` writes: rank 64 on attention, rows padded to 1024, one at a time, checkpointing."""
    return {"r": 64, "target_modules": ["o_proj", "qkv_proj"], "training_args": {"per_device_train_batch_size": 1}}


def lab_lora() -> dict[str, Any]:
    """The widely copied Olive lab's LoRA: rows joined to 2048, one at a time, four to a step."""
    arguments = {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 4,
        "gradient_checkpointing": False,
        "learning_rate": 1e-4,
    }
    return {"r": 64, "alpha": 64, "target_modules": ["o_proj", "qkv_proj"], "training_args": arguments}


def run_ours(project: Path, preset: str, steps: int, values: dict[str, Any]) -> dict[str, Any]:
    """Run a configuration with `scaffolder run`; read tokens, time and memory from its events."""
    name = next(iter(json.loads((project / "fine-tuning" / f"{preset}.json").read_text())["passes"]))
    settings = {"max_steps": steps, "logging_steps": 1, **values}
    changes = [
        part
        for key, value in settings.items()
        for part in ("--set", f"passes.{name}.training_args.{key}={json.dumps(value)}")
    ]
    begin = time.monotonic()
    command("run", "fine-tuning", "--preset", preset, "-q", "--restart", "--force", *changes, cwd=project)
    events = newest_events(project)
    trained = [event for event in events if event["event"] == "step"]
    starts = next(event["time"] for event in events if event["event"] == "begin")
    losses = [round(event["loss"], 3) for event in events if event["event"] == "metrics" and "loss" in event]
    shutil.rmtree(project / "fine-tuning" / "runs")
    return {
        **speed([(event["time"], event["tokens"]) for event in trained]),
        "peak_gb": round(trained[-1]["gpu_memory"] / 1e9, 1),
        "first_step_after_s": round(trained[0]["time"] - starts, 1),
        "seconds": round(time.monotonic() - begin, 1),
        "losses": [losses[0], losses[-1]],
    }


def newest_events(project: Path) -> list[dict[str, Any]]:
    path = max(project.glob("fine-tuning/runs/*/events.jsonl"), key=lambda found: found.stat().st_mtime)
    return [json.loads(line) for line in path.read_text().splitlines()]


def speed(steps: list[tuple[float, int]]) -> dict[str, Any]:
    """Return the tokens a second after the warm-up, of steps as (time, tokens so far)."""
    (begin, before), (end, after) = steps[WARM_UP - 1], steps[-1]
    return {"tokens_per_second": round((after - before) / (end - begin))}


def run_peer(python: str, which: str, model: Path, rows: Path, steps: int) -> dict[str, Any]:
    """Run another tool in a process of its own."""
    script, *chosen = PEERS[which].split()
    command = [python, Path(__file__).parent / script, *chosen, model, rows, str(steps)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment())
    if result.returncode:
        raise RuntimeError(result.stderr[-600:])
    found = json.loads(result.stdout.splitlines()[-1])
    return {**speed(found.pop("steps")), **found}


def command(*arguments: Any, cwd: Path) -> None:
    """Run `scaffolder` with this interpreter for both its own and the heavy work."""
    result = subprocess.run(
        [sys.executable, "-m", "scaffolder", *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise RuntimeError(result.stdout + result.stderr)


def environment() -> dict[str, str]:
    return {**os.environ, "SCAFFOLDER_PYTHON": sys.executable, "HF_HUB_OFFLINE": "1", "CI": "1"}


def make_model(entry: Any, folder: Path) -> None:
    """Write a model of the entry's shape with random weights in bfloat16, and a small tokenizer with its template."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from tests.tiny_models import make_tiny_model

    make_tiny_model(entry.export.tiny, folder)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    shape, tiny = entry.shape, AutoConfig.from_pretrained(folder)
    config = type(tiny)(
        num_hidden_layers=shape.layers,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        vocab_size=shape.vocab,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=4096,
        bos_token_id=tiny.bos_token_id,
        eos_token_id=tiny.eos_token_id,
        pad_token_id=tiny.pad_token_id,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder, max_shard_size="4GB")


def write_rows(path: Path, count: int) -> None:
    """Write questions and answers, most of 100 to 600 tokens of the small tokenizer."""
    draw = random.Random(0)
    words = "lamp rain snow sea harbour boats model answer question colour city sight rating water ice".split()  # noqa: SIM905 - shorter

    def text(least: int, most: int) -> str:
        return " ".join(draw.choices(words, k=draw.randint(least, most)))

    with path.open("w") as lines:
        for _ in range(count):
            lines.write(json.dumps({"prompt": text(10, 60), "response": text(20, 160)}) + "\n")


if __name__ == "__main__":
    main()
