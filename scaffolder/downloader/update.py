"""What changed between two states of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scaffolder.hub import RemoteFile
    from scaffolder.modellock import LockedFile, LockedModel


@dataclass(frozen=True, slots=True)
class Change:
    """One file that is other than before; sizes in bytes, None where it is not."""

    path: str
    before: int | None
    after: int | None


def changes(old: LockedModel, new: Mapping[str, RemoteFile] | Mapping[str, LockedFile]) -> tuple[Change, ...]:
    """Return the files that differ, in the order of their paths."""
    found = []
    for path in sorted({*old.files, *new}):
        before, after = old.files.get(path), new.get(path)
        if before is None or after is None or _differ(before, after):
            found.append(Change(path, before.size if before else None, after.size if after else None))
    return tuple(found)


def _differ(before: LockedFile, after: RemoteFile | LockedFile) -> bool:
    if after.sha256 is not None:
        return before.sha256 != after.sha256
    # A file that the lock knows without git's hash moved out of large file storage, or came another way.
    return before.blob != after.blob
