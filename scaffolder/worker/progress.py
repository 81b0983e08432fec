"""Live figures from inside transformers' Trainer, and checkpoints by the clock."""

from __future__ import annotations

import functools
import math
import time
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from . import distributed
from .channel import Channel, StopRequested
from .explain import TaskError
from .measure import peak_gpu_memory, peak_memory

if TYPE_CHECKING:
    from .rank import Recorder

# At most this much work is lost when the machine goes down.
SECONDS_BETWEEN_CHECKPOINTS = 60.0


def install(channel: Channel | Recorder) -> None:
    """Make every Trainer of this process report to `channel`."""
    import transformers.trainer

    class Reporter(_Reporter):
        def __init__(self) -> None:
            super().__init__(channel)

    transformers.trainer.DEFAULT_CALLBACKS.append(Reporter)
    _count_packed_tokens(transformers.trainer.Trainer)


def _count_packed_tokens(trainer: Any) -> None:
    """Count packed sequences without their filling, which lies at positions below 0: they have no mask."""
    count = trainer._track_num_input_tokens

    @functools.wraps(count)
    def counted(self: Any, inputs: Any) -> None:
        if "attention_mask" not in inputs and "position_ids" in inputs:
            inputs = {**inputs, "attention_mask": inputs["position_ids"] >= 0}
        count(self, inputs)

    trainer._track_num_input_tokens = counted


class _Reporter(TrainerCallback):  # type: ignore[misc] # transformers is untyped here
    def __init__(self, channel: Channel | Recorder) -> None:
        self.channel = channel
        self.started = self.saved = 0.0
        self.first_step = 0
        self.seen_before = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.started = self.saved = time.monotonic()
        self.first_step = state.global_step
        self.seen_before = int(state.num_input_tokens_seen)
        self.channel.can_stop_softly = True
        processes = distributed.processes_inside()
        if processes != distributed.world():
            raise TaskError(f"{distributed.world()} processes were started, and {processes} train together")
        self.channel.emit(
            "training",
            step=state.global_step,
            steps=state.max_steps,
            epochs=args.num_train_epochs,
            processes=processes,
            per_device=args.per_device_train_batch_size,
            accumulation=args.gradient_accumulation_steps,
            global_batch=args.per_device_train_batch_size * processes * args.gradient_accumulation_steps,
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.monotonic()
        elapsed = now - self.started
        done = state.global_step - self.first_step
        tokens = int(state.num_input_tokens_seen)
        self.channel.emit(
            "step",
            step=state.global_step,
            steps=state.max_steps,
            tokens=tokens,
            tokens_per_second=round((tokens - self.seen_before) / elapsed, 1),
            seconds_left=round(elapsed / done * (state.max_steps - state.global_step), 1),
            memory=peak_memory(),
            gpu_memory=peak_gpu_memory(),
        )
        due = self.channel.stopping or now - self.saved > SECONDS_BETWEEN_CHECKPOINTS
        if distributed.first_says(due, args.device):
            control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        names = ("loss", "eval_loss", "learning_rate", "grad_norm", "train_loss", "train_runtime")
        figures = {name: float(value) for name, value in (logs or {}).items() if name in names}
        if figures:
            self.channel.emit("metrics", step=state.global_step, **figures)
        # With fp16 the scaler skips such steps; otherwise they are the end of the weights.
        if not args.fp16 and not all(math.isfinite(figures.get(name, 0.0)) for name in ("loss", "grad_norm")):
            raise TaskError(
                f"the training diverged: at step {state.global_step} the gradients are no longer finite",
                f"lower learning_rate ({args.learning_rate:g}), for example to {args.learning_rate / 10:g}, "
                "or raise warmup_steps; are there broken rows in the data?",
            )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved = time.monotonic()
        self.channel.emit("checkpoint", step=state.global_step)
        if self.channel.stopping:
            raise StopRequested

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.channel.can_stop_softly = False
        self.channel.emit(
            "trained",
            step=state.global_step,
            tokens=int(state.num_input_tokens_seen),
            seconds=round(time.monotonic() - self.started, 2),
        )
