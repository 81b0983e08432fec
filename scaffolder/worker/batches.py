"""How several processes share the batch of one, so that it stays what the configuration says."""

from __future__ import annotations

import math
from typing import NamedTuple


class Share(NamedTuple):
    """One process's part of a global batch.

    Attributes:
        batch: Rows of a forward pass of its own.
        accumulation: Forward passes of one step.
        together: Processes whose rows make up one forward pass of the single process.
    """

    batch: int
    accumulation: int
    together: int


def share(batch: int, accumulation: int, world: int) -> Share | None:
    """Share `batch` rows times `accumulation` forward passes between `world` processes.

    Forward passes are shared first, which changes nothing but who computes them; rows of one where they are not enough.

    Returns:
        The part of each process: its rows times its passes times `world` is what it was before. None where the
        global batch cannot be shared evenly.
    """
    passes = math.gcd(accumulation, world)
    together = world // passes
    if batch % together:
        return None
    return Share(batch // together, accumulation // passes, together)


def refusal(batch: int, accumulation: int, world: int) -> str:
    """Say why a batch cannot be shared, and what could be."""
    total = batch * accumulation
    return (
        f"a batch of {total} rows ({batch} a pass, {accumulation} passes) cannot be shared by {world} processes:"
        f" per_device_train_batch_size x gradient_accumulation_steps has to be a multiple of {world}"
    )
