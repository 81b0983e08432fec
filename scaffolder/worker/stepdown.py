"""Goes on when a training step does not fit the memory: the same step, in smaller passes.

The rows of a step, its loss and its gradients stay as they were; only how many rows go through the model at once
changes, and whether activations are computed again instead of kept.
"""

from __future__ import annotations

import functools
import gc
from typing import TYPE_CHECKING, Any

from .explain import TaskError

if TYPE_CHECKING:
    from .channel import Channel
    from .rank import Recorder

# Smaller passes than this make a card wait; activations are given up before (`scaffolder/memory.py`, measured).
_TOKENS_THAT_FILL = 4096
_IGNORED = -100  # torch.nn.CrossEntropyLoss leaves this label out


def install(channel: Channel | Recorder) -> None:
    """Make every Trainer of this process step down when memory runs out, and tell `channel`."""
    from transformers import Trainer

    plain = Trainer.training_step

    @functools.wraps(plain)
    def stepped(self: Any, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        if self.args.world_size > 1:  # the other processes would wait for ever
            return plain(self, model, inputs, num_items_in_batch)
        if not hasattr(self, "trained_weights"):  # a walk through a large model takes milliseconds
            self.trained_weights = [weight for weight in model.parameters() if weight.requires_grad]
        before = _State(self.trained_weights)
        while True:
            try:
                return _in_passes(plain, self, model, inputs, num_items_in_batch)
            except (RuntimeError, MemoryError) as error:
                if not _is_memory(error):
                    raise
                message = _step_down(self, model, inputs)
                if not message:
                    raise _too_long(inputs) from error
            channel.emit("warning", message=f"step {self.state.global_step + 1} did not fit the memory: {message}")
            before.restore()

    Trainer.training_step = stepped


class _State:
    """What a pass that failed half-way may have changed: gradients and random numbers."""

    def __init__(self, weights: list[Any]) -> None:
        import torch

        self.weights = weights
        # Earlier passes of the same step have left theirs; before the first there are none to copy.
        self.gradients = [None if weight.grad is None else weight.grad.clone() for weight in weights]
        self.random = torch.get_rng_state()
        self.card_random = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None

    def restore(self) -> None:
        import torch

        for weight, gradient in zip(self.weights, self.gradients, strict=True):
            weight.grad = None if gradient is None else gradient.clone()
        torch.set_rng_state(self.random)
        if self.card_random is not None:
            torch.cuda.set_rng_state(self.card_random)
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _too_long(inputs: dict[str, Any]) -> TaskError:
    tokens = int(inputs["input_ids"].shape[1])
    return TaskError(
        "out of memory with one row at a time and nothing kept that can be computed again",
        f"rows have {tokens} tokens: lower max_seq_len in the training data's pre_process_data_config, for example to "
        f"{tokens // 2}, or take a smaller model",
        kind="memory",
    )


def _is_memory(error: BaseException) -> bool:
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or should_reduce_batch_size(error)


def _in_passes(plain: Any, trainer: Any, model: Any, inputs: dict[str, Any], items: Any) -> Any:
    """Return the loss of a batch that goes through the model in as many passes as `trainer` has come down to."""
    import torch

    passes = min(getattr(trainer, "passes", 1), _rows(inputs))
    if passes == 1:
        return plain(trainer, model, inputs, items)
    parts = _parts(inputs, passes)
    counts = [int((part["labels"][:, 1:] != _IGNORED).sum()) for part in parts]
    accumulation = trainer.current_gradient_accumulation_steps
    loss = inputs["labels"].new_zeros((), dtype=torch.float32)
    try:
        for part, count in zip(parts, counts, strict=True):
            if count:  # the mean over no token is no number
                # Where the loss is a mean over the pass's tokens, Trainer divides it by this; a sum is left as it is.
                trainer.current_gradient_accumulation_steps = accumulation * sum(counts) / count
                loss += plain(trainer, model, part, items)
        return loss
    finally:
        trainer.current_gradient_accumulation_steps = accumulation


def _rows(inputs: dict[str, Any]) -> int:
    return int(inputs["input_ids"].shape[0])


def _parts(inputs: dict[str, Any], passes: int) -> list[dict[str, Any]]:
    rows = _rows(inputs)
    size = -(-rows // passes)

    def part(value: Any, at: int) -> Any:
        return value[at : at + size] if getattr(value, "shape", (0,))[:1] == (rows,) else value

    return [{name: part(value, at) for name, value in inputs.items()} for at in range(0, rows, size)]


def _step_down(trainer: Any, model: Any, inputs: dict[str, Any]) -> str:
    """Take less memory from here on and say how; an empty text where nothing is left to give up."""
    rows = _rows(inputs)
    passes = min(getattr(trainer, "passes", 1), rows)
    tokens = inputs["input_ids"].numel() // passes
    if (tokens >= 2 * _TOKENS_THAT_FILL and passes < rows) or not _recompute(model):
        if passes >= rows:
            return ""
        trainer.passes = passes * 2
        return f"its {rows} rows go through the model in {trainer.passes} passes from here; the result is the same"
    return "activations are computed again from here instead of kept; the result is the same"


def _recompute(model: Any) -> bool:
    """Turn checkpointing on for every block; False where it was on already or the model cannot."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    blocks = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    if not blocks or all(block.gradient_checkpointing for block in blocks):
        return False
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return True
