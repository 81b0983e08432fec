"""Commands on the machine that a job is submitted from: this one, or a login node over ssh."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaffolder import process
from scaffolder.errors import EnvironmentFault

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_SECONDS_BETWEEN_LOOKS, _OVER_SSH = 0.5, 3.0
# ssh's own failures; a command there could return it too, but none of those used does.
_SSH_FAILED = 255
# Seconds: a base model over a slow line.
_LONGEST_COPY = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Shell:
    """Where commands run; the only difference between the login node and any other machine is their prefix.

    Attributes:
        folder: The project's folder there.
        host: As ssh knows it, or None for this machine.
    """

    folder: str
    host: str | None = None

    def run(
        self, command: Sequence[str], *, data: bytes = b"", timeout: float = 120.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the project's folder there; the exit code is the caller's to judge.

        Raises:
            EnvironmentFault: The program is not there, or the host does not answer.
        """
        script = f"cd {shlex.quote(self.folder)} && exec {shlex.join(command)}"
        return self.script(script, data=data, timeout=timeout)

    def script(self, script: str, *, data: bytes = b"", timeout: float = 120.0) -> subprocess.CompletedProcess[bytes]:
        """Run POSIX shell there, in the home folder when over ssh."""
        result = process.pipe(self._command(script), data=data, timeout=timeout)
        self._reached(result)
        return result

    def copy_to(self, folder: Path, names: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        """Copy files below `folder`, by their paths in it, into the project's folder there."""
        unpack = shlex.join(self._command(f"cd {shlex.quote(self.folder)} && tar -xf -"))
        pack = f"tar -C {shlex.quote(str(folder))} -cf - -T -"
        return self._piped(f"{pack} | {unpack}", "".join(f"{name}\n" for name in names).encode())

    def copy_from(self, folder: str, names: Sequence[str], into: Path) -> subprocess.CompletedProcess[bytes]:
        """Copy those of `names` in a folder of the project there that exist into `into`."""
        place = f"{shlex.quote(self.folder)}/{shlex.quote(folder)}"
        pack = f"cd {place} && ls -d {shlex.join(names)} 2>/dev/null | tar -cf - -T -"
        return self._piped(f"{shlex.join(self._command(pack))} | tar -C {shlex.quote(str(into))} -xf -")

    def _piped(self, script: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        result = process.pipe(["sh", "-c", script], data=data, timeout=_LONGEST_COPY)
        self._reached(result)
        return result

    def _command(self, script: str) -> list[str]:
        # Never a question: there is nobody to answer it.
        return ["sh", "-c", script] if self.host is None else ["ssh", "-o", "BatchMode=yes", self.host, script]

    def _reached(self, result: subprocess.CompletedProcess[bytes]) -> None:
        if self.host is not None and result.returncode == _SSH_FAILED:
            raise EnvironmentFault(
                f"ssh to {self.host} failed: {text(result.stderr)}",
                hint=f"`ssh {self.host} true` has to work without a password",
            )

    def read(self, path: str) -> str | None:
        """Return a small file of the project there, or None where there is none."""
        result = self.run(["cat", path])
        return result.stdout.decode("utf-8", "replace") if result.returncode == 0 else None

    def follow(self, path: str, ended: Callable[[], bool], *, follow: bool) -> Iterator[str]:
        """Yield the lines of a file there; with `follow`, those that come until `ended` says so."""
        offset, rest = 0, b""
        while True:
            # Asked first: whatever an ended job wrote is there at the reading that follows.
            last = not follow or ended()
            result = self.run(["tail", "-c", f"+{offset + 1}", path])
            if result.returncode == 0:
                offset += len(result.stdout)
                *lines, rest = (rest + result.stdout).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
            if last:
                break
            time.sleep(_OVER_SSH if self.host else _SECONDS_BETWEEN_LOOKS)
        if rest:
            yield rest.decode("utf-8", "replace")


def text(output: bytes) -> str:
    """Return what a program said, for a message."""
    return output.decode("utf-8", "replace").strip()
