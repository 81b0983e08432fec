"""A template's versions: its commits and tags in a cache, from where everything is rendered."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder.errors import EnvironmentFault, ScaffolderError, UsageError
from scaffolder.git import GitFailed, Repository
from scaffolder.templating.origin import Origin

if TYPE_CHECKING:
    from packaging.version import Version as Release


CHANGELOG = "CHANGELOG.md"
_HEAD = "refs/scaffolder/head"
_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


class TemplateGone(ScaffolderError):
    """The template, or the version that a project names, cannot be had."""


@dataclass(frozen=True, slots=True)
class Version:
    """A commit of a template.

    Attributes:
        name: What Copier records: the tag, or the tag and the distance from it.
        commit: Full hash.
    """

    name: str
    commit: str


@dataclass(frozen=True, slots=True)
class History:
    """A template with its versions.

    Attributes:
        origin: Where it lies.
        folder: Where its cache lies.
        stale: Why the cache could not be brought up to date, or empty.
    """

    origin: Origin
    folder: Path
    stale: str = ""

    @property
    def repository(self) -> Repository:
        """The template's commits, and the trees that were rendered from them."""
        return Repository(self.folder / "history.git")

    def tags(self) -> list[str]:
        """Return the released versions, oldest first, as Copier orders them; prereleases are left out."""
        found = [(release, tag) for tag in self.all_tags() if (release := _release(tag)) and not release.is_prerelease]
        return [tag for _, tag in sorted(found)]

    def all_tags(self) -> list[str]:
        """Return every tag, in no order."""
        return self.repository.text("tag", "--list").splitlines()

    def resolve(self, ref: str | None = None) -> Version:
        """Find a version by tag, branch or commit; the newest release where left out.

        Raises:
            TemplateGone: There is no such version.
        """
        wanted = ref or next(reversed(self.tags()), "HEAD")
        if wanted == "HEAD":
            return self._named(self._head())
        for candidate in (f"refs/tags/{wanted}", f"refs/heads/{wanted}", wanted):
            if not wanted.startswith("-") and (
                commit := self.repository.try_text("rev-parse", "--verify", "--quiet", f"{candidate}^{{commit}}")
            ):
                return self._named(commit)
        known = ", ".join(self.tags()[-5:]) or "no tags"
        raise TemplateGone(
            f"the template {self.origin.recorded or self.origin.place} has no version `{wanted}`",
            hint=f"it has {known}; was the tag deleted or never pushed?",
        )

    def changelog(self, version: Version) -> str:
        """Return the template's changelog at a version, or an empty text."""
        return self.repository.try_text("show", f"{version.commit}:{CHANGELOG}") or ""

    def commits(self, old: Version, new: Version) -> list[str]:
        """Return the subjects of the commits after `old` up to `new`, newest first."""
        return self.repository.text("log", "--format=%s", f"{old.commit}..{new.commit}").splitlines()

    def checkout(self, version: Version) -> Path:
        """Return a folder with the template's files at a version; it is kept and never changes."""
        folder = self.folder / "checkouts" / version.commit
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            aside = Path(name) / "files"
            aside.mkdir()
            variables = {"GIT_INDEX_FILE": str(Path(name) / "index")}
            self.repository.run("read-tree", version.commit, variables=variables)
            self.repository.run(
                "-c", "core.autocrlf=false", f"--work-tree={aside}", "checkout-index", "--all", variables=variables
            )
            if not folder.is_dir():
                _publish(aside, folder)
        return folder

    def _named(self, commit: str) -> Version:
        return Version(self.repository.text("describe", "--tags", "--always", commit), commit)

    def _head(self) -> str:
        place = Path(self.origin.place)
        if (place / ".git").exists():
            return self._working_copy(Repository(place))
        head = self.repository.try_text("rev-parse", "--verify", "--quiet", f"{_HEAD}^{{commit}}")
        newest = self.repository.text("for-each-ref", "--sort=-committerdate", "--format=%(objectname)", "refs/heads")
        if not head and not newest:
            raise TemplateGone(f"the template {self.origin.place} has no commit")
        return head or newest.splitlines()[0]

    def _working_copy(self, place: Repository) -> str:
        """Return the head of a folder, with what its author has not committed yet on top."""
        head = place.text("rev-parse", "HEAD")
        with tempfile.TemporaryDirectory() as name:
            variables = {"GIT_INDEX_FILE": str(Path(name) / "index"), "GIT_DIR": str(self.repository.folder)}
            self.repository.run("read-tree", head, variables=variables)
            self.repository.run(f"--work-tree={place.folder}", "add", "--all", variables=variables)
            tree = self.repository.text("write-tree", variables=variables)
        if tree == self.repository.text("rev-parse", f"{head}^{{tree}}"):
            return head
        return self.repository.anonymous_commit(tree, [head])


def open_history(origin: Origin, *, refresh: bool = True) -> History:
    """Bring a template's versions into the cache.

    Args:
        origin: The template.
        refresh: Ask its place for new versions; where that fails, those known from before serve.

    Raises:
        TemplateGone: Its place cannot be read, and nothing is known of it yet.
        UsageError: It is no git repository.
    """
    if not origin.git:
        raise UsageError(f"the template {origin.place} is not under git and has no versions")
    folder = _cache() / hashlib.sha256(origin.place.encode()).hexdigest()[:16]
    history = History(origin, folder)
    known = (folder / "complete").exists()
    if known and not refresh:
        return history
    try:
        with _exclusively(folder):
            _fetch(history.repository, origin)
            (folder / "complete").touch()
    except GitFailed as error:
        if not known:
            raise TemplateGone(
                f"cannot read the template {origin.recorded or origin.place}: {error.message}",
                hint="is it a git address, a folder or a bundle, and can this machine reach it?",
            ) from error
        return History(origin, folder, stale=f"{origin.recorded or origin.place} cannot be reached: {error.message}")
    return history


def cache_folder() -> Path:
    """Return where clones and rendered trees are kept; deleting it costs time only."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("scaffolder", appauthor=False))


def _cache() -> Path:
    return cache_folder() / "templates"


def _exclusively(folder: Path) -> Any:
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"cannot write to {folder}: {error.strerror}") from error
    return FileLock(folder / "lock")


def _fetch(repository: Repository, origin: Origin) -> None:
    if not (repository.folder / "HEAD").is_file():
        shutil.rmtree(repository.folder, ignore_errors=True)
        repository.folder.mkdir(parents=True)
        repository.run("init", "--bare", "--quiet")
    options = ("fetch", "--quiet", "--force", "--update-shallow", "--no-write-fetch-head", "--", origin.place)
    try:
        repository.run(*options, *_REFS, f"+HEAD:{_HEAD}", timeout=300)
    except GitFailed:
        # A bundle without HEAD, or a repository whose HEAD points nowhere.
        repository.run(*options, *_REFS, timeout=300)


def _publish(aside: Path, folder: Path) -> None:
    try:
        aside.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was quicker
            raise


def _release(tag: str) -> Release | None:
    from packaging.version import InvalidVersion
    from packaging.version import Version as Release

    try:
        return Release(tag)
    except InvalidVersion:
        return None
