"""An update as a commit on a branch of its own; no folder is touched, and it is there at once or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaffolder.errors import ScaffolderError
from scaffolder.git import Repository, identity
from scaffolder.updater.status import status

if TYPE_CHECKING:
    from scaffolder.updater.trial import Trial


@dataclass(frozen=True, slots=True)
class Proposal:
    """A commit that waits for its branch.

    Attributes:
        commit: The commit; it is in the repository, but no branch has it yet.
        parent: The commit it builds on.
        message: Its message.
    """

    commit: str
    parent: str
    message: str


def propose(trial: Trial) -> Proposal:
    """Store an update as a commit that no branch has yet.

    Raises:
        ScaffolderError: Conflicts are open.
        GitFailed: The repository cannot be written.
    """
    if trial.merge.open:
        raise ScaffolderError("conflicts are open")
    workspace, subject = trial.workspace, trial.subject
    repository = workspace.repository
    parent = repository.text("rev-parse", "HEAD")
    old, new = repository.entries(trial.user_tree), repository.entries(trial.merge.tree)
    changes = {
        f"{subject.prefix}{path}": new.get(path) for path in old.keys() | new.keys() if old.get(path) != new.get(path)
    }
    tree = repository.changed_tree(f"{parent}^{{tree}}", changes, workspace.index)
    message = commit_message(trial)
    variables = identity(subject.repository)
    commit = repository.text("commit-tree", tree, "-p", parent, "-F", "-", data=message.encode(), variables=variables)
    pack = repository.run("pack-objects", "--revs", "--stdout", "--quiet", data=f"{commit}\n^{parent}\n".encode())
    subject.repository.run("unpack-objects", "-q", data=pack)
    return Proposal(commit, parent, message)


def commit_message(trial: Trial) -> str:
    """Return a title, and what the changelog says."""
    found = status(trial)
    lines = [f"Update from template {trial.old.name} to {trial.new.name}"]
    if trial.old == trial.new:
        lines = ["Change answers to the template"]
    for note in found.notes:
        lines += ["", note.version, *(f"- {line}" for line in note.lines)]
    if found.upgraded:
        lines += ["", "Olive configurations with today's keys:", *(f"- {path}" for path in found.upgraded)]
    return "\n".join(lines) + "\n"


def branch_name(version: str) -> str:
    """Return the branch of an update to a version."""
    return f"scaffolder/update-{version if version.startswith('v') else f'v{version}'}"


def set_branch(repository: Repository, name: str, commit: str) -> bool:
    """Make a branch at a commit; return False where it is there already with the same content.

    Raises:
        ScaffolderError: It is there with another content; it is never moved by force.
    """
    there = repository.try_text("rev-parse", "--verify", "--quiet", f"refs/heads/{name}")
    if there is None:
        repository.run("update-ref", f"refs/heads/{name}", commit, "0" * 40)
        return True
    if repository.text("rev-parse", f"{there}^{{tree}}") == repository.text("rev-parse", f"{commit}^{{tree}}"):
        return False
    raise ScaffolderError(f"branch {name} exists with another content", hint=f"`git branch -D {name}`, or merge it")
