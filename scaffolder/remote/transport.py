"""A job's files to another machine, and its result back; what lies there already is not sent again."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from scaffolder.content import Hashes
from scaffolder.errors import EnvironmentFault
from scaffolder.plan import STATE_FOLDER
from scaffolder.remote.shell import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from scaffolder.project import Project
    from scaffolder.remote.job import Job
    from scaffolder.remote.shell import Shell

# What was sent, by path, with its hash; in the project's folder there.
_SENT = ".scaffolder/sent.json"


def send(shell: Shell, project: Project, jobs: Sequence[Job]) -> None:
    """Copy everything the jobs read into the project's folder there.

    Raises:
        EnvironmentFault: The folder cannot be written.
    """
    hashes = Hashes(project.root / STATE_FOLDER / "hashes.json")
    wanted = {name: hashes.file(project.root / name) for name in sorted(_files(project.root, jobs))}
    hashes.save()
    folder = shlex.quote(shell.folder)
    made = shell.script(f"mkdir -p {folder}/{STATE_FOLDER}")
    if made.returncode != 0:
        raise EnvironmentFault(f"cannot make {shell.folder} on {shell.host}: {text(made.stderr)}")
    known = json.loads(shell.read(_SENT) or "{}")
    sent = shell.copy_to(project.root, [name for name, sha in wanted.items() if known.get(name) != sha])
    if sent.returncode != 0:
        raise EnvironmentFault(f"cannot copy the job to {shell.host}: {text(sent.stderr)}")
    # Last, so that it tells of what is there.
    shell.run(["sh", "-c", f"cat > {_SENT}.part && mv {_SENT}.part {_SENT}"], data=json.dumps(known | wanted).encode())


def bring(shell: Shell, run: str, names: Sequence[str], into: Path) -> None:
    """Copy files and folders of a run's folder there into `into`; what is missing is left out.

    Raises:
        EnvironmentFault: Nothing can be read there.
    """
    into.mkdir(parents=True, exist_ok=True)
    brought = shell.copy_from(run, names, into)
    if brought.returncode != 0:
        raise EnvironmentFault(f"cannot read {run} there: {text(brought.stderr)}")


def _files(root: Path, jobs: Sequence[Job]) -> Iterator[str]:
    for name in {name for job in jobs for name in (*job.inputs, job.folder)}:
        path = root / name
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file.relative_to(root).as_posix()
