"""Checks a tree against the schema, and words what does not fit.

It understands the part of JSON schema that the generator writes. Two liberties follow Olive: a `const`
compares without case, since it only ever names a type, and so does an `enum` marked `x-any-case`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scaffolder.oliveconfig.document import Node, Problem, Severity, type_names
from scaffolder.oliveconfig.explain import OLD_PASSES, OLD_SYSTEMS, Where, nearest, old_key, part_of
from scaffolder.oliveconfig.schema import Schema, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

ALL_KINDS = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
# How like a known key another must be to be taken for its slip, in a closed part and in an open one.
SLIP, SURELY_A_SLIP = 0.6, 0.85


@dataclass(slots=True)
class Walk:
    """One pass over a tree.

    Args:
        file: Name of the file, for problems.
        problems: What was found.
        references: Values that name something elsewhere, with the section that must hold it.
        paths: Values that are paths, with what they must lead to.
    """

    file: str
    problems: list[Problem] = field(default_factory=list)
    references: list[tuple[str, Node]] = field(default_factory=list)
    paths: list[tuple[str, Node]] = field(default_factory=list)

    def check(self, node: Node, part: Schema, where: Where = ()) -> None:
        """Compare a value with a part of the schema, and everything below it."""
        self._note_uses(node, part)
        if "$ref" in part:
            self.check(node, resolve(part), where)
        if "anyOf" in part:
            self._any_of(node, part["anyOf"], where)
        if not self._fits_kind(node, part):
            return
        self._scalar(node, part, where)
        if node.kind == "object":
            self._object(node, part, where)
        elif node.kind == "array":
            self._array(node, part, where)
        for rule in part.get("allOf", ()):
            self.check(node, rule, where)
        if "if" in part:
            chosen = "then" if fits(node, part["if"]) else "else"
            self.check(node, part.get(chosen, {}), where)

    def report(
        self, node: Node, message: str, *, hint: str = "", at_key: bool = False, severity: Severity = "error"
    ) -> None:
        """Add a problem, unless the same was found already."""
        line, column = (node.key_line, node.key_column) if at_key else (node.line, node.column)
        problem = Problem(self.file, line, column, node.path, message, hint, severity)
        if problem not in self.problems:
            self.problems.append(problem)

    @property
    def upgrade_hint(self) -> str:
        """The command that turns old keys into today's."""
        return f"scaffolder upgrade-config {self.file}".rstrip()

    def _note_uses(self, node: Node, part: Schema) -> None:
        if node.kind != "string":
            return
        if "x-ref" in part:
            self.references.append((part["x-ref"], node))
        if "x-path" in part:
            self.paths.append((part["x-path"], node))

    def _fits_kind(self, node: Node, part: Schema) -> bool:
        if "type" not in part or fits_kind(node, kinds_of({"type": part["type"]})):
            return True
        self.report(node, f"expected {_kinds_in_words(kinds_of(part))}, found {shown(node)}")
        return False

    def _any_of(self, node: Node, options: list[Schema], where: Where) -> None:
        # A value to search for is only meant when it is written as one.
        meant = [option for option in options if not _is_search(option) or fits(node, resolve(option))]
        apt = [option for option in meant if fits_kind(node, kinds_of(option))]
        if not apt:
            kinds = frozenset[str]().union(*(kinds_of(option) for option in meant))
            self.report(node, f"expected {_kinds_in_words(kinds)}, found {shown(node)}")
            return
        trials = [(len(trial(node, option, where).problems), at) for at, option in enumerate(apt)]
        self.check(node, apt[min(trials)[1]], where)

    def _scalar(self, node: Node, part: Schema, where: Where) -> None:
        if "enum" in part and not _listed(node, part):
            self._not_listed(node, part["enum"], where)
        if "const" in part and not _same(node.value, part["const"]):
            self.report(node, f'expected "{part["const"]}", found {shown(node)}')
        if "not" in part and "properties" not in part["not"] and fits(node, part["not"]):
            self.report(node, f"{shown(node)} is not allowed here" if "const" in part["not"] else "not allowed here")
        if node.kind in ("integer", "number"):
            self._range(node, part)
        elif node.kind == "string" and "pattern" in part and not re.search(part["pattern"], node.text):
            self._pattern(node, part["pattern"])

    def _pattern(self, node: Node, pattern: str) -> None:
        if pattern.endswith("ExecutionProvider$"):
            self.report(node, f"{shown(node)} is no execution provider; its name ends with ExecutionProvider")
        else:
            self.report(node, f"{shown(node)} may only hold letters, digits and underscores")

    def _not_listed(self, node: Node, listed: list[Any], where: Where) -> None:
        words = [str(word) for word in listed if isinstance(word, str)]
        part = part_of(where[:-1]) if where and where[-1] == "type" else ""
        if part == "system" and node.text.casefold() in OLD_SYSTEMS:
            advice = "use LocalSystem and a target in scaffolder.toml"
            message = f"system {shown(node)} was removed from Olive; {advice}"
            self.report(node, message, hint=self.upgrade_hint)
        elif part == "pass" and node.text.casefold() in OLD_PASSES:
            message = f"pass {shown(node)} is called {OLD_PASSES[node.text.casefold()]} today"
            self.report(node, message, hint=self.upgrade_hint)
        else:
            near = nearest(node.text, words) if node.kind == "string" else ""
            kind = f"{part} type " if part else ""
            choice = f"did you mean `{near}`?" if near else _listing(listed)
            self.report(
                node,
                f"unknown {kind}{shown(node)}; {choice}" if part else f"unknown value {shown(node)}; {choice}",
            )

    def _range(self, node: Node, part: Schema) -> None:
        value = node.value
        if not isinstance(value, (int, float)):
            return
        rules: tuple[tuple[str, Callable[[float], bool], str], ...] = (
            ("minimum", lambda limit: value >= limit, "at least"),
            ("exclusiveMinimum", lambda limit: value > limit, "greater than"),
            ("maximum", lambda limit: value <= limit, "at most"),
            ("exclusiveMaximum", lambda limit: value < limit, "less than"),
        )
        for rule, holds, words in rules:
            if rule in part and not holds(part[rule]):
                self.report(node, f"must be {words} {part[rule]}, is {value}")

    def _object(self, node: Node, part: Schema, where: Where) -> None:
        properties: dict[str, Schema] = part.get("properties", {})
        others = part.get("additionalProperties", True)
        for key in part.get("required", ()):
            if key not in node.members:
                self._missing(node, key, part)
        for key, value in node.members.items():
            if key in properties:
                self._deprecated(value, key, properties[key])
                self.check(value, properties[key], (*where, key))
            elif isinstance(others, dict):
                self.check(value, others, (*where, key))
            elif "additionalProperties" in part:
                today = {name for name, rule in properties.items() if not rule.get("deprecated")}
                free = today - set(node.members)
                near = nearest(key, free, cutoff=SLIP if others is False else SURELY_A_SLIP)
                self._unknown(value, near, part, (*where, key))

    def _missing(self, node: Node, key: str, part: Schema) -> None:
        owner = f" in {part['title']}" if "title" in part else ""
        properties = part.get("properties", {})
        slip = nearest(key, set(node.members) - set(properties), cutoff=0.75)
        if slip and key in properties and "additionalProperties" not in part:
            message = f"unknown key `{slip}`{owner}; did you mean `{key}`?"
            self.report(node.members[slip], message, at_key=True)
        else:
            self.report(node, f"missing key `{key}`{owner}", at_key=True)

    def _deprecated(self, node: Node, key: str, part: Schema) -> None:
        if part.get("deprecated"):
            note = str(part.get("deprecationMessage", "of old versions")).rstrip(".")
            self.report(node, f"`{key}`: {note}", hint=self.upgrade_hint, at_key=True, severity="warning")

    def _unknown(self, node: Node, near: str, part: Schema, where: Where) -> None:
        key = where[-1]
        closed = part["additionalProperties"] is False
        if closed and (old := old_key(where[:-1], key)):
            self.report(node, f"`{key}` {old}", hint=self.upgrade_hint, at_key=True)
            return
        if closed:
            choice = f"; did you mean `{near}`?" if near else ""
            self.report(node, f"unknown key `{key}` in {part['title']}{choice}", at_key=True)
        elif near:
            self.report(node, f"`{key}` looks like a slip of `{near}`", at_key=True, severity="warning")

    def _array(self, node: Node, part: Schema, where: Where) -> None:
        most = part.get("maxItems")
        if most is not None and len(node.items) > most:
            self.report(node, f"takes at most {most} {'entry' if most == 1 else 'entries'}, has {len(node.items)}")
        for at, item in enumerate(node.items):
            self.check(item, part.get("items", {}), (*where, str(at)))


def trial(node: Node, part: Schema, where: Where = ()) -> Walk:
    """Check on the side, to see what would be found."""
    walk = Walk(file="")
    walk.check(node, part, where)
    return walk


def fits(node: Node, part: Schema) -> bool:
    """Whether a value holds to a condition of the schema."""
    if "not" in part:
        return not fits(node, part["not"])
    if "anyOf" in part and not any(fits(node, option) for option in part["anyOf"]):
        return False
    if not all(fits(node, rule) for rule in part.get("allOf", ())):
        return False
    if "type" in part and not fits_kind(node, kinds_of({"type": part["type"]})):
        return False
    if "const" in part and not _same(node.value, part["const"]):
        return False
    if "enum" in part and not _listed(node, part):
        return False
    if any(key not in node.members for key in part.get("required", ())):
        return False
    return all(fits(node.members[key], rule) for key, rule in part.get("properties", {}).items() if key in node.members)


def kinds_of(part: Schema) -> frozenset[str]:
    """The JSON types that a part of the schema can take."""
    part = resolve(part)
    if "type" in part:
        declared = part["type"]
        return frozenset(declared if isinstance(declared, list) else [declared])
    if "enum" in part:
        return frozenset(_kind_of_value(word) for word in part["enum"])
    if "anyOf" in part:
        return frozenset[str]().union(*(kinds_of(option) for option in part["anyOf"]))
    return ALL_KINDS


def fits_kind(node: Node, kinds: frozenset[str]) -> bool:
    """Whether a value is of one of the types; whole numbers serve as numbers, and 4.0 as a whole number."""
    if node.kind == "integer":
        return bool(kinds & {"integer", "number"})
    if node.kind == "number" and "integer" in kinds:
        return "number" in kinds or (isinstance(node.value, float) and node.value.is_integer())
    return node.kind in kinds


def shown(node: Node) -> str:
    """A value as a message shows it."""
    if node.kind == "string":
        text = node.text if len(node.text) <= 40 else node.text[:37] + "…"
        return f'"{text}"'
    if node.kind in ("object", "array"):
        return type_names[node.kind]
    return {"True": "true", "False": "false", "None": "null"}.get(str(node.value), str(node.value))


def _kind_of_value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string"


def _same(value: object, wanted: object) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        return value.casefold() == wanted.casefold()
    return type(value) is type(wanted) and value == wanted


def _listed(node: Node, part: Schema) -> bool:
    if part.get("x-any-case"):
        return any(_same(node.value, word) for word in part["enum"])
    return any(type(node.value) is type(word) and node.value == word for word in part["enum"])


def _listing(words: list[Any]) -> str:
    spoken = [f"`{word}`" if isinstance(word, str) else str(word) for word in words if word is not None]
    return f"expected one of {', '.join(spoken)}" if len(spoken) <= 12 else "there is none like it"


def _is_search(part: Schema) -> bool:
    return bool(part.get("$ref") == "#/$defs/search")


def _kinds_in_words(kinds: frozenset[str]) -> str:
    kept = [kind for kind in type_names if kind in kinds and kind != "null"]
    if "number" in kept and "integer" in kept:
        kept.remove("integer")
    return " or ".join(type_names[kind] for kind in kept) or "null"
