"""Git, asked by machine: no prompts, no user's settings that would change what is stored."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from scaffolder import process
from scaffolder.errors import EnvironmentFault, ScaffolderError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

OLDEST = (2, 38)  # the first with `merge-tree --write-tree`
_QUIET = ["-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "core.quotePath=false"]
_VARIABLES = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
# Commits that only tell git which tree came from which; the same trees make the same commits everywhere.
_NOBODY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in {"NAME": "scaffolder", "EMAIL": "scaffolder@localhost", "DATE": "2000-01-01T00:00:00Z"}.items()
}


class GitFailed(ScaffolderError):
    """A git command failed; the message is git's own."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a tree: its mode, as git writes it, and the hash of its content."""

    mode: str
    sha: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository and how to ask it.

    Attributes:
        folder: Where commands run; the repository itself where it is bare.
        variables: Environment variables for git, beside the usual ones.
    """

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        *arguments: str | Path,
        data: bytes = b"",
        accept: Collection[int] = (0,),
        variables: Mapping[str, str] | None = None,
        timeout: float | None = 600.0,
    ) -> bytes:
        """Run a command and return its output.

        Raises:
            GitFailed: Its exit code is not one of `accept`.
            EnvironmentFault: There is no git, or it does not answer.
        """
        result = process.pipe(
            ["git", *_QUIET, *arguments],
            cwd=self.folder,
            data=data,
            variables={**_VARIABLES, **self.variables, **(variables or {})},
            timeout=timeout,
        )
        if result.returncode not in accept:
            raise GitFailed(f"git {_verb(arguments)}: {_reason(result.stderr)}")
        return result.stdout

    def text(self, *arguments: str | Path, data: bytes = b"", variables: Mapping[str, str] | None = None) -> str:
        """Run a command and return what it printed, without surrounding blanks."""
        return self.run(*arguments, data=data, variables=variables).decode("utf-8", "surrogateescape").strip()

    def try_text(self, *arguments: str | Path) -> str | None:
        """Run a command and return what it printed, or None where it failed."""
        try:
            return self.text(*arguments)
        except GitFailed:
            return None

    def entries(self, tree: str) -> dict[str, Entry]:
        """Return the files of a tree by path; submodules are entries too."""
        found = {}
        for line in self.run("ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0"):
            if line:
                head, _, path = line.partition(b"\t")
                mode, _, sha = head.decode().split(" ")
                found[path.decode("utf-8", "surrogateescape")] = Entry(mode, sha)
        return found

    def changed_tree(self, tree: str, changes: Mapping[str, Entry | None], index: Path) -> str:
        """Return a tree like `tree` with entries replaced; None takes one out. `index` is a file to work in."""
        if not changes:
            return tree
        variables = {"GIT_INDEX_FILE": str(index)}
        index.unlink(missing_ok=True)
        lines = []
        for path, entry in sorted(changes.items(), key=lambda item: item[1] is not None):
            raw = path.encode("utf-8", "surrogateescape")
            head = f"{entry.mode} {entry.sha}\t" if entry else f"0 {'0' * 40}\t"
            lines.append(head.encode() + raw + b"\0")
        self.run("read-tree", tree, variables=variables)
        self.run("update-index", "-z", "--index-info", data=b"".join(lines), variables=variables)
        return self.text("write-tree", variables=variables)

    def folder_tree(self, folder: Path, index: Path) -> str:
        """Store the files of a folder, ignored ones too, and return their tree."""
        index.unlink(missing_ok=True)
        variables = {"GIT_INDEX_FILE": str(index)}
        # Seen from inside the folder, or git would look for it in the repository's own.
        self.run("-c", "core.autocrlf=false", f"--work-tree={folder}", "add", "--all", "--force", variables=variables)
        return self.text("write-tree", variables=variables)

    def store(self, content: bytes) -> str:
        """Store a content as it is and return its hash."""
        return self.text("hash-object", "-w", "--stdin", "--no-filters", data=content)

    def content(self, sha: str) -> bytes:
        """Return a stored content."""
        return self.run("cat-file", "blob", sha)

    def anonymous_commit(self, tree: str, parents: Sequence[str] = ()) -> str:
        """Make a commit that nobody will see, equal for equal trees."""
        options = [part for parent in parents for part in ("-p", parent)]
        return self.text("commit-tree", tree, *options, "-m", "tree", variables=_NOBODY)

    def absolute_git_path(self, name: str) -> Path:
        """Return where the repository keeps a file or folder of its own."""
        return (self.folder / self.text("rev-parse", "--git-path", name)).absolute()


def identity(repository: Repository) -> dict[str, str]:
    """Return variables that name an author where the user has set none."""
    if repository.try_text("var", "GIT_AUTHOR_IDENT") and repository.try_text("config", "user.email"):
        return {}
    return {key: value for key, value in _NOBODY.items() if not key.endswith("DATE")}


@functools.cache
def require_version() -> None:
    """Check that git is there and new enough.

    Raises:
        EnvironmentFault: It is not.
    """
    printed = process.capture(["git", "version"]).stdout.split()
    numbers = printed[2].split(".") if len(printed) > 2 else []
    if tuple(int(part) for part in numbers[:2] if part.isdigit()) < OLDEST:
        wanted = ".".join(str(part) for part in OLDEST)
        raise EnvironmentFault(f"git {'.'.join(numbers)} is too old", hint=f"install git {wanted} or newer")


def _verb(arguments: Sequence[str | Path]) -> str:
    words = [str(part) for part in arguments]
    return next((word for word in words if word[:1] != "-" and "=" not in word), "")


def _reason(errors: bytes) -> str:
    lines = [line.strip() for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "!"))]
    return "; ".join((fatal or lines)[-2:]) or "failed"
