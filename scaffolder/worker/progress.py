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

    reporter = _Reporter(channel)
    transformers.trainer.DEFAULT_CALLBACKS.append(reporter)
    _at_step_begin(transformers.trainer.Trainer, reporter)


def _at_step_begin(trainer: Any, reporter: _Reporter) -> None:
    """Let `reporter` count a step's tokens before its first pass.

    The trainer's own count comes after each pass and makes a card wait for the processor each time.
    """
    get_samples = trainer.get_batch_samples

    @functools.wraps(get_samples)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        samples, items = get_samples(self, *args, **kwargs)
        self.state.num_input_tokens_seen += reporter.begin_step(samples)
        return samples, items

    def counted_already(*_: Any) -> None:
        pass

    trainer.get_batch_samples = wrapped
    trainer._track_num_input_tokens = counted_already


def _tokens(sample: dict[str, Any]) -> Any:
    """Return the count of a batch's tokens without their filling: packed, it lies at positions below 0."""
    if "attention_mask" in sample:
        return sample["attention_mask"].sum()
    return (sample["position_ids"] >= 0).sum() if "position_ids" in sample else sample["input_ids"].numel()


class _Reporter(TrainerCallback):  # type: ignore[misc] # transformers is untyped here
    def __init__(self, channel: Channel | Recorder) -> None:
        self.channel = channel
        self.started = self.saved = 0.0
        self.first_step = 0
        self.seen_before = 0
        self.due_together = False

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

    def begin_step(self, samples: list[dict[str, Any]]) -> int:
        """Return the tokens that all processes train on in the coming step."""
        own = int(sum(_tokens(sample) for sample in samples))
        # Whether a checkpoint is due goes by the first process's clock, and all save at the end of the same step.
        total, due = distributed.sums([own, distributed.rank() == 0 and self._due()])
        self.due_together = bool(due)
        return total

    def _due(self) -> bool:
        return self.channel.stopping or time.monotonic() - self.saved > SECONDS_BETWEEN_CHECKPOINTS

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
        if self.due_together if distributed.world() > 1 else self._due():
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
