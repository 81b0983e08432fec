"""References of jobs in the project: one small JSON file each, which git may carry to other machines."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING

from scaffolder.content import write_atomically
from scaffolder.errors import ScaffolderError, UsageError
from scaffolder.remote.job import JobReference

if TYPE_CHECKING:
    from pathlib import Path

    from scaffolder.project import Project

FOLDER = "jobs"


def save(project: Project, reference: JobReference) -> Path:
    """Write a job's reference."""
    path = project.root / FOLDER / f"{reference.id}.json"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, json.dumps(reference.as_data(), indent=2, ensure_ascii=False) + "\n")
    return path


def all_references(project: Project) -> list[JobReference]:
    """Return the references of all jobs, newest first; files that hold none are left out."""
    found = [reference for path in (project.root / FOLDER).glob("*.json") if (reference := _read(path)) is not None]
    return sorted(found, key=lambda reference: (reference.submitted, reference.id), reverse=True)


def find(project: Project, name: str | None = None) -> JobReference:
    """Return a job by its id, the beginning of it, or a workflow's newest; the newest of all without a name.

    Raises:
        ScaffolderError: Nothing was submitted yet.
        UsageError: No job is meant, or several are.
    """
    known = all_references(project)
    if not known:
        raise ScaffolderError("no job was submitted from this project yet", hint="scaffolder run WORKFLOW --on TARGET")
    if name is None:
        return known[0]
    for reference in known:
        if name in (reference.id, reference.job.workflow):
            return reference
    meant = [reference for reference in known if reference.id.startswith(name) or name == reference.native]
    if len(meant) == 1:
        return meant[0]
    if meant:
        ids = ", ".join(reference.id for reference in meant)
        raise UsageError(f"`{name}` begins {len(meant)} jobs: {ids}", hint="give more of one")
    near = difflib.get_close_matches(name, [reference.id for reference in known], n=1)
    suggestion = f"did you mean `{near[0]}`? " if near else ""
    raise UsageError(f"unknown job `{name}`", hint=suggestion + "`scaffolder jobs list` shows them all")


def next_number(project: Project, key: str) -> int:
    """Return the number of the next attempt at a run."""
    return 1 + sum(reference.job.key == key for reference in all_references(project))


def _read(path: Path) -> JobReference | None:
    try:
        return JobReference.from_data(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
