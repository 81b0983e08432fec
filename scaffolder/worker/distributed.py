"""Data-parallel training that ends with the weights of a single process, whatever the lengths of the rows.

Each process trains on its share of every batch. A single process averages the loss over the tokens of each forward
pass, then over the passes of a step; several processes have to weigh their parts by tokens to get the same, and fill
the last step of an epoch with rows that weigh nothing, where transformers would train on some rows twice.
"""

from __future__ import annotations

import copy
import functools
import os
from collections import deque
from typing import TYPE_CHECKING, Any

from .batches import Share, refusal, share
from .explain import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IGNORED = -100  # torch.nn.CrossEntropyLoss leaves this label out
_DEFAULT_BATCH = 8  # of transformers.TrainingArguments


def rank() -> int:
    """Return which of the training processes this is."""
    return int(os.environ["RANK"]) if _started_together() else 0


def world() -> int:
    """Return how many training processes were started."""
    return int(os.environ["WORLD_SIZE"]) if _started_together() else 1


def _started_together() -> bool:
    # Launchers around ours set RANK and WORLD_SIZE too, and mean something else.
    return "TORCHELASTIC_RUN_ID" in os.environ


def prepare(passes: dict[str, Any]) -> dict[str, Any]:
    """Return training passes as each of several processes runs them: on its own device, with its share of a batch.

    Raises:
        TaskError: A batch cannot be shared by so many.
    """
    import torch

    cards = torch.cuda.is_available()
    if cards:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    passes = copy.deepcopy(passes)
    for settings in passes.values():
        arguments = settings.setdefault("training_args", {})
        part = _part(arguments)
        arguments["per_device_train_batch_size"] = part.batch
        arguments["gradient_accumulation_steps"] = part.accumulation
        # Every weight of an adapter takes part in every forward pass: no need to look for those that do not.
        arguments.setdefault("ddp_find_unused_parameters", False)
        # What a model keeps beside its weights is worked out from its configuration, alike in each process.
        arguments.setdefault("ddp_broadcast_buffers", False)
        # "auto" would spread one model over all cards.
        settings["device_map"] = "current_device" if cards else None
        if not cards:
            arguments["use_cpu"] = True  # without it each process trains alone, and nothing says so
        install(part)
    return passes


def _part(arguments: dict[str, Any]) -> Share:
    batch = int(arguments.get("per_device_train_batch_size", _DEFAULT_BATCH))
    accumulation = int(arguments.get("gradient_accumulation_steps", 1))
    part = share(batch, accumulation, world())
    if part is None:
        raise TaskError(refusal(batch, accumulation, world()), "change one of them, or the number of processes")
    return part


def processes_inside() -> int:
    """Return how many processes take part in the training at hand, counted by themselves."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return sums([1])[0]


def same_state(state: Any, device: Any) -> Any:
    """Return the first process's random state to all: each draws the order of all rows from it."""
    import torch

    if world() == 1:
        return state
    told = state.to(device)
    torch.distributed.broadcast(told, 0)
    return told.cpu()


def sums(numbers: list[int]) -> list[int]:
    """Return the sum of each number over all processes."""
    import torch

    if world() == 1:
        return numbers
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    totals = torch.tensor(numbers, dtype=torch.int64, device=device)
    torch.distributed.all_reduce(totals)
    return [int(total) for total in totals.tolist()]


def install(part: Share) -> None:
    """Make every Trainer of this process train on its share as if there were one process."""
    import transformers.trainer

    trainer = transformers.trainer.Trainer
    if hasattr(trainer.compute_loss, "__wrapped__"):
        raise TaskError("several training passes of one configuration cannot share processes", "one workflow for each")
    trainer._get_train_sampler = _in_the_order_of_one(trainer._get_train_sampler)
    trainer.get_train_dataloader = _with_filling(trainer.get_train_dataloader)
    trainer.get_batch_samples = _weighed(trainer.get_batch_samples, part)
    trainer.compute_loss = _times_weight(trainer.compute_loss)


def _in_the_order_of_one(get_sampler: Callable[..., Any]) -> Callable[..., Any]:
    """Group rows by length over the whole batch, not over a process's share of it."""

    @functools.wraps(get_sampler)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        from transformers.trainer_pt_utils import LengthGroupedSampler

        sampler = get_sampler(self, *args, **kwargs)
        if isinstance(sampler, LengthGroupedSampler):
            sampler.batch_size *= self.args.world_size
        return sampler

    return wrapped


def _with_filling(get_dataloader: Callable[..., Any]) -> Callable[..., Any]:
    """Fill the last step of an epoch with rows that have nothing to learn."""

    @functools.wraps(get_dataloader)
    def wrapped(self: Any) -> Any:
        from accelerate.data_loader import BatchSamplerShard

        class Filled(BatchSamplerShard):  # type: ignore[misc] # accelerate is untyped here
            def __iter__(self) -> Iterator[list[int]]:
                return _own_batches(iter(self.batch_sampler), self.process_index, self.num_processes, self.batch_size)

        if not isinstance(self.train_dataset, Fillable):
            self.train_dataset = Fillable(self.train_dataset)
        loader = get_dataloader(self)
        if isinstance(loader.batch_sampler, BatchSamplerShard) and not loader.batch_sampler.drop_last:
            loader.batch_sampler.__class__ = Filled
        return loader

    return wrapped


def _own_batches(batches: Iterator[list[int]], own: int, count: int, size: int) -> Iterator[list[int]]:
    """Yield every `count`-th batch from the `own`-th on, each process as many, all full; -1 stands for filling."""
    filling = [Fillable.INDEX] * size
    for first in batches:
        together = [first, *(next(batches, []) for _ in range(count - 1))]
        yield (together[own] + filling)[:size]


class Fillable:
    """A data set with one more row, at index -1: the beginning of the first, with nothing to learn."""

    INDEX = -1

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Any:
        if index != self.INDEX:
            return self._rows[index]
        # Two tokens, so that there is one to guess.
        row = {key: value[:2] for key, value in self._rows[0].items()}
        return {**row, "labels": row["labels"] * 0 + IGNORED}


def _weighed(get_samples: Callable[..., Any], part: Share) -> Callable[..., Any]:
    """Work out how much each forward pass of the coming step weighs."""

    @functools.wraps(get_samples)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        samples, items = get_samples(self, *args, **kwargs)
        # The first label is nobody's next token.
        counts = _of_all([(sample["labels"][:, 1:] != IGNORED).sum() for sample in samples])
        self._weights = deque(weights(counts, part.together)[rank()])
        for sample, count in zip(samples, counts[rank()], strict=True):
            if count == 0:  # the mean over no token is no number; this one will weigh nothing
                sample["labels"] = sample["input_ids"].clone()
        return samples, items

    return wrapped


def _of_all(counts: list[Any]) -> list[list[int]]:
    import torch

    own = torch.stack(counts)
    gathered = [torch.empty_like(own) for _ in range(world())]
    torch.distributed.all_gather(gathered, own)
    return [[int(count) for count in each] for each in torch.stack(gathered).tolist()]


def weights(counts: list[list[int]], together: int) -> list[list[float]]:
    """Return what the loss of each forward pass is multiplied with, for each process.

    Trainer divides by a process's passes, and the gradients are averaged over the processes: with these weights the
    sum is the mean over the passes of a single process of the mean over each one's tokens.

    Args:
        counts: Tokens to learn, by process and forward pass.
        together: Consecutive processes that make up one forward pass of the single process.
    """
    passes = len(counts[0])
    groups = [
        [sum(counts[process][i] for process in range(first, first + together)) for i in range(passes)]
        for first in range(0, len(counts), together)
    ]
    real = sum(total > 0 for group in groups for total in group)
    scale = len(counts) * passes / real if real else 0.0
    return [
        [scale * count / total if total else 0.0 for count, total in zip(own, groups[process // together], strict=True)]
        for process, own in enumerate(counts)
    ]


def _times_weight(compute_loss: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(compute_loss)
    def wrapped(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        found = compute_loss(self, model, inputs, *args, **kwargs)
        return found * self._weights.popleft() if model.training else found

    return wrapped
