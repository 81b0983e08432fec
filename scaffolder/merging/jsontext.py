"""Puts the outcome of a merge by key into JSON text, so that comments, order and layout stay the user's."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from scaffolder.merging.keys import MISSING, merge_keys, same
from scaffolder.oliveconfig import parse

if TYPE_CHECKING:
    from scaffolder.merging.keys import Edit, KeyMerge
    from scaffolder.oliveconfig import Node

_AFTER_VALUE = re.compile(r"[ \t]*(,)?[ \t]*(//[^\r\n]*|/\*[^\r\n]*?\*/)?[ \t]*")


def merge_json(base: str, ours: str, theirs: str, *, prefer: str = "") -> tuple[str | None, list[str]]:
    """Merge three JSON texts by key.

    Returns:
        The user's text with the template's changes in it, and the keys in conflict. The text is None where there
        are conflicts, where a text cannot be read, or where the edits would not give the merged value.
    """
    roots = [_root(text) for text in (base, ours, theirs)]
    if None in roots:
        return None, []
    values = [root.data() for root in roots if root]
    found = merge_keys(*values, prefer=prefer)
    if found.conflicts:
        return None, found.conflicts
    text = ours
    for edit in found.edits:
        root = _root(text)
        text = _applied(text, root, edit) if root else text
    return (text, []) if _gives(text, found) else (None, [])


def is_sound_json(text: str) -> bool:
    """Whether a text is JSON, comments allowed, without a key given twice."""
    document = parse(text)
    return document.root is not None and all(problem.severity != "error" for problem in document.problems)


def _root(text: str) -> Node | None:
    document = parse(text)
    twice = any(problem.severity == "error" for problem in document.problems)
    return None if twice or text.startswith("\ufeff") else document.root


def _gives(text: str, found: KeyMerge) -> bool:
    root = _root(text)
    return root is not None and same(root.data(), found.merged)


def _applied(text: str, root: Node, edit: Edit) -> str:
    *parents, last = edit.path
    holder = _find(root, parents)
    if holder is None:
        return text
    old = holder.items[last] if isinstance(last, int) else holder.members.get(last)
    if edit.value is MISSING:
        return _without(text, holder, old) if old else text
    if old is not None:
        start, end = old.span
        return text[:start] + _written(edit.value, _indent_at(text, old.key_start)) + text[end:]
    return _inserted(text, holder, str(last), edit)


def _find(root: Node, path: list[Any]) -> Node | None:
    node: Node | None = root
    for part in path:
        if node is None:
            return None
        node = node.items[part] if isinstance(part, int) and part < len(node.items) else node.members.get(str(part))
    return node


def _inserted(text: str, holder: Node, key: str, edit: Edit) -> str:
    start, end = holder.span
    spread = "\n" in text[start:end] or not holder.members
    siblings = list(holder.members.values())
    inner = _indent_at(text, siblings[0].key_start) if siblings else _indent_at(text, holder.key_start) + "  "
    member = f"{json.dumps(key, ensure_ascii=False)}: {_written(edit.value, inner)}"
    gap = f"\n{inner}" if spread else " "
    if not siblings:
        closing = f"\n{_indent_at(text, holder.key_start)}"
        return text[: start + 1] + gap + member + closing + text[end - 1 :]
    before = holder.members.get(edit.after) if edit.after is not None else None
    if before is None:
        return text[: start + 1] + (gap if spread else "") + member + "," + ("" if spread else " ") + text[start + 1 :]
    return _inserted_after(text, before, member, gap)


def _inserted_after(text: str, before: Node, member: str, gap: str) -> str:
    stop = before.span[1]
    match = _AFTER_VALUE.match(text, stop)
    assert match is not None  # every part of it may be empty
    # A comment on the value's line stays on that line.
    place = len(text[: match.end()].rstrip(" \t")) if "\n" in gap and match[2] else stop
    if match[1] and not match[2]:
        place = match.end(1)
    if match[1]:
        return text[:place] + gap + member + "," + text[place:]
    return text[:stop] + "," + text[stop:place] + gap + member + text[place:]


def _without(text: str, holder: Node, old: Node) -> str:
    members = list(holder.members.values()) or list(holder.items)
    number = members.index(old)
    match = _AFTER_VALUE.match(text, old.span[1])
    stop = match.end() if match else old.span[1]
    line = text.rfind("\n", 0, old.key_start) + 1
    alone = not text[line : old.key_start].strip() and text[stop : stop + 1] in ("", "\r", "\n")
    start = line if alone else old.key_start
    if alone and text[stop : stop + 1]:
        stop = text.index("\n", stop) + 1
    rest = text[stop:]
    if number == len(members) - 1 and number and not (match and match[1]):
        head_end = members[number - 1].span[1]
        comma = text.index(",", head_end)
        return text[:comma] + text[comma + 1 : start] + rest
    return text[:start] + rest


def _written(value: Any, indent: str) -> str:
    lines = json.dumps(value, indent=2, ensure_ascii=False).splitlines()
    return "\n".join([lines[0], *(indent + line for line in lines[1:])])


def _indent_at(text: str, offset: int) -> str:
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    return line[: len(line) - len(line.lstrip())]
