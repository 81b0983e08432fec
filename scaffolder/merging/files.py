"""Merges one file: by line as git does, and by key where lines would conflict and the file has keys."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scaffolder.merging.conflicts import Mode
from scaffolder.merging.jsontext import is_sound_json, merge_json
from scaffolder.merging.tomltext import is_sound_toml, merge_toml

if TYPE_CHECKING:
    from scaffolder.git import Repository

_KeyMerge = Callable[..., tuple[str | None, list[str]]]
_FORMATS: dict[str, tuple[_KeyMerge, Callable[[str], bool]]] = {
    ".json": (merge_json, is_sound_json),
    ".toml": (merge_toml, is_sound_toml),
}
_SIDE = {Mode.OURS: "ours", Mode.REJ: "ours", Mode.THEIRS: "theirs"}


@dataclass(frozen=True, slots=True)
class FileMerge:
    """The outcome for one file.

    Attributes:
        content: What the file becomes; the user's own where the conflict is not settled.
        conflict: `content`, `keys` or `binary`; None where everything went together.
        hunks: Places in conflict.
        keys: Keys in conflict.
        rejected: What goes into a `.rej` file.
    """

    content: bytes
    conflict: str | None = None
    hunks: int = 0
    keys: tuple[str, ...] = ()
    rejected: bytes = b""


def merge_file(
    repository: Repository, path: str, base: bytes | None, ours: bytes, theirs: bytes, mode: Mode
) -> FileMerge:
    """Merge one file's three contents; `base` is None where both sides added it."""
    if b"\0" in (base or b"") + ours + theirs:
        return FileMerge(theirs if mode is Mode.THEIRS else ours, "binary", 1)
    windows = _windows(ours)
    if base is not None and _windows(base) == _windows(theirs) != windows:
        plain = merge_file(repository, path, _unix(base), _unix(ours), _unix(theirs), mode)
        if not windows:
            return plain
        content = plain.content.replace(b"\n", b"\r\n")
        return FileMerge(content, plain.conflict, plain.hunks, plain.keys, plain.rejected)
    text, hunks = _by_line(repository, base or b"", ours, theirs)
    if not hunks and is_sound(path, text):
        return FileMerge(text)
    found, keys = _by_key(path, base, ours, theirs, "")
    if found is not None:
        return FileMerge(found)
    return _unsettled(repository, path, (base, ours, theirs), (text, max(hunks, 1), keys), mode)


def is_sound(path: str, content: bytes) -> bool:
    """Whether a content is what its name says; true for formats that are not known here."""
    known = _FORMATS.get(Path(path).suffix)
    if known is None:
        return True
    try:
        return known[1](content.decode("utf-8"))
    except UnicodeDecodeError:
        return False


def _unsettled(
    repository: Repository,
    path: str,
    sides: tuple[bytes | None, bytes, bytes],
    found: tuple[bytes, int, list[str]],
    mode: Mode,
) -> FileMerge:
    _base, ours, theirs = sides
    marked, hunks, keys = found
    kind = "keys" if keys else "content"
    if mode is Mode.STOP:
        return FileMerge(ours, kind, hunks, tuple(keys))
    if mode is Mode.INLINE:
        content = marked if b"<<<<<<<" in marked else _whole(ours, theirs)
        return FileMerge(content, kind, hunks, tuple(keys))
    content = _sided(repository, path, sides, _SIDE[mode])
    rejected = b""
    if mode is Mode.REJ:
        wanted = _sided(repository, path, sides, "theirs")
        rejected = _difference(path, content, wanted)
    return FileMerge(content, kind, hunks, tuple(keys), rejected)


def _sided(repository: Repository, path: str, sides: tuple[bytes | None, bytes, bytes], side: str) -> bytes:
    base, ours, theirs = sides
    found, _ = _by_key(path, base, ours, theirs, side)
    if found is not None:
        return found
    text, _ = _by_line(repository, base or b"", ours, theirs, f"--{side}")
    if is_sound(path, text):
        return text
    return ours if side == "ours" else theirs


def _by_line(repository: Repository, base: bytes, ours: bytes, theirs: bytes, *options: str) -> tuple[bytes, int]:
    with tempfile.TemporaryDirectory() as name:
        files = []
        for label, content in (("yours", ours), ("before", base), ("template", theirs)):
            (Path(name) / label).write_bytes(content)
            files += [Path(name) / label]
        labels = [part for file in files for part in ("-L", file.name)]
        found = repository.run("merge-file", "-p", "--diff3", *options, *labels, *files, accept=range(128))
    return found, sum(line.startswith(b"<<<<<<< yours") for line in found.splitlines())


def _by_key(path: str, base: bytes | None, ours: bytes, theirs: bytes, prefer: str) -> tuple[bytes | None, list[str]]:
    known = _FORMATS.get(Path(path).suffix)
    if known is None or base is None:
        return None, []
    try:
        found, keys = known[0](*(side.decode("utf-8") for side in (base, ours, theirs)), prefer=prefer)
    except UnicodeDecodeError:
        return None, []
    return (found.encode() if found is not None else None), keys


def _windows(content: bytes) -> bool:
    return b"\r\n" in content and content.count(b"\r\n") == content.count(b"\n")


def _unix(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


def _whole(ours: bytes, theirs: bytes) -> bytes:
    ends = [side if side.endswith(b"\n") or not side else side + b"\n" for side in (ours, theirs)]
    return b"<<<<<<< yours\n" + ends[0] + b"=======\n" + ends[1] + b">>>>>>> template\n"


def _difference(path: str, content: bytes, wanted: bytes) -> bytes:
    import difflib

    one, other = (side.decode("utf-8", "surrogateescape").splitlines(keepends=True) for side in (content, wanted))
    found = difflib.unified_diff(one, other, f"a/{path}", f"b/{path}")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in found).encode("utf-8", "surrogateescape")
