"""One run at a time in a project, across processes and machines that share a disk."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scaffolder.errors import ScaffolderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Locked(ScaffolderError):
    """Another process holds the project."""


@contextmanager
def project_lock(
    folder: Path, *, purpose: str, wait: bool = False, on_wait: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Hold the lock in `folder` for the body.

    The operating system frees the lock when its holder dies, so there are no stale ones.

    Args:
        folder: Where the lock's files lie; made if missing.
        purpose: What the holder is doing, told to whoever comes second.
        wait: Wait for the holder instead of failing.
        on_wait: Gets who holds it, before a wait.

    Raises:
        Locked: Another process holds it; the message says which, since when and for what.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / "lock.json"
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise Locked(_describe(folder), hint="wait for it with --wait, or stop that process") from None
        on_wait(f"waiting: {_describe(folder)}")
        lock.acquire()
    try:
        since = time.strftime("%H:%M:%S")
        holder.write_text(json.dumps({"pid": os.getpid(), "since": since, "purpose": purpose}), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def last_holder(folder: Path) -> dict[str, Any] | None:
    """Return `pid`, `since` and `purpose` of who holds the lock in `folder`, or died with it; None without one."""
    try:
        found = json.loads((folder / "lock.json").read_text(encoding="utf-8"))
        return {key: found[key] for key in ("pid", "since", "purpose")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _describe(folder: Path) -> str:
    found = last_holder(folder)
    if found is None:
        return "another process is working in this project"
    return f"process {found['pid']} has been working in this project since {found['since']}: {found['purpose']}"
