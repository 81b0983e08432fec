"""Files that a command writes whole or not at all, and never over others unasked."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from scaffolder.errors import UsageError
from scaffolder.process import alive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def refuse_existing(paths: Sequence[Path], names: Sequence[str], *, force: bool) -> None:
    """Stop where a file is there already.

    Raises:
        UsageError: One is, and `force` is not given.
    """
    there = [name for path, name in zip(paths, names, strict=True) if path.exists()]
    if there and not force:
        raise UsageError(
            f"{', '.join(there)} would be overwritten",
            hint="--force keeps what is there beside it, with `.old` at the end of its name",
        )


@contextlib.contextmanager
def written_aside(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Give a path beside each; at the end those that were written take their places, the old ones stay as `.old`."""
    aside = [path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}") for path in paths]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        _forget_abandoned(path)
    try:
        yield aside
        for new, path in zip(aside, paths, strict=True):
            if path.exists():
                path.replace(path.with_name(f"{path.name}.old"))
            if new.exists():
                new.replace(path)
    finally:
        for new in aside:
            new.unlink(missing_ok=True)


def _forget_abandoned(path: Path) -> None:
    """Delete what commands that were killed left beside a file."""
    for left in path.parent.iterdir():
        stem, _, pid = left.stem.rpartition(".")
        if stem == f".{path.stem}" and left.suffix == path.suffix and pid.isdigit() and not alive(int(pid)):
            left.unlink(missing_ok=True)
