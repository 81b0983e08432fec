"""Write files into a repository of the hub as one commit, of what differs alone."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder.errors import UsageError
from scaffolder.hub.client import Hub
from scaffolder.hub.failures import our_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scaffolder.hub.client import RemoteFile, Repository


@dataclass(frozen=True, slots=True)
class Change:
    """A file that the commit changes.

    Attributes:
        path: In the repository.
        kind: "added", "changed" or "deleted".
        size: Bytes; 0 for a deleted one.
    """

    path: str
    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class Published:
    """What stands on the hub now.

    Attributes:
        repo: The repository.
        url: Its page.
        commit: The commit that holds the files.
        private: Whether only its owners see it.
        changes: What that commit changed; none where it was there already.
    """

    repo: str
    url: str
    commit: str
    private: bool
    changes: list[Change]


class Uploader(Hub):
    """The hub as a place to write to.

    Large files that the hub holds already, of this repository or from an upload that broke off, are not sent again:
    its client asks by content before it sends.
    """

    def publish(
        self,
        repo: str,
        files: Mapping[str, Path | bytes],
        *,
        message: str,
        owned: Callable[[Callable[[str], bytes]], set[str]],
        public: bool = False,
    ) -> Published:
        """Bring a repository to hold `files`; make it, private, where it is missing.

        Args:
            repo: `organisation/name`.
            files: Content by path in the repository.
            message: Of the commit.
            owned: Given a reader of the repository's files, returns the paths that an earlier upload put there: of
                these, what is not among `files` any more is deleted.
            public: Make the repository public, or write into one that is.

        Raises:
            HubUnreachable: No answer from the hub.
            ScaffolderError: It refused, or the repository changed meanwhile.
            UsageError: The repository is public, and that was not asked for.
        """
        with our_errors(repo, None):
            self._api().create_repo(repo, private=not public, exist_ok=True)
        private = self._private(repo)
        if not private and not public:
            raise UsageError(f"{repo} is public", hint="`--public` uploads there, or name another repository")
        state = self.repository(repo, None)
        changes = _changes(state, files)
        changes += self._deleted(state, files, owned)
        commit = self._commit(state, files, changes, message) if changes else state.commit
        with our_errors(repo, None):
            url = f"{self._api().endpoint}/{repo}"
        return Published(repo, url, commit, private, changes)

    def _private(self, repo: str) -> bool:
        with our_errors(repo, None):
            return bool(self._api().model_info(repo).private)

    def _deleted(
        self, state: Repository, files: Mapping[str, Any], owned: Callable[[Callable[[str], bytes]], set[str]]
    ) -> list[Change]:
        gone = (owned(lambda path: self._read(state, path)) & state.files.keys()) - files.keys()
        return [Change(path, "deleted", 0) for path in sorted(gone)]

    def _read(self, state: Repository, path: str) -> bytes:
        if path not in state.files:
            return b""
        with self.open(state.id, state.commit, path, state.files[path], 0) as (_, pieces):
            return b"".join(pieces)

    def _commit(self, state: Repository, files: Mapping[str, Path | bytes], changes: list[Change], message: str) -> str:
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        disable_progress_bars()  # what is sent is told by the command
        operations = [_operation(change, files) for change in changes]
        title, _, text = message.partition("\n\n")
        with our_errors(state.id, None):
            info = self._api().create_commit(
                state.id, operations, commit_message=title, commit_description=text, parent_commit=state.commit
            )
        return str(info.oid)


def _operation(change: Change, files: Mapping[str, Path | bytes]) -> Any:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    if change.kind == "deleted":
        return CommitOperationDelete(change.path)
    content = files[change.path]
    return CommitOperationAdd(change.path, str(content) if isinstance(content, Path) else content)


def _changes(state: Repository, files: Mapping[str, Path | bytes]) -> list[Change]:
    found = []
    for path, content in sorted(files.items()):
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        there = state.files.get(path)
        if there is None:
            found.append(Change(path, "added", size))
        elif there.size != size or not _same(there, content):
            found.append(Change(path, "changed", size))
    return found


def _same(there: RemoteFile, content: Path | bytes) -> bool:
    """Whether the hub's file has this content: it tells SHA-256 of large files and git's SHA-1 of others."""
    with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as stream:
        if there.sha256 is not None:
            return hashlib.file_digest(stream, "sha256").hexdigest() == there.sha256
        found = hashlib.sha1(f"blob {there.size}\0".encode(), usedforsecurity=False)
        while piece := stream.read(2**20):
            found.update(piece)
    return found.hexdigest() == there.blob
