"""The line to the command: the job comes in, events go out, and its end ends the worker."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class StopRequested(BaseException):
    """The command asked for an end; not an `Exception`, so that no library swallows it."""


class Channel:
    """Standard input and output, kept apart from what libraries print.

    Everything written to standard output after construction goes to standard error, the run's log.
    """

    def __init__(self) -> None:
        self._events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.can_stop_softly = False

    def receive(self) -> dict[str, Any]:
        """Read the job, then watch for the command's end in the background."""
        job: dict[str, Any] = json.loads(sys.stdin.readline())
        threading.Thread(target=self._watch, daemon=True).start()
        return job

    def emit(self, event: str, **fields: Any) -> None:
        """Send one event; a float that JSON cannot hold (NaN, infinity) becomes null."""
        record = {"event": event, "time": round(time.time(), 3), **fields}
        try:
            line = json.dumps(record, ensure_ascii=False, allow_nan=False)
        except ValueError:
            finite = {k: None if isinstance(v, float) and v - v != 0 else v for k, v in record.items()}
            line = json.dumps(finite, ensure_ascii=False, default=str)
        with self._lock:
            self._events.write(line + "\n")
            self._events.flush()

    def requests(self) -> Iterator[dict[str, Any]]:
        """Yield the requests that follow the job; the line's end ends the process. `stop` ends one request."""
        while True:
            self.can_stop_softly = True
            yield self._requests.get()

    @property
    def stopping(self) -> bool:
        """Whether the command asked for an end while a soft stop was possible."""
        return self._stop.is_set()

    def _watch(self) -> None:
        for line in sys.stdin:
            if line.strip() == "stop" and self.can_stop_softly:
                self._stop.set()
            elif line.startswith("{"):
                self._stop.clear()
                self._requests.put(json.loads(line))
            else:
                break
        # The command is gone or wants us gone: take every child along.
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(130)
