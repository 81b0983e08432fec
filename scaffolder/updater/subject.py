"""A project as an update sees it: a folder in a git repository, with an answers file."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from scaffolder.errors import EnvironmentFault, UsageError
from scaffolder.git import Entry, Repository, require_version
from scaffolder.templating import Answers, Origin, find_origin, read_answers
from scaffolder.templating.answers import ANSWERS_FILE, parse_answers
from scaffolder.templating.shipped import PLACE, shipped_template


@dataclass(frozen=True, slots=True)
class Subject:
    """A project that can be updated.

    Attributes:
        root: The project's folder.
        prefix: Where it lies in its repository, with a slash at the end; empty at the top.
        tree: The tree of its last commit.
        answers: What it was made from.
        origin: The template.
    """

    root: Path
    prefix: str
    tree: str
    answers: Answers
    origin: Origin

    @property
    def repository(self) -> Repository:
        """The repository, asked from the project's folder."""
        return Repository(self.root)

    def dirty(self) -> list[str]:
        """Return tracked files with changes that are not committed, each with git's two letters."""
        printed = self.repository.run("status", "--porcelain", "-z", "--untracked-files=no", "--no-renames", "--", ".")
        return [line.decode("utf-8", "surrogateescape") for line in printed.split(b"\0") if line]

    def unmerged(self) -> bool:
        """Whether a merge is under way in the repository."""
        return bool(self.repository.run("ls-files", "--unmerged", "-z"))


def open_subject(root: Path, *, template: str | None = None, committed: bool = False) -> Subject:
    """Open a project for an update.

    Args:
        root: Its folder.
        template: Another template than the one recorded.
        committed: Read the answers from the last commit, whatever lies in the folder.

    Raises:
        EnvironmentFault: git is missing or too old.
        UsageError: It is no project, not in git, without a commit, or not connected to a template.
        ConfigError: Its answers file cannot be read.
    """
    if shutil.which("git") is None:
        raise EnvironmentFault("git is not installed")
    if not root.is_dir():
        raise UsageError(f"{root} is no folder")
    require_version()
    repository = Repository(root.resolve())
    answers = None if committed else read_answers(root)
    prefix = repository.try_text("rev-parse", "--show-prefix")
    if prefix is None:
        raise UsageError(f"{root} is not in a git repository", hint="updates need one: `git init`, add, commit")
    tree = repository.try_text("rev-parse", "--verify", "--quiet", f"HEAD:{prefix}" if prefix else "HEAD^{tree}")
    if tree is None:
        raise UsageError(f"{root} has no commit yet", hint="commit the project first")
    if answers is None:
        text = repository.try_text("cat-file", "blob", f"HEAD:{prefix}{ANSWERS_FILE}")
        if text is None:
            raise UsageError(f"{root} has no {ANSWERS_FILE}: it was not made from a template")
        answers = parse_answers(text, name=f"{root.name}/{ANSWERS_FILE}")
    return Subject(root.resolve(), prefix, tree, answers, _origin(root, answers, template))


def _origin(root: Path, answers: Answers, template: str | None) -> Origin:
    given = template or answers.source
    if given is None:
        raise UsageError(
            f"{root} is not connected to a template", hint="connect it: `scaffolder update --template URL`"
        )
    if given == PLACE:
        shipped_template()
    found = find_origin(given, base=None if template else root)
    # A path that Copier recorded stays what it is: it worked so far.
    return found if found.recorded or template else Origin(found.place, answers.source, found.git, found.note)


def in_the_way(subject: Subject, tree: dict[str, Entry], paths: set[str]) -> dict[str, Path]:
    """Return files that git does not track and that lie where the template has one."""
    found = {path: subject.root / path for path in paths - tree.keys()}
    return {path: place for path, place in found.items() if place.is_file() or place.is_symlink()}
