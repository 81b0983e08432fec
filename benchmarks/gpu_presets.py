"""What the catalogue picks for a card, against the best settings found by hand for it.

    python benchmarks/gpu_presets.py [--models "A;B"] [--out results.json]

Needs a large NVIDIA card and what `benchmarks/gpu.py` needs. For models of three shapes, with random weights, and for
cards of 24, 48 and 80 GB, which this process holds itself to on the card at hand, it trains LoRA some steps with the
settings of the project that `scaffolder new` generates, and with others of the same rows a step (a step of another size
is another training): fewer rows a pass, activations kept or computed again. The best of those that fit is the best
found by hand. Each is measured twice, the faster counts. Real tokens are counted.
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import gpu

MODELS = ("SmolLM2-135M-Instruct", "SmolLM2-1.7B-Instruct", "Phi-3.5-mini-instruct")
ROWS = 1600
WARM_UP, LEAST_SECONDS, MOST_STEPS = 4, 3, 100


class Settings(NamedTuple):
    """How the rows of a step go through the model."""

    batch: int
    accumulation: int
    recompute: bool

    def __str__(self) -> str:
        return f"{self.batch} x {self.accumulation}{', checkpointing' if self.recompute else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=";".join(MODELS))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {"card": gpu.card_name()}
    for name in arguments.models.split(";"):
        with tempfile.TemporaryDirectory() as folder:
            results[name] = compare(Path(folder), name)
        if arguments.out:
            arguments.out.write_text(json.dumps(results, indent=2) + "\n")


def compare(folder: Path, name: str) -> dict[str, Any]:
    """Measure one model on each card, and print a line for each measurement."""
    from scaffolder.catalogue import models

    entry = models()[name]
    projects = {size: folder / f"card-{size}" for size in gpu.SIZES}
    for size, project in projects.items():
        gpu.generate(project, name, f"cuda-{size}gb")
    largest = projects[gpu.SIZES[-1]]
    gpu.make_model(entry, largest / "model-cache" / entry.repo)
    gpu.write_rows(largest / "datasets" / "train.jsonl", ROWS)
    bench = Bench(largest, entry.repo)
    found = {}
    for size, project in projects.items():
        arguments = preset(project)["training_args"]
        picked = Settings(
            arguments["per_device_train_batch_size"],
            arguments["gradient_accumulation_steps"],
            arguments["gradient_checkpointing"],
        )
        speeds: dict[str, dict[str, Any]] = {}
        for each in [picked, *others(picked)]:
            # Where all activations have room, computing them again is the same work at best.
            if not (each.recompute and "peak_gb" in speeds.get(str(each._replace(recompute=False)), {})):
                speeds[str(each)] = bench.speed(each, size)
        best = max(speeds, key=lambda each: speeds[each].get("tokens_per_second", 0))
        ratio = speeds[str(picked)].get("tokens_per_second", 0) / speeds[best]["tokens_per_second"]
        found[f"{size} GB"] = {"picked": str(picked), "best": best, "of_best": round(ratio, 3), "speeds": speeds}
        print(f"{name}, {size} GB: {picked} picked, {best} best, ratio {ratio:.3f}", flush=True)
        for each, figures in speeds.items():
            print(f"    {each:<24} {json.dumps(figures)}", flush=True)
    return found


def others(picked: Settings) -> list[Settings]:
    """Return what one would try by hand."""
    rows = picked.batch * picked.accumulation
    found = [Settings(batch, rows // batch, recompute=False) for batch in (rows, rows // 2, rows // 4, rows // 8)]
    # Whoever computes again does so to make large passes.
    found += [Settings(rows, 1, recompute=True)]
    return [each for each in found if each != picked]


def preset(project: Path) -> dict[str, Any]:
    config = json.loads((project / "fine-tuning" / "lora.json").read_text())
    return dict(config["passes"]["lora"])


class Bench:
    """One model on the card with its packed rows, trained again and again."""

    def __init__(self, project: Path, repo: str) -> None:
        import datasets
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        scripts = {name: imported(project / "fine-tuning" / f"{name}.py") for name in ("chat_data", "fast_training")}
        folder = str(project / "model-cache" / repo)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.settings = preset(project)
        rows = datasets.load_dataset("json", data_files=str(project / "datasets" / "train.jsonl"), split="train")
        packed = scripts["chat_data"].chat_pre_process(rows, folder, max_seq_len=2048, packing="pack")
        whole = len(packed) // 8 * 8  # as many as fill their steps
        self.rows = [{**features, "labels": labels} for features, labels in (packed[i] for i in range(whole))]
        self.collate = functools.partial(scripts["chat_data"].collate_packed, tokenizer=self.tokenizer)
        self.load = functools.partial(AutoModelForCausalLM.from_pretrained, folder, dtype=torch.bfloat16)
        self.known: dict[Settings, dict[str, Any]] = {}

    def speed(self, settings: Settings, size: int) -> dict[str, Any]:
        """Return tokens a second and peak memory in GB within a card of `size` GB, or why there are none."""
        import torch

        # Kept activations take the same on any card that has room; computing again takes what the card has.
        before = self.known.get(settings, {})
        if not settings.recompute and before.get("peak_gb", size) < 0.9 * size:
            return before
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(size * 1e9 / total)
        try:
            found = max((self._train(settings) for _ in range(2)), key=lambda turn: turn["tokens_per_second"])
        except torch.OutOfMemoryError:
            found = {"failed": "out of memory"}
        self.known[settings] = found
        gc.collect()
        torch.cuda.empty_cache()
        return found

    def _train(self, settings: Settings) -> dict[str, Any]:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import Trainer, TrainerCallback, TrainingArguments

        times: list[float] = []

        class Clock(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                torch.cuda.synchronize()
                times.append(time.monotonic())
                measured = times[-1] - times[WARM_UP - 1] if len(times) > WARM_UP else 0
                control.should_training_stop |= measured >= LEAST_SECONDS

        torch.cuda.reset_peak_memory_stats()
        torch.manual_seed(0)
        model = self.load(device_map="cuda")
        wanted = {key: self.settings[key] for key in ("r", "target_modules", "lora_dropout")}
        model = get_peft_model(model, LoraConfig(lora_alpha=self.settings["alpha"], task_type="CAUSAL_LM", **wanted))
        if settings.recompute:
            model.enable_input_require_grads()
        own = {
            "max_steps": MOST_STEPS,
            "per_device_train_batch_size": settings.batch,
            "gradient_accumulation_steps": settings.accumulation,
            "gradient_checkpointing": settings.recompute,
            "gradient_checkpointing_kwargs": {"use_reentrant": False},
            "train_sampling_strategy": "sequential",
            "logging_nan_inf_filter": False,
            "remove_unused_columns": False,
            "disable_tqdm": True,
            "save_strategy": "no",
            "report_to": "none",
        }
        left_out = ("num_train_epochs", "max_steps")
        arguments = {key: value for key, value in self.settings["training_args"].items() if key not in left_out}
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                model,
                TrainingArguments(folder, **{**arguments, **own}),
                train_dataset=self.rows,
                data_collator=self.collate,
                callbacks=[Clock()],
            )
            trainer.model_accepts_loss_kwargs = False  # as Olive trains
            trainer.train()
        a_step = settings.batch * settings.accumulation
        rows = (self.rows[index % len(self.rows)] for index in range(WARM_UP * a_step, len(times) * a_step))
        tokens = sum(len(row["input_ids"]) for row in rows)
        return {
            "tokens_per_second": round(tokens / (times[-1] - times[WARM_UP - 1])),
            "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
        }


def imported(path: Path) -> Any:
    """Import a generated project's script under its name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
