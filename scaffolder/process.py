"""The only starter of child processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from scaffolder.errors import EnvironmentFault
from scaffolder.settings import child_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType, TracebackType

WORKER = Path(__file__).parent / "worker"
# Ctrl-C; the machine or a scheduler ends us; the terminal goes away.
ENDINGS = ("SIGINT", "SIGTERM", "SIGHUP")


def capture(
    command: Sequence[str | Path], *, cwd: Path | None = None, timeout: float = 60.0, online: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return its output; the exit code is the caller's to judge.

    The hub is off for it, unless `online`.

    Raises:
        EnvironmentFault: The program does not exist or does not answer within `timeout` seconds.
    """
    try:
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=child_environment(**({"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"} if online else {})),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise EnvironmentFault(f"`{command[0]}` is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise EnvironmentFault(f"`{command[0]}` did not answer within {timeout:.0f} s") from error


def pipe(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    data: bytes = b"",
    variables: Mapping[str, str] | None = None,
    timeout: float | None = 600.0,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end with `data` as its input, and return its output as bytes.

    Raises:
        EnvironmentFault: The program does not exist, cannot be started in `cwd`, or takes more than `timeout` seconds.
    """
    try:
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=child_environment(**(variables or {})),
            input=data,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        missing = f"{cwd} does not exist" if cwd and not cwd.is_dir() else f"`{command[0]}` is not installed"
        raise EnvironmentFault(missing) from error
    except OSError as error:
        raise EnvironmentFault(f"cannot start `{command[0]}`: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise EnvironmentFault(f"`{command[0]}` did not answer within {timeout:.0f} s") from error


def follow(command: Sequence[str | Path], on_line: Callable[[str], None], *, cwd: Path | None = None) -> int:
    """Run a command, hand on each line it prints as it comes, and return its exit code.

    When this ends early, by Ctrl-C or an error in `on_line`, so does the command with everything it started.

    Raises:
        EnvironmentFault: The program does not exist or cannot be started.
    """
    try:
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise EnvironmentFault(f"cannot start `{command[0]}`: {error.strerror}") from error
    with child:
        try:
            assert child.stdout is not None
            for line in child.stdout:
                on_line(line.rstrip())
            return child.wait()
        finally:
            if child.poll() is None:
                end_tree(child.pid)


def detach(command: Sequence[str | Path], *, cwd: Path) -> tuple[int, float]:
    """Start a command that outlives this process; return its id, and when it started as `alive` compares it.

    Raises:
        EnvironmentFault: It cannot be started.
    """
    import psutil

    # A child of a shell that ends at once: nobody here has to wait for it.
    script = 'nohup "$@" < /dev/null > /dev/null 2>&1 & echo $!'
    started = subprocess.run(
        ["sh", "-c", script, "sh", *map(str, command)],
        cwd=cwd,
        env=child_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        start_new_session=True,
    )
    if started.returncode != 0:
        raise EnvironmentFault(f"cannot start `{command[0]}`")
    pid = int(started.stdout)
    try:
        return pid, psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return pid, 0.0


class Worker:
    """One job in the project's own interpreter, as a context manager over its events.

    The worker leads a process group of its own and ends with all its children when its standard input
    closes, so that nothing outlives this process, however that ends.

    Args:
        python: The interpreter that has Olive.
        job: What to do, see `scaffolder/worker/main.py`.
        log: File that takes everything the libraries print.
        environment: Variables beside those of `child_environment`.
    """

    def __init__(
        self, python: Path, job: Mapping[str, Any], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._python = python
        self._job = job
        self._log = log
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        """Start the worker and hand it the job."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    [str(self._python), str(WORKER)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    encoding="utf-8",
                    env=child_environment(**self._environment),
                    start_new_session=True,
                )
            except OSError as error:
                raise EnvironmentFault(f"cannot start {self._python}: {error.strerror}") from error
        self.send(self._job)
        return self

    def send(self, message: Mapping[str, Any]) -> None:
        """Send the job, or a request to a worker that takes several."""
        self._say(json.dumps(message))

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield events until the worker closes its output."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield json.loads(line)

    def request_stop(self) -> None:
        """Ask for an end at the next safe point; while there is none, the worker ends at once."""
        self._say("stop")

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        # Where it died, the events' end says so.
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        """End the worker and everything it started, now."""
        end_tree(self._process.pid)

    def wait(self) -> int:
        """Return the worker's exit code; negative numbers are signals."""
        return self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the worker and everything it started, if it still runs."""
        if self._process.poll() is None:
            end_tree(self._process.pid)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@contextlib.contextmanager
def stop_on_interrupt(
    worker: Worker, signals: Sequence[str] = ("SIGINT",), on_first: Callable[[], None] = lambda: None
) -> Iterator[threading.Event]:
    """First Ctrl-C, or other of `signals`: ask the worker to stop at the next safe point. Second: end it now.

    The event tells whether there was one. No exception cuts a line of the worker's in two. `on_first` is called
    between any two instructions of this process: it must not print.
    """
    interrupted = threading.Event()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if interrupted.is_set():
            worker.kill()
        interrupted.set()
        worker.request_stop()
        on_first()

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = {number: signal.getsignal(number) for name in signals if (number := getattr(signal, name, None))}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # what is ignored (nohup) stays ignored
            signal.signal(number, handle)
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_tree(pid: int) -> None:
    """Kill a process and all its descendants."""
    import psutil

    try:
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)


def alive(pid: int, *, born: float | None = None) -> bool:
    """Whether a process with this id runs; with `born`, whether it is the one that started then."""
    import psutil

    try:
        found = psutil.Process(pid)
        same = born is None or abs(found.create_time() - born) < 1.0
        return same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def processor_count() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
