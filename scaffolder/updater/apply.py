"""Brings an update into a project's folder: all of it, or nothing.

New contents are laid ready and what they replace is put aside first; then a journal is written, and files are
exchanged one by one. Whoever finds a journal takes the exchange back.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import plan
from scaffolder.errors import EnvironmentFault, ScaffolderError, UsageError
from scaffolder.git import GitFailed, identity
from scaffolder.lock import Locked, project_lock
from scaffolder.merging import Conflict
from scaffolder.project import MANIFEST
from scaffolder.updater.branch import commit_message
from scaffolder.updater.subject import open_subject
from scaffolder.updater.trial import Change, Trial, history_of, trial_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scaffolder.git import Repository
    from scaffolder.merging import Choices
    from scaffolder.updater.subject import Subject

_FOLDER = "scaffolder-update"
_JOURNAL = "journal.json"
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Applied:
    """What an update did.

    Attributes:
        old: Version before.
        new: Version after.
        changes: Files that changed.
        conflicts: What did not go together; touched only where it was settled, or written to be settled.
        stayed_deleted: Files that the user had deleted and that the template changed.
        upgraded: Olive configurations that got today's keys.
        done: Whether the project was changed.
        commit: The commit that was made, or empty.
    """

    old: str
    new: str
    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]
    stayed_deleted: tuple[str, ...]
    upgraded: tuple[str, ...]
    done: bool
    commit: str = ""

    @property
    def open(self) -> tuple[Conflict, ...]:
        """Conflicts that wait for the user."""
        return tuple(conflict for conflict in self.conflicts if not conflict.mode.settles)


def update(
    root: Path,
    *,
    to: str | None = None,
    template: str | None = None,
    choices: Choices | None = None,
    changed: Mapping[str, Any] | None = None,
    answers_only: bool = False,
    ask: bool = False,
    commit: bool = False,
    dry_run: bool = False,
    wait: bool = False,
) -> Applied:
    """Update a project, or leave it as it is where that would lose something.

    Args:
        root: The project.
        to: Version to go to; the newest release where left out.
        template: Take this template from now on.
        choices: How conflicts are settled; where one is not, nothing is touched.
        changed: Answers that change.
        answers_only: Stay on the version.
        ask: Ask the questions again, on a terminal.
        commit: Make a commit of it.
        dry_run: Change nothing.
        wait: Wait for a run of this project instead of failing.

    Raises:
        UsageError: The folder has changes that are not committed, or this is no project.
        Locked: A run is under way.
        ScaffolderError: The template cannot be had, or a file cannot be written; the project is as before.
    """
    repository = open_subject(root, template=template).repository
    with _locked(repository, wait):
        _recover(repository)
        subject = open_subject(root, template=template)
        if not dry_run:
            _refuse_dirty(subject)
        history = history_of(subject)
        target = subject.answers.version if answers_only else to
        with trial_of(subject, history, to=target, choices=choices, changed=changed, ask=ask) as trial:
            changes = tuple(trial.changes())
            stop = dry_run or any(conflict.mode.value == "stop" for conflict in trial.merge.conflicts)
            made = "" if stop or not changes else _apply(trial, commit)
            return Applied(
                old=trial.old.name,
                new=trial.new.name,
                changes=changes,
                conflicts=trial.merge.conflicts,
                stayed_deleted=trial.merge.stayed_deleted,
                upgraded=trial.upgraded,
                done=bool(changes) and not stop,
                commit=made,
            )


@contextlib.contextmanager
def _locked(repository: Repository, wait: bool) -> Iterator[None]:
    """Hold the lock that runs hold too; a project that cannot run keeps it out of its folder."""
    runs = (repository.folder / MANIFEST).is_file()
    folder = repository.folder / plan.STATE_FOLDER if runs else repository.absolute_git_path("scaffolder-state")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"cannot write to {repository.folder}: {error.strerror}") from error
    with project_lock(folder, purpose="update", wait=wait):
        yield


def recover(repository: Repository) -> bool:
    """Take back an update that was interrupted in its middle; return whether there was one.

    An update that is still under way is left alone.

    Raises:
        EnvironmentFault: A file cannot be written.
    """
    if not repository.absolute_git_path(_FOLDER).exists():
        return False
    try:
        with _locked(repository, wait=False):
            return _recover(repository)
    except Locked:
        return False


def _recover(repository: Repository) -> bool:
    state = repository.absolute_git_path(_FOLDER)
    if not (state / _JOURNAL).is_file():
        shutil.rmtree(state, ignore_errors=True)
        return False
    journal = json.loads((state / _JOURNAL).read_text(encoding="utf-8"))
    _take_back(state, Path(journal["root"]), journal["paths"])
    return True


def _refuse_dirty(subject: Subject) -> None:
    if subject.unmerged():
        raise UsageError("a merge is under way in this repository", hint="finish it, or `git merge --abort`")
    dirty = subject.dirty()
    if dirty:
        more = [f"… and {len(dirty) - _SHOWN} more"] if len(dirty) > _SHOWN else []
        listed = "\n".join([*dirty[:_SHOWN], *more])
        raise UsageError(
            f"files have changes that are not committed:\n{listed}", hint="commit them first, or `git stash`"
        )


def _apply(trial: Trial, commit: bool) -> str:
    subject = trial.subject
    if commit and trial.merge.open:
        raise UsageError("conflicts cannot be committed", hint="leave out --commit, or settle them: ours, theirs")
    if not os.access(subject.root, os.W_OK):
        raise EnvironmentFault(f"{subject.root} cannot be written")
    state = subject.repository.absolute_git_path(_FOLDER)
    try:
        shutil.rmtree(state, ignore_errors=True)
        paths = _lay_ready(trial, state)
        _exchange(state, subject.root, paths)
        _mark_unmerged(trial)
        return _commit(trial, paths) if commit else ""
    except OSError as error:
        raise EnvironmentFault(f"cannot write {error.filename}: {error.strerror}; the project is as before") from error
    finally:
        if not (state / _JOURNAL).exists():
            shutil.rmtree(state, ignore_errors=True)


def _lay_ready(trial: Trial, state: Path) -> list[str]:
    """Put new contents into `state/new` and what they replace into `state/old`; return all paths concerned."""
    repository = trial.workspace.repository
    variables = {"GIT_INDEX_FILE": str(trial.workspace.index)}
    listed = repository.run("diff-tree", "-r", "-z", "--no-renames", "--name-only", trial.user_tree, trial.merge.tree)
    merged = repository.entries(trial.merge.tree)
    paths = [path.decode("utf-8", "surrogateescape") for path in listed.split(b"\0") if path]
    _refuse_obstacles(trial.subject.root, set(paths))
    # A submodule's files are its own repository's.
    wanted = [path for path in paths if path in merged and merged[path].mode != "160000"]
    (state / "new").mkdir(parents=True)
    trial.workspace.index.unlink(missing_ok=True)
    repository.run("read-tree", trial.merge.tree, variables=variables)
    names = b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in wanted)
    # From the top, where the index's paths and the folder's agree.
    repository.run(
        f"--work-tree={state / 'new'}", "checkout-index", "-z", "--stdin", f"--prefix={state / 'new'}/",
        data=names, variables=variables,
    )  # fmt: skip
    for path in paths:
        place = trial.subject.root / path
        if place.is_symlink() or place.is_file():
            aside = state / "old" / path
            aside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(place, aside, follow_symlinks=False)
    return paths


def _refuse_obstacles(root: Path, paths: set[str]) -> None:
    """Check that no file or folder of the user lies where the update needs the other kind."""
    for path in paths:
        place = root / path
        inside = [one for one in place.rglob("*") if not one.is_dir()] if place.is_dir() else []
        above = [one for one in place.parents if one.is_relative_to(root) and one.is_file()]
        for one in (*inside, *above):
            if one.relative_to(root).as_posix() not in paths:
                raise UsageError(f"{one} is in the way of the template's {path}; the project is as before")


def _exchange(state: Path, root: Path, paths: list[str]) -> None:
    journal = state / _JOURNAL
    aside = state / "journal.new"
    aside.write_text(json.dumps({"root": str(root), "paths": paths}), encoding="utf-8")
    aside.replace(journal)
    try:
        # What goes first makes room for folders of the same name.
        for path in sorted(paths, key=lambda path: (state / "new" / path).exists()):
            _put(state / "new" / path, root / path, root)
    except BaseException:
        _take_back(state, root, paths)
        raise
    journal.unlink()


def _put(source: Path, place: Path, root: Path) -> None:
    """Put a file in its place, or take it away where there is none to put."""
    if source.is_symlink() or source.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f".{place.name}.new")
        shutil.copy2(source, aside, follow_symlinks=False)
        aside.replace(place)
        return
    place.unlink(missing_ok=True)
    for folder in place.parents:
        if folder == root or any(folder.iterdir()):
            break
        folder.rmdir()


def _take_back(state: Path, root: Path, paths: list[str]) -> None:
    try:
        for path in sorted(paths, key=lambda path: (state / "old" / path).exists()):
            (root / path).with_name(f".{Path(path).name}.new").unlink(missing_ok=True)
            if (root / path).parent.is_dir() or (state / "old" / path).exists():
                _put(state / "old" / path, root / path, root)
        (state / _JOURNAL).unlink()
        shutil.rmtree(state, ignore_errors=True)
    except OSError as error:
        raise EnvironmentFault(
            f"an interrupted update cannot be taken back: {error}", hint=f"what it replaced lies in {state / 'old'}"
        ) from error


def _mark_unmerged(trial: Trial) -> None:
    """Tell git's index which files are in conflict, as a merge would."""
    subject = trial.subject
    lines = []
    for path, stages in trial.merge.unmerged.items():
        for entry in stages.values():
            if entry.mode != "160000":
                subject.repository.store(trial.workspace.repository.content(entry.sha))
        name = f"{subject.prefix}{path}".encode("utf-8", "surrogateescape")
        lines.append(f"0 {'0' * 40}\t".encode() + name)
        lines += [f"{entry.mode} {entry.sha} {stage}\t".encode() + name for stage, entry in sorted(stages.items())]
    if lines:
        subject.repository.run("update-index", "-z", "--index-info", data=b"\0".join(lines) + b"\0")


def _commit(trial: Trial, paths: list[str]) -> str:
    repository = trial.subject.repository
    names = b"\0".join(path.encode("utf-8", "surrogateescape") for path in paths)
    known = set(repository.run("ls-files", "-z").split(b"\0"))
    wanted = [name for name in names.split(b"\0") if name in known or not _ignored(repository, name)]
    listed = ("--pathspec-from-file=-", "--pathspec-file-nul")
    variables = {"GIT_LITERAL_PATHSPECS": "1", **identity(repository)}
    try:
        repository.run("add", "--all", *listed, data=b"\0".join(wanted), variables=variables)
        repository.run("commit", "--quiet", "--message", commit_message(trial), variables=variables)
    except GitFailed as error:
        raise ScaffolderError(
            f"the update is in the folder, but was not committed: {error.message}", hint="mend it, then `git commit`"
        ) from error
    return repository.text("rev-parse", "HEAD")


def _ignored(repository: Repository, name: bytes) -> bool:
    return bool(repository.run("check-ignore", "-z", "--stdin", data=name + b"\0", accept=(0, 1)))
