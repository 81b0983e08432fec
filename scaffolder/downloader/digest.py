"""The hashes of a file while it comes in: SHA-256 for the lock, and git's SHA-1 where the hub knows no other."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from scaffolder.modellock import LockedFile

if TYPE_CHECKING:
    from pathlib import Path

    from scaffolder.hub import RemoteFile

_PIECE = 2**20


class Digest:
    """Hashes and size of the bytes seen so far.

    Args:
        file: What the hub lists.
    """

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self.reset()

    def reset(self) -> None:
        """Forget all bytes."""
        self.size = 0
        self._sha256 = hashlib.sha256()
        # Git hashes a file behind a head that holds its size.
        self._blob = (
            hashlib.sha1(f"blob {self._file.size}\0".encode(), usedforsecurity=False) if self._file.blob else None
        )

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.size += len(piece)
        self._sha256.update(piece)
        if self._blob is not None:
            self._blob.update(piece)

    def read(self, path: Path) -> None:
        """Take a file's bytes."""
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                self.add(piece)

    @property
    def matches(self) -> bool:
        """Whether these are the bytes that the hub lists; the size alone decides where it lists no hash."""
        blob = self._blob.hexdigest() if self._blob is not None else None
        return (
            self.size == self._file.size
            and self._file.sha256 in (None, self._sha256.hexdigest())
            and self._file.blob in (None, blob)
        )

    @property
    def fault(self) -> str:
        """Say what is wrong with bytes that do not match."""
        if self.size != self._file.size:
            return f"more than {self._file.size:,} bytes" if self.size > self._file.size else f"{self.size:,} bytes"
        if self._file.sha256:
            return f"SHA-256 {self._sha256.hexdigest()[:12]}… instead of {self._file.sha256[:12]}…"
        return f"git's hash differs from {(self._file.blob or '')[:12]}…"

    def result(self) -> LockedFile:
        """Return size and hashes."""
        return LockedFile(self.size, self._sha256.hexdigest(), self._blob.hexdigest() if self._blob else None)
