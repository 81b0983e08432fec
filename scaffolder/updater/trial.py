"""An update tried aside: both versions rendered, the user's files merged in, nothing touched."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder import oliveconfig
from scaffolder.errors import UsageError
from scaffolder.git import Entry
from scaffolder.merging import Choices, Merge, Workspace, merge_trees
from scaffolder.merging.jsontext import merge_json
from scaffolder.merging.trees import with_settled
from scaffolder.templating import History, Rendered, Version, open_history, refuse_unasked, render_tree
from scaffolder.templating.answers import ANSWERS_FILE
from scaffolder.updater.subject import Subject, in_the_way

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OLIVE = re.compile(rb"^olive-ai==(\S+)", re.MULTILINE)
_REQUIREMENTS = "setup/requirements.txt"
_CONFIGURATIONS = re.compile(r"^(fine-tuning|gen-model)/[^/]+\.json$")


@dataclass(frozen=True, slots=True)
class Change:
    """One file that differs.

    Attributes:
        kind: `added`, `changed`, `deleted` or `moved`.
        path: The file.
        before: Where it lay, if it moved.
    """

    kind: str
    path: str
    before: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """What an update would do.

    Attributes:
        subject: The project.
        history: Its template.
        old: The version it is on.
        new: The version it would be on.
        before: The project as the old version makes it.
        after: The project as the new version makes it.
        user_tree: The project as it is.
        merge: The outcome.
        upgraded: Olive configurations whose old keys were replaced.
        workspace: Where the trees lie.
    """

    subject: Subject
    history: History
    old: Version
    new: Version
    before: Rendered
    after: Rendered
    user_tree: str
    merge: Merge
    upgraded: tuple[str, ...]
    workspace: Workspace

    def changes(self) -> list[Change]:
        """Return what the update changes in the project."""
        return compare(self.workspace, self.user_tree, self.merge.tree)

    def user_changes(self) -> list[Change]:
        """Return what the user changed of what the template made; files of the user's own are not among them."""
        tracked = self.workspace.repository.entries(self.before.tree)
        found = compare(self.workspace, self.before.tree, self.user_tree)
        return [change for change in found if change.path in tracked or change.before]


@contextlib.contextmanager
def trial_of(subject: Subject, history: History, **options: Any) -> Iterator[Trial]:
    """Try an update in a workspace that lasts as long as the body; see `make_trial`."""
    with Workspace(subject.repository, [history.repository]) as workspace:
        yield make_trial(subject, history, workspace, **options)


def history_of(subject: Subject, *, refresh: bool = True) -> History:
    """Return the versions of a project's template.

    Raises:
        TemplateGone: It cannot be read.
        UsageError: It has no versions.
    """
    return open_history(subject.origin, refresh=refresh)


def make_trial(
    subject: Subject,
    history: History,
    workspace: Workspace,
    *,
    to: str | None = None,
    choices: Choices | None = None,
    changed: Mapping[str, Any] | None = None,
    ask: bool = False,
    committed: bool = False,
) -> Trial:
    """Try an update.

    Args:
        subject: The project.
        history: Its template.
        workspace: Where to make the trees.
        to: Version to go to; the newest release where left out.
        choices: How conflicts are settled.
        changed: Answers that change.
        ask: Ask the questions again, on a terminal.
        committed: Take the last commit alone, not what lies in the folder.

    Raises:
        TemplateGone: The template lacks one of the versions.
        UsageError: It would be a downgrade, or an answer is not valid.
    """
    old, new = history.resolve(subject.answers.version), history.resolve(to)
    _refuse_downgrade(history, old, new)
    given = subject.answers.given
    before = render_tree(history, old, given, earlier=True, project_name=subject.root.name)
    after = render_tree(history, new, given, changed=changed, ask=ask, project_name=subject.root.name)
    refuse_unasked(changed or {}, after.unasked)
    user = subject.tree if committed else _as_it_lies(subject, workspace, before.tree, after.tree)
    user = _with_answers(workspace, user, before.tree)
    theirs = _without_kept(workspace, before, after, user)
    merge = merge_trees(workspace, before.tree, user, theirs, choices)
    merge, upgraded = _upgrade(workspace, before.tree, after.tree, user, merge)
    return Trial(subject, history, old, new, before, after, user, merge, upgraded, workspace)


def compare(workspace: Workspace, one: str, other: str) -> list[Change]:
    """Return how one tree differs from another."""
    printed = workspace.repository.run("diff-tree", "-r", "-z", "-M", "--name-status", one, other)
    parts = [part.decode("utf-8", "surrogateescape") for part in printed.split(b"\0")]
    words = {"A": "added", "M": "changed", "D": "deleted", "T": "changed"}
    found = []
    at = 0
    while at < len(parts) and parts[at]:
        if parts[at].startswith("R"):
            found.append(Change("moved", parts[at + 2], parts[at + 1]))
            at += 3
        else:
            found.append(Change(words.get(parts[at][0], "changed"), parts[at + 1]))
            at += 2
    return found


def difference(trial: Trial) -> str:
    """Return what the update would do as a patch."""
    found = trial.workspace.repository.run("diff-tree", "-r", "-p", "-M", trial.user_tree, trial.merge.tree)
    return found.decode("utf-8", "replace")


def _refuse_downgrade(history: History, old: Version, new: Version) -> None:
    if old.commit != new.commit:
        base = history.repository.try_text("merge-base", old.commit, new.commit)
        if base == new.commit:
            raise UsageError(f"{new.name} is older than {old.name}, which the project is on")


def _as_it_lies(subject: Subject, workspace: Workspace, before: str, after: str) -> str:
    """Return the tree of the project's files, committed or not, and of untracked ones where the template has files."""
    repository = workspace.repository
    tree = subject.tree
    if subject.dirty():
        variables = {"GIT_INDEX_FILE": str(workspace.index)}
        repository.run("read-tree", "HEAD", variables=variables)
        repository.run("add", "--update", "--", ".", variables=variables)
        prefix = [f"--prefix={subject.prefix}"] if subject.prefix else []
        tree = repository.text("write-tree", *prefix, variables=variables)
    entries = repository.entries(tree)
    wanted = set(repository.entries(before)) | set(repository.entries(after))
    changes: dict[str, Entry | None] = {}
    for path, place in in_the_way(subject, entries, wanted).items():
        content = str(place.readlink()).encode() if place.is_symlink() else place.read_bytes()
        mode = "120000" if place.is_symlink() else "100755" if place.stat().st_mode & 0o100 else "100644"
        changes[path] = Entry(mode, repository.store(content))
    return repository.changed_tree(tree, changes, workspace.index)


def _with_answers(workspace: Workspace, user: str, before: str) -> str:
    """Return the user's tree with the answers as the old version writes them: their values are merged by rendering."""
    repository = workspace.repository
    written = repository.entries(before).get(ANSWERS_FILE)
    if written is None or repository.entries(user).get(ANSWERS_FILE) == written:
        return user
    return repository.changed_tree(user, {ANSWERS_FILE: written}, workspace.index)


def _without_kept(workspace: Workspace, before: Rendered, after: Rendered, user: str) -> str:
    """Return the new version's tree with files that belong to users as these have them."""
    repository = workspace.repository
    kept = {*before.kept, *after.kept}
    if not kept:
        return after.tree
    old, new, mine = (repository.entries(tree) for tree in (before.tree, after.tree, user))
    changes = {}
    for path in kept:
        wanted = old.get(path) or mine.get(path) or new.get(path)
        if wanted != new.get(path):
            changes[path] = wanted
    return repository.changed_tree(after.tree, changes, workspace.index)


def _upgrade(workspace: Workspace, before: str, after: str, user: str, merge: Merge) -> tuple[Merge, tuple[str, ...]]:
    """Give the user's Olive configurations the keys of the new version's Olive, where that is another one."""
    repository = workspace.repository
    old, new = (_olive(workspace, tree) for tree in (before, after))
    if old == new or not old or not new:
        return merge, ()
    theirs, mine = repository.entries(after), repository.entries(user)
    open_paths = {conflict.path for conflict in merge.conflicts}
    changes: dict[str, Entry | None] = {}
    for path, entry in repository.entries(merge.tree).items():
        if not _CONFIGURATIONS.match(path) or entry == theirs.get(path) or path in open_paths or path not in mine:
            continue
        if upgraded := _upgraded(repository.content(entry.sha)):
            changes[path] = Entry(entry.mode, repository.store(upgraded))
    return with_settled(merge, repository.changed_tree(merge.tree, changes, workspace.index)), tuple(sorted(changes))


def _upgraded(content: bytes) -> bytes | None:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    config = oliveconfig.parse(text).data()
    found = oliveconfig.upgrade(config)
    if not found.changes:
        return None
    # Through a merge by key, so that comments and layout stay.
    merged, _ = merge_json(oliveconfig.dumps(config), text, oliveconfig.dumps(found.config))
    return (merged or oliveconfig.dumps(found.config)).encode()


def _olive(workspace: Workspace, tree: str) -> bytes:
    entry = workspace.repository.entries(tree).get(_REQUIREMENTS)
    found = _OLIVE.search(workspace.repository.content(entry.sha)) if entry else None
    return found[1] if found else b""
