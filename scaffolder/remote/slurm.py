"""Jobs on a Slurm cluster, from its login node or over ssh."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from scaffolder.environment import find_environment
from scaffolder.errors import ConfigError, EnvironmentFault, ScaffolderError
from scaffolder.records import EVENTS
from scaffolder.remote import transport
from scaffolder.remote.job import JobStatus, Rendered, State, references
from scaffolder.remote.local import ended
from scaffolder.remote.shell import Shell, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from scaffolder.project import Project
    from scaffolder.remote.job import Job, JobReference
    from scaffolder.targets import SlurmTarget

# Slurm's own words (its manual, "JOB STATE CODES"); whatever else there is means that it failed.
_STATES: dict[str, State] = {
    "PENDING": "queued", "CONFIGURING": "queued", "REQUEUED": "queued", "REQUEUE_HOLD": "queued",
    "RESV_DEL_HOLD": "queued", "SUSPENDED": "queued", "SPECIAL_EXIT": "queued",
    "RUNNING": "running", "COMPLETING": "running", "STAGE_OUT": "running", "RESIZING": "running",
    "SIGNALING": "running", "STOPPED": "running", "COMPLETED": "succeeded", "CANCELLED": "cancelled",
}  # fmt: skip

_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")


class SlurmEngine:
    """Submits batch scripts; one task a node starts the job's own entry there."""

    def __init__(self, project: Project, target: SlurmTarget) -> None:
        self._project = project
        self._target = target
        self._shell = Shell(target.folder or str(project.root), target.host)

    def check(self, jobs: Sequence[Job]) -> list[str]:
        """Return nothing: the table was checked as it was read; the cluster is asked by `submit`."""
        return []

    def render(self, jobs: Sequence[Job]) -> list[Rendered]:
        """Return one batch script; several jobs become an array."""
        path = _script(jobs)
        lines = ["#!/bin/bash", *(f"#SBATCH --{option}" for option in self._options(jobs)), "set -u"]
        lines.append(f"folders=({' '.join(shlex.quote(job.folder) for job in jobs)})")
        lines.append('folder="${folders[${SLURM_ARRAY_TASK_ID:-0}]}"')
        lines.append('exec >> "$folder/job.log" 2>&1')
        if self._target.modules:
            lines.append(f"module load {' '.join(self._target.modules)}")
        lines += self._target.setup
        lines.append(f'srun --kill-on-bad-exit=1 {self._start()} "$folder/worker" node "$folder/job.json"')
        lines += [
            "code=$?",
            '[ "$code" -lt 128 ] || code=1  # of a node that was ended because another one failed',
            'echo "$code" > "$folder/exit_code.part" && mv "$folder/exit_code.part" "$folder/exit_code"',
            'exit "$code"',
        ]
        where = f" on {self._target.host}, in {self._target.folder}" if self._target.host else ""
        return [Rendered(path, "\n".join([*lines, ""]), f"sbatch {path}{where}")]

    def submit(self, jobs: Sequence[Job]) -> list[JobReference]:
        """Copy over what the jobs read where the cluster has its own disk, ask whether it fits, and submit."""
        if self._target.host:
            transport.send(self._shell, self._project, jobs)
        script = _script(jobs)
        self._sbatch("--test-only", script)
        number = self._sbatch("--parsable", script).split(";")[0]
        natives = [number] if len(jobs) == 1 else [f"{number}_{index}" for index in range(len(jobs))]
        place = {"host": self._target.host or "", "folder": self._target.folder or ""}
        return references(jobs, natives, "slurm", **place)

    def status(self, reference: JobReference) -> JobStatus:
        """Ask the controller, then the accounting, then the file that the job leaves at its end."""
        shell = self._shell_of(reference)
        return _controller(shell, reference.native) or _accounting(shell, reference.native) or _file(shell, reference)

    def logs(self, reference: JobReference, *, follow: bool) -> Iterator[str]:
        """Yield the lines of the job's log."""

        def over() -> bool:
            return self.status(reference).state not in ("queued", "running")

        return self._shell_of(reference).follow(reference.job.log, over, follow=follow)

    def cancel(self, reference: JobReference) -> None:
        """Have Slurm end it."""
        result = self._shell_of(reference).run(["scancel", reference.native])
        if result.returncode != 0:
            raise ScaffolderError(f"scancel {reference.native}: {text(result.stderr)}")

    def fetch(self, reference: JobReference, into: Path) -> Path:
        """Copy what the run made, also from a disk of the cluster's own."""
        transport.bring(self._shell_of(reference), reference.job.run, (EVENTS, "output"), into)
        return into

    def _shell_of(self, reference: JobReference) -> Shell:
        # The table may have changed since; the job is where it was.
        return Shell(reference.place["folder"] or str(self._project.root), reference.place["host"] or None)

    def _options(self, jobs: Sequence[Job]) -> list[str]:
        target = self._target
        first = jobs[0]
        options: dict[str, str | int | bool | None] = {
            "job-name": f"scaffolder-{first.workflow}",
            "nodes": first.nodes,
            "ntasks-per-node": 1,
            "output": f"{first.folder}/slurm-%j.out",
            "array": f"0-{len(jobs) - 1}" if len(jobs) > 1 else None,
            "partition": target.partition,
            "account": target.account,
            "time": target.time,
            "gpus-per-node": target.gpus,
            "cpus-per-task": target.cpus,
            "mem": target.memory,
            **target.options,
        }
        if target.host is None:
            options["chdir"] = str(self._project.root)
        return [
            name if value is True else f"{name}={value}"
            for name, value in options.items()
            if value is not None and value is not False
        ]

    def _start(self) -> str:
        """Return what starts Python there, inside the container where there is one."""
        python = self._target.python or str(find_environment(self._project.root).python)
        container = f"{self._target.container} " if self._target.container else ""
        return container + shlex.quote(python)

    def _sbatch(self, option: str, script: str) -> str:
        # The job gets the caller's variables, and Slurm keeps them: none of them may be a token. The hub is off anyway.
        result = self._shell.run(["env", *(f"--unset={name}" for name in _TOKENS), "sbatch", option, script])
        if result.returncode == 0:
            return text(result.stdout)
        said = text(result.stderr)
        if result.returncode == 127 or "not found" in said:
            raise EnvironmentFault(
                "`sbatch` is not there", hint="run this on the cluster's login node, or name it: `host` and `folder`"
            )
        if re.search(r"Unable to contact|Socket timed out|Connection refused", said):
            raise EnvironmentFault(f"Slurm does not answer: {said}", hint="`sinfo` says how the cluster is")
        lines = [
            line.removeprefix("sbatch: error: ").removeprefix("allocation failure: ") for line in said.splitlines()
        ]
        raise ConfigError(
            f"Slurm refuses the job: {'; '.join(lines)}",
            hint=f"change the target's table in {self._project.root / 'scaffolder.toml'}; `sinfo` says what there is",
        )


def _script(jobs: Sequence[Job]) -> str:
    return f"{jobs[0].folder}/job.sbatch"


def _controller(shell: Shell, native: str) -> JobStatus | None:
    result = shell.run(["scontrol", "show", "job", native, "-o"])
    # An array's number names all its tasks: the last line is the one that waits.
    found = text(result.stdout)
    if result.returncode != 0 or "JobState=" not in found:
        return None
    words = dict(part.partition("=")[::2] for part in found.splitlines()[0].split() if "=" in part)
    reason = words.get("Reason", "None")
    return _status(words["JobState"], words.get("ExitCode", ""), "" if reason == "None" else reason)


def _accounting(shell: Shell, native: str) -> JobStatus | None:
    result = shell.run(["sacct", "-X", "-n", "-P", "-o", "State,ExitCode", "-j", native])
    line = next((line for line in text(result.stdout).splitlines() if "|" in line), None)
    if result.returncode != 0 or line is None:
        return None
    state, _, code = line.partition("|")
    return _status(state.split()[0], code)  # "CANCELLED by 1000"


def _file(shell: Shell, reference: JobReference) -> JobStatus:
    code = shell.read(reference.job.exit_code)
    return ended(code.strip()) if code and code.strip() else JobStatus("unknown", "not known to Slurm")


def _status(word: str, codes: str, reason: str = "") -> JobStatus:
    state = _STATES.get(word, "failed")
    number, _, signal = codes.partition(":")
    code = int(number) if number.isdigit() else None
    if state not in ("succeeded", "failed", "cancelled"):
        return JobStatus(state, word, None, reason)
    if signal.isdigit() and int(signal):
        reason = reason or f"signal {signal}"
    if state == "succeeded":
        return JobStatus(state, word, code)
    return JobStatus(state, word, code or None, reason)  # ended by Slurm, it has none of its own
