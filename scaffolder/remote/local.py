"""Jobs on this machine, in several processes, detached from the terminal."""

from __future__ import annotations

import platform
import shlex
import shutil
import sys
from typing import TYPE_CHECKING

from scaffolder import machine, process
from scaffolder.content import write_atomically
from scaffolder.environment import find_environment
from scaffolder.errors import EnvironmentFault, ScaffolderError
from scaffolder.records import EVENTS
from scaffolder.remote.job import JobStatus, Rendered, references
from scaffolder.remote.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from scaffolder.project import Project
    from scaffolder.remote.job import Job, JobReference
    from scaffolder.targets import LocalTarget

_CANCELLED = "cancelled"


class LocalEngine:
    """Starts jobs one after the other in a shell of their own, which outlives the command."""

    def __init__(self, project: Project, target: LocalTarget) -> None:
        self._project = project
        self._target = target
        self._shell = Shell(str(project.root))

    def check(self, jobs: Sequence[Job]) -> list[str]:
        """Return what keeps this machine from running jobs in as many processes as were asked for."""
        problems = []
        wanted, cards = self._target.processes, _cards()
        if sys.platform == "win32":
            problems.append("jobs in several processes need Linux, WSL or macOS")
        if wanted == "gpus" and not cards:
            problems.append('`processes = "gpus"`, and this machine has no NVIDIA card')
        if isinstance(wanted, int) and cards and wanted > cards:
            problems.append(f"`processes = {wanted}`, and this machine has {cards} cards")
        return problems

    def render(self, jobs: Sequence[Job]) -> list[Rendered]:
        """Return the script that runs the jobs one after the other."""
        python = str(find_environment(self._project.root).python)
        lines = ["#!/bin/sh", f"cd {shlex.quote(str(self._project.root))}"]
        for job in jobs:
            start = shlex.join([python, job.worker, "node", job.spec])
            code = shlex.quote(job.exit_code)
            lines.append(f"{start} >> {shlex.quote(job.log)} 2>&1 < /dev/null")
            lines.append(f"echo $? > {code}.part && mv {code}.part {code}")
        path = f"{jobs[0].folder}/job.sh"
        return [Rendered(path, "\n".join([*lines, ""]), f"sh {path}")]

    def submit(self, jobs: Sequence[Job]) -> list[JobReference]:
        """Start the script."""
        script = self._project.root / jobs[0].folder / "job.sh"
        pid, born = process.detach(["sh", script], cwd=self._project.root)
        return references(jobs, [str(pid)] * len(jobs), "local", host=platform.node(), born=str(born))

    def status(self, reference: JobReference) -> JobStatus:
        """Return what the exit code's file says, else whether the script still runs."""
        if not self._is_here(reference):
            return JobStatus("unknown", f"runs on {reference.place['host']}")
        code = self._shell.read(reference.job.exit_code)
        if code is None and self._runs(reference):
            started = (self._project.root / reference.job.log).is_file()
            return JobStatus("running" if started else "queued", f"process {reference.native}")
        code = code or self._shell.read(reference.job.exit_code)  # written between the two looks
        if code is None:
            known = (self._project.root / reference.job.folder).is_dir()
            return JobStatus("failed", "died", message="it was killed") if known else JobStatus("unknown", "gone")
        return ended(code.strip())

    def logs(self, reference: JobReference, *, follow: bool) -> Iterator[str]:
        """Yield the lines of the job's log."""
        return self._shell.follow(reference.job.log, lambda: self._over(reference), follow=follow)

    def cancel(self, reference: JobReference) -> None:
        """End the script with everything it started; of a sweep, that ends the jobs that would follow."""
        if not self._is_here(reference):
            raise ScaffolderError(f"{reference.id} runs on {reference.place['host']}", hint="cancel it there")
        if self.status(reference).ended:
            return
        # First, so that nobody sees a job that died.
        write_atomically(self._project.root / reference.job.exit_code, f"{_CANCELLED}\n")
        if self._runs(reference):
            process.end_tree(int(reference.native))

    def fetch(self, reference: JobReference, into: Path) -> Path:
        """Copy what the run made."""
        run = self._project.root / reference.job.run
        into.mkdir(parents=True, exist_ok=True)
        for name in (EVENTS, "output"):
            source = run / name
            if source.is_dir():
                shutil.copytree(source, into / name)
            elif source.is_file():
                shutil.copy2(source, into / name)
        return into

    def _over(self, reference: JobReference) -> bool:
        return self.status(reference).state not in ("queued", "running")

    def _is_here(self, reference: JobReference) -> bool:
        return reference.place.get("host") == platform.node()

    def _runs(self, reference: JobReference) -> bool:
        return process.alive(int(reference.native), born=float(reference.place["born"]))


def ended(code: str) -> JobStatus:
    """Return the status of a job whose exit code's file holds `code`."""
    if code == _CANCELLED:
        return JobStatus("cancelled", _CANCELLED)
    number = int(code) if code.isdigit() else 1
    return JobStatus("succeeded" if number == 0 else "failed", f"exit code {code}", number)


def _cards() -> int:
    try:
        return len(machine.cards())
    except EnvironmentFault:
        return 0
