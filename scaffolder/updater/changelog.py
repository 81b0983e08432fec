"""What a template's changelog says of the versions between two."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEADING = re.compile(r"^## +\[?v?(?P<version>[0-9][^\s\]]*)", re.MULTILINE)
_PART = re.compile(r"^### +(?P<name>.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Notes:
    """What changed in a version, for a project's owner.

    Attributes:
        version: The version.
        lines: Entries, each one line.
    """

    version: str
    lines: tuple[str, ...]


def notes(changelog: str, tags: list[str]) -> tuple[Notes, ...]:
    """Return what a changelog says of some versions, newest first.

    Where a version's entries are split, those under "Template" are taken: the others concern the command.
    """
    heads = list(_HEADING.finditer(changelog))
    ends = [*(head.start() for head in heads), len(changelog)][1:]
    texts = {head["version"]: changelog[head.end() : end] for head, end in zip(heads, ends, strict=True)}
    found = [Notes(tag, _entries(texts.get(tag.removeprefix("v"), ""))) for tag in reversed(tags)]
    return tuple(note for note in found if note.lines)


def _entries(text: str) -> tuple[str, ...]:
    parts = list(_PART.finditer(text))
    for number, part in enumerate(parts):
        if part["name"].lower() == "template":
            stop = parts[number + 1].start() if number + 1 < len(parts) else len(text)
            text = text[part.end() : stop]
            break
    items = re.split(r"^[-*] +", text, flags=re.MULTILINE)[1:]
    return tuple(" ".join(_until_blank(item).split()) for item in items)


def _until_blank(item: str) -> str:
    return re.split(r"\n\s*\n|\n#", item)[0]
