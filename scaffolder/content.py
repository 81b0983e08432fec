"""Content hashes of files and folders, remembered while a file's size, times and inode stay the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# A file changed within the clock's last tick could change again without a new time.
_SETTLED_NANOSECONDS = 2_000_000_000
# Files read at a time: a model comes in a few large ones.
_READERS = 8


class Hashes:
    """SHA-256 of files, with a memory on disk.

    Args:
        memory: JSON file to remember hashes in; unreadable content counts as none.
        fresh: Read every file again, whatever is remembered.
    """

    def __init__(self, memory: Path, *, fresh: bool = False) -> None:
        self._memory = memory
        self._known: dict[str, list[Any]] = {} if fresh else _read(memory)
        self._changed = False

    def file(self, path: Path) -> str:
        """Return the SHA-256 of a file's content, in hexadecimal."""
        status = path.stat()
        # The change time betrays who wrote and set the modification time back.
        mark = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        key = str(path.resolve())
        known = self._known.get(key)
        if known is not None and known[:-1] == mark:
            return str(known[-1])
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if time.time_ns() - max(mark[1:3]) > _SETTLED_NANOSECONDS:
            self._known[key] = [*mark, digest]
            self._changed = True
        return digest

    def path(self, path: Path, *, without: str | None = None) -> str:
        """Return the hash of a file, or of a folder's file names and contents, but for files named `without`."""
        if path.is_file():
            return self.file(path)
        children = [
            child
            for child in sorted(path.rglob("*"))
            if child.is_file() and "__pycache__" not in child.parts and child.name != without
        ]
        names = [child.relative_to(path).as_posix() for child in children]
        from concurrent.futures import ThreadPoolExecutor  # a run that is up to date need not load it

        with ThreadPoolExecutor(max_workers=_READERS) as pool:  # hashing lets other threads run
            return digest(dict(zip(names, pool.map(self.file, children), strict=True)))

    def save(self) -> None:
        """Write the memory, if anything was added."""
        if not self._changed:
            return
        with contextlib.suppress(OSError):  # a full disk: the files are read again next time
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._memory, json.dumps(self._known))
            self._changed = False


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that readers see the old or the new content, never a part."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def _read(memory: Path) -> dict[str, list[Any]]:
    try:
        found = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
