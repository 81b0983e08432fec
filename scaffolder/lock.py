"""One run at a time in a project, across processes and machines that share a disk."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scaffolder.errors import ScaffolderError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Locked(ScaffolderError):
    """Another process holds the project."""


@contextmanager
def project_lock(folder: Path, *, purpose: str, wait: bool = False) -> Iterator[None]:
    """Hold the lock in `folder` for the body.

    The operating system frees the lock when its holder dies, so there are no stale ones.

    Args:
        folder: Where the lock's files lie; made if missing.
        purpose: What the holder is doing, told to whoever comes second.
        wait: Wait for the holder instead of failing.

    Raises:
        Locked: Another process holds it; the message says which, since when and for what.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / "lock.json"
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise Locked(_describe(holder), hint="wait for it with --wait, or stop that process") from None
    try:
        since = time.strftime("%H:%M:%S")
        holder.write_text(json.dumps({"pid": os.getpid(), "since": since, "purpose": purpose}), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe(holder: Path) -> str:
    try:
        found = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {found['pid']} has been working in this project since {found['since']}: {found['purpose']}"
    except (OSError, ValueError, KeyError):
        return "another process is working in this project"
