"""Work on many projects in several processes; one that dies takes no other with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, TypeVar

from scaffolder.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Found = TypeVar("Found")


def spread(
    work: Callable[[Item], Found],
    items: Sequence[Item],
    *,
    jobs: int,
    lost: Callable[[Item], Found],
) -> Iterator[Found]:
    """Yield results as they come.

    Args:
        work: What is done with an item; a function of a module.
        items: What it is done with.
        jobs: Processes at a time.
        lost: The result for an item whose process died.

    Raises:
        Interrupted: The user stopped it; what runs comes to its end, the rest does not start.
    """
    remaining = list(items)
    while remaining:
        done: list[Item] = []
        for item, found in _once(work, remaining, jobs):
            done.append(item)
            yield found
        left = [item for item in remaining if item not in done]
        # A process died and took its neighbours' results along; alone, the one that kills names itself.
        for item in left[:jobs]:
            alone = [found for _, found in _once(work, [item], 1)]
            yield alone[0] if alone else lost(item)
        remaining = left[jobs:]


def _once(work: Callable[[Item], Found], items: Sequence[Item], jobs: int) -> Iterator[tuple[Item, Found]]:
    # A fork has what is imported here already.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(max(1, min(jobs, len(items))), mp_context=context, initializer=_ignore_interrupt) as pool:
        waiting: dict[Future[Found], Item] = {}
        queue = list(items)
        try:
            while queue or waiting:
                while queue and len(waiting) < jobs:
                    item = queue.pop(0)
                    waiting[pool.submit(work, item)] = item
                finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    item = waiting.pop(future)
                    yield item, future.result()
        except BrokenProcessPool:
            return
        except KeyboardInterrupt:
            with contextlib.suppress(KeyboardInterrupt):
                pool.shutdown(wait=True, cancel_futures=True)
            ended = [future for future in waiting if not future.cancelled() and not future.exception()]
            yield from ((waiting[future], future.result()) for future in ended)
            raise Interrupted("stopped; every project is whole", hint="go on with --resume") from None


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
