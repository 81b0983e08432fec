"""Which keys a structured file gets when two sides changed it: the rules, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MISSING: Any = object()
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """One change to the user's document.

    Attributes:
        path: Keys, and numbers of list entries.
        value: What to put there, or `MISSING` to take it out.
        after: For a new key, the key of the same object that it follows in the template; None for the first.
    """

    path: Path
    value: Any
    after: str | None = None


@dataclass(slots=True)
class KeyMerge:
    """What a merge by key decided.

    Attributes:
        merged: The document's value.
        edits: Changes that turn the user's document into it.
        conflicts: Dotted keys that both sides changed differently.
    """

    merged: Any
    edits: list[Edit]
    conflicts: list[str]


def merge_keys(base: Any, ours: Any, theirs: Any, *, prefer: str = "") -> KeyMerge:
    """Merge values: `base` is what both sides started from, `ours` the user's, `theirs` the template's.

    Objects are merged key by key, lists of equal length entry by entry; anything else counts as one value.

    Args:
        base: The common value, or MISSING.
        ours: The user's.
        theirs: The template's.
        prefer: `ours` or `theirs` settles conflicts; they are not reported then.
    """
    found = KeyMerge(None, [], [])
    found.merged = _merge(base, ours, theirs, (), found, prefer)
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, where true is not 1 and 1 is not 1.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def _merge(base: Any, ours: Any, theirs: Any, at: Path, found: KeyMerge, prefer: str) -> Any:
    if same(base, theirs) or same(ours, theirs):
        return ours
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return _objects(base if isinstance(base, dict) else {}, ours, theirs, at, found, prefer)
    if _lists_of_one_length(base, ours, theirs):
        return [_merge(base[i], ours[i], theirs[i], (*at, i), found, prefer) for i in range(len(ours))]
    if same(base, ours) or prefer == "theirs":
        found.edits.append(Edit(at, theirs))
        return theirs
    if not prefer:
        found.conflicts.append(".".join(str(part) for part in at))
    return ours


def _objects(base: Any, ours: Any, theirs: Any, at: Path, found: KeyMerge, prefer: str) -> Any:
    merged = dict(ours)
    before: str | None = None
    for key in theirs:
        if key in ours or key in base:
            _shared(key, base, ours, theirs, merged, at, found, prefer)
        else:
            merged[key] = theirs[key]
            found.edits.append(Edit((*at, key), theirs[key], before))
        if key in merged:
            before = key
    for key in [key for key in base if key in ours and key not in theirs]:
        _shared(key, base, ours, theirs, merged, at, found, prefer)
    return merged


def _shared(key: str, base: Any, ours: Any, theirs: Any, merged: Any, at: Path, found: KeyMerge, prefer: str) -> None:
    """Settle a key that the user has, or had."""
    b, o, t = (side.get(key, MISSING) for side in (base, ours, theirs))
    here = (*at, key)
    if o is MISSING or t is MISSING:
        # One side took it out: that holds unless the other changed it.
        if o is MISSING and not same(b, t):
            _settle(here, t, merged, key, found, prefer)
        elif t is MISSING and (same(b, o) or prefer == "theirs"):
            del merged[key]
            found.edits.append(Edit(here, MISSING))
        elif t is MISSING and not prefer:
            found.conflicts.append(".".join(str(part) for part in here))
        return
    merged[key] = _merge(b, o, t, here, found, prefer)


def _settle(here: Path, theirs: Any, merged: Any, key: str, found: KeyMerge, prefer: str) -> None:
    if prefer == "theirs":
        merged[key] = theirs
        found.edits.append(Edit(here, theirs))
    elif not prefer:
        found.conflicts.append(".".join(str(part) for part in here))


def _lists_of_one_length(*values: Any) -> bool:
    return all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1
