"""Merges whole trees with git's own merge, and settles what it could not."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from scaffolder.git import Entry, Repository
from scaffolder.merging.conflicts import Choices, Conflict, Mode
from scaffolder.merging.files import FileMerge, is_sound, merge_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

Stages = dict[int, Entry]
_OPTIONS = (
    "-c", "merge.directoryRenames=false", "-c", "merge.renames=true", "-c", "merge.renameLimit=10000",
    "-c", "merge.conflictStyle=merge",
)  # fmt: skip


class Workspace:
    """A place beside a repository to make trees in; the repository itself gets nothing of it.

    Args:
        project: The repository whose files are merged.
        others: Repositories whose trees take part.
    """

    def __init__(self, project: Repository, others: Sequence[Repository] = ()) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="scaffolder-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        objects = self.folder / "objects"
        objects.mkdir()
        stores = [one.absolute_git_path("objects") for one in (project, *others)]
        variables = {
            "GIT_OBJECT_DIRECTORY": str(objects),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.pathsep.join(str(store) for store in stores),
        }
        self.repository = Repository(project.folder, {**project.variables, **variables})
        self.index = self.folder / "index"

    def __enter__(self) -> Self:
        """Give the workspace itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete everything that was made here."""
        self._temporary.cleanup()


@dataclass(frozen=True, slots=True)
class Merge:
    """The outcome of a merge.

    Attributes:
        tree: The merged files; unsettled conflicts as their mode says.
        conflicts: What did not go together, settled or not.
        stayed_deleted: Files that the user deleted and the template changed.
        unmerged: For conflicts written inline, git's entries by path and stage: 1 before, 2 the user's, 3 the
            template's.
    """

    tree: str
    conflicts: tuple[Conflict, ...] = ()
    stayed_deleted: tuple[str, ...] = ()
    unmerged: dict[str, Stages] = field(default_factory=dict)

    @property
    def open(self) -> tuple[Conflict, ...]:
        """Conflicts that are left for the user."""
        return tuple(conflict for conflict in self.conflicts if not conflict.mode.settles)


def merge_trees(workspace: Workspace, base: str, ours: str, theirs: str, choices: Choices | None = None) -> Merge:
    """Merge three trees: `base` is what both started from, `ours` the user's, `theirs` the template's."""
    if theirs in (base, ours):
        return Merge(ours)
    if ours == base:
        return Merge(theirs)
    return _Merger(workspace, choices or Choices()).merge(base, ours, theirs)


class _Merger:
    """One merge: what git could not do is settled file by file, into changes to git's tree."""

    def __init__(self, workspace: Workspace, choices: Choices) -> None:
        self._workspace = workspace
        self._repository = workspace.repository
        self._choices = choices
        self._changes: dict[str, Entry | None] = {}
        self._conflicts: list[Conflict] = []
        self._stayed_deleted: list[str] = []
        self._unmerged: dict[str, Stages] = {}

    def merge(self, base: str, ours: str, theirs: str) -> Merge:
        repository = self._repository
        root = repository.anonymous_commit(base)
        sides = [repository.anonymous_commit(tree, [root]) for tree in (ours, theirs)]
        printed = repository.run(*_OPTIONS, "merge-tree", "--write-tree", "-z", "--messages", *sides, accept=(0, 1))
        tree, stages, kinds = _read(printed)
        groups = _groups(stages, kinds)
        for paths, kind in groups:
            self._settle(paths, kind, {path: stages[path] for path in paths if path in stages})
        self._check_sound((base, ours, theirs), tree, set(stages))
        tree = repository.changed_tree(tree, self._changes, self._workspace.index)
        return Merge(tree, tuple(self._conflicts), tuple(self._stayed_deleted), self._unmerged)

    def _settle(self, paths: list[str], kind: str, stages: dict[str, Stages]) -> None:
        [path, *more] = paths
        found = stages.get(path, {})
        plain = all(entry.mode.startswith("100") for entry in found.values())
        if not more and kind != "file/directory" and plain:
            if {2, 3} <= found.keys():
                return self._file(path, found)
            if 3 in found:
                self._stayed_deleted.append(path)
                self._changes[path] = None
                return None
            if 2 in found:
                return self._deleted_by_template(path, found)
        return self._whole(paths, kind, stages)

    def _file(self, path: str, stages: Stages) -> None:
        mode = self._choices.of(path)
        contents = [self._repository.content(stages[key].sha) if key in stages else None for key in (1, 2, 3)]
        base, ours, theirs = contents
        assert ours is not None
        assert theirs is not None
        found = merge_file(self._repository, path, base, ours, theirs, mode)
        self._put(path, stages, found)
        if found.conflict:
            kind = "added by both" if base is None and found.conflict == "content" else found.conflict
            self._conflicts.append(Conflict(path, kind, found.hunks, found.keys, mode))
            if mode is Mode.INLINE:
                self._unmerged[path] = stages

    def _put(self, path: str, stages: Stages, found: FileMerge) -> None:
        user, template = stages[2].mode, stages[3].mode
        mode = template if 1 in stages and stages[1].mode == user else user
        self._changes[path] = Entry(mode, self._repository.store(found.content))
        if found.rejected:
            self._changes[f"{path}.rej"] = Entry("100644", self._repository.store(found.rejected))

    def _deleted_by_template(self, path: str, stages: Stages) -> None:
        mode = self._choices.of(path)
        self._conflicts.append(Conflict(path, "deleted by the template", mode=mode))
        self._changes[path] = None if mode is Mode.THEIRS else stages[2]
        if mode is Mode.INLINE:
            self._unmerged[path] = stages

    def _whole(self, paths: list[str], kind: str, stages: dict[str, Stages]) -> None:
        """Settle what concerns several paths, or no regular files: one side's as it is, or git's own proposal."""
        mode = self._choices.of(paths[0])
        self._conflicts.append(Conflict(" | ".join(paths), kind, mode=mode))
        if mode is Mode.INLINE:
            self._unmerged.update(stages)
            return
        side = 3 if mode is Mode.THEIRS else 2
        for path in paths:
            self._changes[path] = stages.get(path, {}).get(side)

    def _check_sound(self, trees: tuple[str, str, str], merged: str, done: set[str]) -> None:
        """Give the files that git merged without conflict, but into something broken, a second look."""
        base, ours, theirs = (self._repository.entries(tree) for tree in trees)
        for path, entry in self._repository.entries(merged).items():
            if path in done or not path.endswith((".json", ".toml")) or not entry.mode.startswith("100"):
                continue
            sides = [side[path] for side in (base, ours, theirs) if path in side]
            if len(sides) < 3 or entry.sha in {side.sha for side in sides}:
                continue
            if not is_sound(path, self._repository.content(entry.sha)) and all(
                is_sound(path, self._repository.content(side.sha)) for side in sides
            ):
                self._file(path, dict(zip((1, 2, 3), sides, strict=True)))


def _read(printed: bytes) -> tuple[str, dict[str, Stages], list[tuple[list[str], str]]]:
    """Read what `git merge-tree -z` prints: the tree, entries by path and stage, and the kinds of conflict."""
    parts = [part.decode("utf-8", "surrogateescape") for part in printed.split(b"\0")]
    tree, at = parts[0], 1
    stages: dict[str, Stages] = {}
    while at < len(parts) and parts[at]:
        head, _, path = parts[at].partition("\t")
        mode, sha, stage = head.split(" ")
        stages.setdefault(path, {})[int(stage)] = Entry(mode, sha)
        at += 1
    at += 1
    kinds = []
    while at < len(parts) and parts[at].isdigit():
        count = int(parts[at])
        paths = parts[at + 1 : at + 1 + count]
        word = parts[at + 1 + count]
        if word.startswith("CONFLICT ("):
            kinds.append((paths, word.removeprefix("CONFLICT (").rstrip(")")))
        at += count + 3
    return tree, stages, kinds


def _groups(stages: dict[str, Stages], kinds: list[tuple[list[str], str]]) -> list[tuple[list[str], str]]:
    """Return conflicted paths with the kind of their conflict; paths that one conflict ties stay together."""
    together: dict[str, tuple[list[str], str]] = {}
    for paths, kind in kinds:
        mine = [path for path in paths if path in stages]
        if kind.startswith(("rename/rename", "file/directory", "rename involved")):
            group = (sorted(mine), kind.partition(" ")[0])
            together.update(dict.fromkeys(mine, group))
        else:
            for path in mine:
                together.setdefault(path, ([path], kind))
    for path in stages:
        together.setdefault(path, ([path], "content"))
    found: list[tuple[list[str], str]] = []
    for group in together.values():
        if group not in found:
            found.append(group)
    return found


def with_settled(merge: Merge, tree: str) -> Merge:
    """Return the merge with another tree."""
    return replace(merge, tree=tree)
