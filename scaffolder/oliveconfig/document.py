"""What a read configuration is: values that know where they stand, and the problems found in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

type_names = {"object": "an object", "array": "a list", "string": "a string", "integer": "a whole number"}
type_names |= {"number": "a number", "boolean": "true or false", "null": "null"}

Scalar = bool | int | float | str | None
Json = Scalar | list["Json"] | dict[str, "Json"]
Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or surely not meant.

    Args:
        file: The file, as its reader was given it.
        line: Line, from 1.
        column: Column, from 1.
        key: Dotted path of the key, list entries by number; empty for the whole file.
        message: What is wrong; no full stop.
        hint: The next step, or empty.
        severity: An error stops a run; a warning is shown.
    """

    file: str
    line: int
    column: int
    key: str
    message: str
    hint: str = ""
    severity: Severity = "error"


def describe(problem: Problem) -> str:
    """Return the problem as one line that editors and terminals can follow: file:line:column: message."""
    return f"{problem.file}:{problem.line}:{problem.column}: {problem.message}"


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the configuration and its place in the text.

    Args:
        kind: JSON type; `integer` and `number` are told apart.
        value: The value itself where it is no container.
        line: Line of the value, from 1.
        column: Column of the value, from 1.
        path: Dotted path as the author wrote it.
        key_line: Line of the key that holds the value; the value's own in a list.
        key_column: Column of that key.
        members: Values by key, for an object.
        items: Values in order, for a list.
        span: Offsets of the value's first character and of the one after its last.
        key_start: Offset of the key's first character; the value's own in a list.
    """

    kind: str
    value: Scalar
    line: int
    column: int
    path: str
    key_line: int
    key_column: int
    members: dict[str, Node] = field(default_factory=dict)
    items: tuple[Node, ...] = ()
    span: tuple[int, int] = (0, 0)
    key_start: int = 0

    @property
    def text(self) -> str:
        """The value where it is a string, else an empty one."""
        return self.value if isinstance(self.value, str) else ""

    def get(self, *keys: str) -> Node | None:
        """The value under a chain of keys, or None where a link is missing."""
        node: Node | None = self
        for key in keys:
            node = node.members.get(key) if node is not None else None
        return node

    def data(self) -> Json:
        """The plain value, without places."""
        if self.kind == "object":
            return {key: node.data() for key, node in self.members.items()}
        if self.kind == "array":
            return [node.data() for node in self.items]
        return self.value


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration as read: its tree, and what its text alone got wrong.

    `root` is None when the text could not be read to its end.
    """

    file: str
    root: Node | None
    problems: tuple[Problem, ...] = ()

    def data(self) -> dict[str, Json]:
        """The configuration as plain values; empty when it has no object at its top."""
        value = self.root.data() if self.root else None
        return value if isinstance(value, dict) else {}
