"""What an upgrade did, and the ledger that its steps write to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["renamed", "moved", "dropped", "converted"]
Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One change to a configuration.

    Args:
        kind: `renamed` and `moved` keep the value, `converted` changes its form, `dropped` takes it out.
        key: Dotted path before.
        new_key: Dotted path after; empty when dropped.
        reason: Why, for the person who owns the file.
    """

    kind: Kind
    key: str
    new_key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unresolved:
    """An old form that has no equivalent today; it is left as it was."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A configuration in today's form.

    Args:
        config: The configuration; the one handed in is untouched.
        changes: What was done, in order.
        targets: Tables for `[targets.<name>]` of scaffolder.toml, by name.
        unresolved: What a person has to decide.
    """

    config: Table
    changes: tuple[Change, ...]
    targets: dict[str, Table]
    unresolved: tuple[Unresolved, ...] = ()


@dataclass(slots=True)
class Ledger:
    """Collects what the steps of an upgrade do."""

    changes: list[Change] = field(default_factory=list)
    targets: dict[str, Table] = field(default_factory=dict)
    unresolved: list[Unresolved] = field(default_factory=list)

    def note(self, kind: Kind, key: str, new_key: str, reason: str) -> None:
        """Write down a change."""
        self.changes.append(Change(kind, key, new_key, reason))

    def leave(self, key: str, reason: str) -> None:
        """Write down what could not be turned into today's form."""
        self.unresolved.append(Unresolved(key, reason))

    def drop(self, table: Table, key: str, at: str, reason: str) -> None:
        """Take a key out."""
        if key in table:
            del table[key]
            self.note("dropped", join(at, key), "", reason)

    def rename(self, table: Table, old: str, new: str, at: str, reason: str) -> None:
        """Give a key its new name in its old place; a value that the new name has already stays."""
        if old not in table:
            return
        if new in table:
            self.drop(table, old, at, f"`{new}` is given too")
            return
        put(table, {new if key == old else key: value for key, value in table.items()})
        self.note("renamed", join(at, old), join(at, new), reason)

    def lift(self, table: Table, nested: str, at: str, *, inner_wins: bool = False) -> None:
        """Lay the keys under `nested` flat, in the place where it stood."""
        inner = table.get(nested)
        if nested not in table or not isinstance(inner, dict | None):
            return
        laid: Table = {}
        for key, value in table.items():
            if key == nested:
                laid.update({name: part for name, part in (inner or {}).items() if inner_wins or name not in table})
            elif key not in laid:
                laid[key] = value
        put(table, laid)
        both = sorted(key for key in inner or {} if key in table and key in (inner or {}))
        self.note("moved", join(at, nested), at, f"today's form is flat: {', '.join(both) or 'nothing was in it'}")


def join(*parts: str | int) -> str:
    """A dotted path."""
    return ".".join(str(part) for part in parts if part != "")


def put(table: Table, content: Table) -> None:
    """Replace the content of a table in place, and with it the order of its keys."""
    table.clear()
    table.update(content)


def tables(value: object) -> list[tuple[str, Table]]:
    """The tables in a mapping or list, with their names or numbers; anything else is passed over."""
    if isinstance(value, dict):
        return [(str(key), part) for key, part in value.items() if isinstance(part, dict)]
    if isinstance(value, list):
        return [(str(at), part) for at, part in enumerate(value) if isinstance(part, dict)]
    return []


def free_name(wanted: str, section: list[Table]) -> str:
    """A name for a data config that none has yet; Olive takes letters, digits and underscores."""
    plain = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in wanted)
    taken = {item.get("name") for item in section if isinstance(item, dict)}
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    return name
