"""A batch shared by several processes is the batch of one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaffolder.worker.batches import share
from scaffolder.worker.distributed import weights


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 64))
def test_the_global_batch_stays(batch, accumulation, world):
    part = share(batch, accumulation, world)
    if part is None:
        assert batch % (world // math.gcd(accumulation, world))
    else:
        assert part.batch * part.accumulation * world == batch * accumulation
        assert part.batch * part.together == batch


def test_passes_are_shared_before_rows():
    assert share(8, 4, 2) == (8, 2, 1)
    assert share(8, 1, 2) == (4, 1, 2)
    assert share(8, 2, 4) == (4, 1, 2)
    assert share(3, 1, 2) is None


@given(st.data())
def test_the_weighed_mean_is_that_of_one_process(data):
    together, groups, passes = (data.draw(st.integers(1, 3)) for _ in range(3))
    world = together * groups
    counts = [[data.draw(st.integers(0, 5)) for _ in range(passes)] for _ in range(world)]
    totals = [
        [[(counts[process][i], process) for process in range(first, first + together)] for i in range(passes)]
        for first in range(0, world, together)
    ]
    losses = [[data.draw(st.floats(0, 10)) for _ in range(passes)] for _ in range(world)]
    one = [
        sum(count * losses[process][i] for count, process in group) / sum(count for count, _ in group)
        for row in totals
        for i, group in enumerate(row)
        if any(count for count, _ in group)
    ]
    weighed = weights(counts, together)
    # What Trainer and the averaging of gradients make of it: a mean over passes and processes.
    several = sum(weighed[process][i] * losses[process][i] for process in range(world) for i in range(passes)) / (
        world * passes
    )
    assert several == pytest.approx(sum(one) / len(one) if one else 0.0)
