"""How long a hub that fails is waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from scaffolder.hub import Transient

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")

# Waits of 0.5, 1, 2, 4 and 8 seconds.
_FIRST_WAIT = 0.5
_MOST_FAILURES = 5
GIVE_UP = _MOST_FAILURES + 1
# A hub that asks for more is not waited for: the same command goes on later.
_LONGEST_WAIT = 120.0


def seconds_to_wait(error: Transient, failures: int) -> float:
    """Return the seconds before the next try: what the hub asks for, or twice the last wait.

    Args:
        error: What happened.
        failures: Failures in a row, this one included.

    Raises:
        Transient: Enough was tried, or the hub asks for too long a wait.
    """
    seconds = error.wait if error.wait is not None else _FIRST_WAIT * 2 ** (failures - 1)
    if failures < GIVE_UP and seconds <= _LONGEST_WAIT:
        return seconds
    message = error.message
    if error.wait is not None:
        message += f", and asks to wait {error.wait:.0f} s"
    final = Transient(message, wait=error.wait, answered=error.answered)
    if error.answered:
        final.hint = "run the same command again later: it goes on where it stopped"
    raise final from error


def patiently(call: Callable[[], _Result]) -> _Result:
    """Return what `call` returns, trying again while the hub answers with passing failures."""
    failures = 0
    while True:
        try:
            return call()
        except Transient as error:
            if not error.answered:
                raise
            failures += 1
            time.sleep(seconds_to_wait(error, failures))
