"""What a killed run left, and how the next one goes on from it to the same weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from . import distributed

# Beside the trainer's own files in each checkpoint, and written after them.
EPOCH_STATE = "epoch_state.pth"


def drop_unfinished(cache: Path) -> None:
    """Delete what a killed run left: cached passes without their record, checkpoints that do not load."""
    for record in cache.glob("*/runs/*"):
        if record.is_dir() and not (record / "run.json").is_file():
            shutil.rmtree(record)
    for checkpoint in cache.glob("checkpoints/*/checkpoint-*"):
        if not _complete(checkpoint):
            shutil.rmtree(checkpoint)


def _complete(checkpoint: Path) -> bool:
    import torch
    from safetensors import safe_open

    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        with safe_open(checkpoint / "adapter_model.safetensors", framework="pt") as weights:
            weights.keys()
        for name in ("optimizer.pt", "scheduler.pt", EPOCH_STATE):
            torch.load(checkpoint / name, map_location="cpu", weights_only=True)
        return any(checkpoint.glob("rng_state*.pth"))
    except Exception:
        return False


def install() -> None:
    """Make every Trainer of this process go on in the same order of rows."""
    import transformers.trainer

    transformers.trainer.DEFAULT_CALLBACKS.append(SameOrder)


class SameOrder(TrainerCallback):  # type: ignore[misc] # transformers is untyped here
    """Keeps the random state that each epoch's order of rows is drawn from.

    The trainer restores the state of the step it goes on from, but draws the epoch's order before that, from a
    state that no longer is the one of its first attempt: with `group_by_length` the rows would come in another
    order from the second epoch on.
    """

    def __init__(self) -> None:
        self.drawn_from: Any = None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep the state that the order will be drawn from; after a resume, bring it back first."""
        import torch

        if self.drawn_from is None and state.global_step > 0:
            torch.set_rng_state(torch.load(_checkpoint(args, state) / EPOCH_STATE, weights_only=True))
        self.drawn_from = distributed.same_state(torch.get_rng_state(), args.device)
        torch.set_rng_state(self.drawn_from)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Put it beside the checkpoint; at the end of an epoch, the next one begins with the state of now."""
        import torch

        at_end = float(state.epoch).is_integer()
        if state.is_world_process_zero:
            torch.save(torch.get_rng_state() if at_end else self.drawn_from, _checkpoint(args, state) / EPOCH_STATE)


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
