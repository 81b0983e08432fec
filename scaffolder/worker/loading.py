"""Imports libraries without looking for garbage meanwhile."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Let the collector rest: importing PyTorch, transformers and Olive makes millions of objects that stay.

    Looking through them again and again as they grow took about a tenth of the processor time of a start.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
