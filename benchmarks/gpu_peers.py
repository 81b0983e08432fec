"""Other ways to train the same adapter, for `benchmarks/gpu.py`: python gpu_peers.py trainer|trl MODEL ROWS STEPS.

Prints one line of JSON: `steps` as [time, tokens so far], the peak of memory and the first and last loss.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from typing import Any

import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

BATCH, LENGTH = 8, 2048
ADAPTER = LoraConfig(r=64, lora_alpha=64, target_modules=["qkv_proj", "o_proj"], task_type="CAUSAL_LM")


class Clock(TrainerCallback):
    """Notes the time and the tokens of every step."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, int]] = []
        self.tokens = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        torch.cuda.synchronize()
        self.steps.append((time.time(), self.tokens))


def main() -> None:
    which, model_path, rows, steps = sys.argv[1:]
    clock = Clock()
    data = load_dataset("json", data_files=rows, split="train")
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.bfloat16, device_map="cuda")
    with tempfile.TemporaryDirectory() as folder:
        trainer = {"trainer": plain, "trl": packed}[which](model, tokenizer, data, folder, int(steps), clock)
        count(trainer, clock)
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    peak = round(torch.cuda.max_memory_allocated() / 1e9, 1)
    print(json.dumps({"steps": clock.steps, "peak_gb": peak, "losses": [losses[0], losses[-1]]}))


def plain(model: Any, tokenizer: Any, data: Any, folder: str, steps: int, clock: Clock) -> Any:
    """PEFT and transformers' Trainer, as their documentation shows: rows padded to the longest of a batch."""
    from peft import get_peft_model
    from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

    data = data.map(
        lambda row: tokenizer(f"{row['prompt']}\n{row['response']}", truncation=True, max_length=LENGTH),
        remove_columns=data.column_names,
    )
    arguments = TrainingArguments(
        folder,
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        bf16=True,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
    )
    collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    return Trainer(get_peft_model(model, ADAPTER), arguments, collator, data, callbacks=[clock])


def packed(model: Any, tokenizer: Any, data: Any, folder: str, steps: int, clock: Clock) -> Any:
    """TRL's SFTTrainer with packing and Liger's kernels."""
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(
        folder,
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        max_length=LENGTH,
        packing=True,
        bf16=True,
        gradient_checkpointing=False,
        use_liger_kernel=True,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
    )
    data = data.rename_column("response", "completion")
    return SFTTrainer(
        model, args=arguments, train_dataset=data, processing_class=tokenizer, peft_config=ADAPTER, callbacks=[clock]
    )


def count(trainer: Any, clock: Clock) -> None:
    """Count what is not padding in every batch that the trainer learns from."""
    step = trainer.training_step

    def counted(model: Any, inputs: Any, *rest: Any) -> Any:
        mask = inputs.get("attention_mask")
        clock.tokens += int(mask.sum()) if mask is not None and mask.ndim == 2 else inputs["input_ids"].numel()
        return step(model, inputs, *rest)

    trainer.training_step = counted


if __name__ == "__main__":
    main()
