"""Several files at once into a folder: resumed where they stopped, checked before they get their name."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import shutil
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scaffolder.content import digest as digest_of
from scaffolder.downloader.digest import Digest
from scaffolder.downloader.patience import GIVE_UP, seconds_to_wait
from scaffolder.errors import EnvironmentFault, ScaffolderError
from scaffolder.hub import OtherContent, Transient, read_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from scaffolder.hub import RemoteFile
    from scaffolder.modellock import LockedFile

    # Opens a file's content at a byte: gives the byte it really begins with, and the pieces from there.
    Open = Callable[[str, RemoteFile, int], AbstractContextManager[tuple[int, Iterator[bytes]]]]
    # Gives places where a file may lie already, and whether they are this project's own.
    Find = Callable[[str], Iterator[tuple[Path, bool]]]
    OnEvent = Callable[[dict[str, Any]], None]

# As many as the hub's own client takes.
WORKERS = 8
# What a connection must bring within the read timeout not to count as broken.
_LEAST_BYTES_A_SECOND = 1024
_ENOUGH_TO_COUNT = 2**20
_SPOILED_AT_MOST = 1
_SECONDS_BETWEEN_EVENTS = 0.2
_RATE_WINDOW = 25  # events
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Stopped(Exception):
    """Another file failed, or the user stopped the command."""


@dataclass
class _Board:
    """What the workers share with the one who waits for them."""

    events: queue.SimpleQueue[dict[str, Any]] = field(default_factory=queue.SimpleQueue)
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: int = 0
    received: int = 0

    def count(self, size: int, *, received: bool) -> None:
        with self.lock:
            self.done += size
            self.received += size if received else 0


def transfer(
    files: Mapping[str, RemoteFile],
    folder: Path,
    parts: Path,
    open_file: Open,
    *,
    find: Find,
    on_event: OnEvent,
) -> tuple[dict[str, LockedFile], int]:
    """Bring files into `folder`, each under its name only once its content is the one that was asked for.

    Args:
        files: What to bring, by path.
        folder: Where to; what lies there with the right content is kept.
        parts: Folder for files under way, named by their content, so that a later call goes on with them.
        open_file: Opens one at a byte.
        find: Gives places on this machine where a file may lie already, and whether it may be linked to.
        on_event: Gets `progress` (done, total, files, of, rate, seconds_left), `file` and `retry`, in this thread.

    Returns:
        Sizes and hashes by path, and the bytes that came over the network.

    Raises:
        ScaffolderError: A file is not what was asked for.
        Transient: The hub stayed away.
        EnvironmentFault: The disk is full.
    """
    board = _Board()
    waiting = queue.SimpleQueue[str]()
    for path in sorted(files, key=lambda path: -files[path].size):  # the longest first
        waiting.put(path)
    found: dict[str, LockedFile] = {}

    def work() -> None:
        with contextlib.suppress(queue.Empty, _Stopped):
            while not board.stop.is_set():
                path = waiting.get_nowait()
                try:
                    found[path] = _bring(path, files[path], folder, parts, open_file, find, board)
                except _Stopped:
                    raise
                except Exception as error:
                    board.stop.set()
                    board.events.put({"event": "error", "error": error})
        board.events.put({"event": "end"})

    # Daemons: Ctrl-C does not wait for a connection that is stuck; what they wrote is on disk.
    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(WORKERS, len(files)))]
    for worker in workers:
        worker.start()
    try:
        _watch(board, len(workers), files, on_event)
    finally:
        board.stop.set()
        for worker in workers:
            worker.join(timeout=1)
    return found, board.received


def _watch(board: _Board, workers: int, files: Mapping[str, RemoteFile], on_event: OnEvent) -> None:
    """Hand on events until every worker ended; raise the first error."""
    total, finished, error = sum(file.size for file in files.values()), 0, None
    samples = deque([(time.monotonic(), 0)], maxlen=_RATE_WINDOW)
    while workers:
        try:
            event = board.events.get(timeout=_SECONDS_BETWEEN_EVENTS)
        except queue.Empty:
            event = {"event": "tick"}
        match event["event"]:
            case "end":
                workers -= 1
            case "error":
                error = error or event["error"]
            case "file" | "retry":
                finished += event["event"] == "file"
                on_event(event)
        now = time.monotonic()
        if now - samples[-1][0] >= _SECONDS_BETWEEN_EVENTS or not workers:
            samples.append((now, board.received))
            rate = (board.received - samples[0][1]) / max(now - samples[0][0], 1e-6)
            left = (total - board.done) / rate if rate else None
            figures = {"done": board.done, "total": total, "rate": rate, "seconds_left": left}
            on_event({"event": "progress", "finished": finished, "files": len(files), **figures})
    if error is not None:
        raise error


def _bring(
    path: str,
    file: RemoteFile,
    folder: Path,
    parts: Path,
    open_file: Open,
    find: Find,
    board: _Board,
) -> LockedFile:
    # Named by the content too: another commit's part is not gone on with.
    final, part = folder / path, parts / digest_of([path, file.size, file.sha256, file.blob])
    with disk_errors():
        final.parent.mkdir(parents=True, exist_ok=True)
        for place, own in ((final, True), *find(path)):
            there = _if_right(place, file)
            if there is not None:
                if place != final:
                    _take(place, final, link=own)
                board.count(file.size, received=False)
                board.events.put({"event": "file", "path": path, "size": file.size, "fetched": False})
                return there
        final.unlink(missing_ok=True)
        locked = _receive(path, file, part, open_file, board)
        part.replace(final)
    board.events.put({"event": "file", "path": path, "size": file.size, "fetched": True})
    return locked


def _if_right(place: Path, file: RemoteFile) -> LockedFile | None:
    if not place.is_file() or place.stat().st_size != file.size:
        return None
    digest = Digest(file)
    digest.read(place)
    return digest.result() if digest.matches else None


def _take(source: Path, target: Path, *, link: bool) -> None:
    target.unlink(missing_ok=True)
    if link:  # a link into another program's cache would let an edit here spoil the file there
        with contextlib.suppress(OSError):
            target.hardlink_to(source)
            return
    shutil.copyfile(source, target)


def _receive(path: str, file: RemoteFile, part: Path, open_file: Open, board: _Board) -> LockedFile:
    """Append to a part until it is the whole file."""
    digest = Digest(file)
    if part.is_file():
        digest.read(part)
        board.count(digest.size, received=False)
    failures = spoiled = 0
    while True:
        before = digest.size
        try:
            if digest.size < file.size:
                _append(path, file, part, digest, open_file, board)
            if digest.size < file.size:
                raise Transient(f"{path}: the connection ended early")
            if digest.matches:
                part.touch()  # an empty file was never written to
                return digest.result()
            fault = digest.fault
        except OtherContent as error:
            fault = error.message
        except Transient as error:
            failures = 1 if digest.size - before >= _ENOUGH_TO_COUNT else failures + 1
            _wait(path, error, failures, digest.size, board)
            continue
        spoiled += 1
        _begin_anew(part, digest, board)
        if spoiled > _SPOILED_AT_MOST:
            raise ScaffolderError(
                f"{path}: what the hub sends is not the file that was asked for: {fault}",
                hint="try again later; behind a mirror or proxy, check that it does not change files",
            )


def _begin_anew(part: Path, digest: Digest, board: _Board) -> None:
    part.unlink(missing_ok=True)
    board.count(-digest.size, received=False)
    digest.reset()


def _append(path: str, file: RemoteFile, part: Path, digest: Digest, open_file: Open, board: _Board) -> None:
    with open_file(path, file, digest.size) as (first, pieces):
        if first != digest.size:  # the server cannot go on in the middle
            _begin_anew(part, digest, board)
        pace = _Pace(digest.size)
        # Unbuffered: what arrived is on disk, however this ends.
        with part.open("ab", buffering=0) as stream:
            for piece in pieces:
                stream.write(piece)
                digest.add(piece)
                board.count(len(piece), received=True)
                if board.stop.is_set():
                    raise _Stopped
                if digest.size > file.size:
                    return
                if pace.too_slow(digest.size):
                    raise Transient(f"{path}: less than 1 kB/s arrives")


class _Pace:
    """Whether a connection is worth keeping: one that trickles never runs into the read timeout."""

    def __init__(self, size: int) -> None:
        self._window = read_timeout()
        self._size = size
        self._since = time.monotonic()

    def too_slow(self, size: int) -> bool:
        now = time.monotonic()
        if now - self._since < self._window:
            return False
        slow = size - self._size < _LEAST_BYTES_A_SECOND * (now - self._since)
        self._size, self._since = size, now
        return slow


def _wait(path: str, error: Transient, failures: int, size: int, board: _Board) -> None:
    # A hub that never answered at all is not there: whoever waits wants to know.
    seconds = seconds_to_wait(error, failures if error.answered or board.received else GIVE_UP)
    board.events.put({"event": "retry", "path": path, "reason": error.message, "seconds": seconds, "at": size})
    if board.stop.wait(seconds):
        raise _Stopped


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Say so where the disk is full, or refuses what is written."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            hint = "free some space; the same command goes on with what is there"
            raise EnvironmentFault(f"the disk is full: {error.strerror}", hint=hint) from error
        where = f" {os.path.basename(error.filename)}" if isinstance(error.filename, str) else ""  # noqa: PTH119
        raise EnvironmentFault(f"cannot write the model{where}: {error.strerror or error}") from error
