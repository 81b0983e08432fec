"""Reads JSON as people write it, with comments and trailing commas, and keeps every place.

The standard library's decoder reads strings and numbers; only what lies between them is ours.
No maintained library offered positions together with comments when this was written.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from scaffolder.errors import ConfigError
from scaffolder.oliveconfig.document import Document, Node, Problem, Scalar

if TYPE_CHECKING:
    from pathlib import Path

DEEPEST = 100
_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n\f\v\u00a0\u2028\u2029]*")
_WORDS = {"true": True, "false": False, "null": None}
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_NUMBER = re.compile(r"-?[0-9]")


class _Unreadable(Exception):
    """The text stops being JSON at an offset."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message


def read(path: Path, *, name: str = "") -> Document:
    """Read a configuration from a file.

    Args:
        path: The file.
        name: What to call it in problems; the path as given by default.

    Raises:
        ConfigError: The file is missing, cannot be opened, or is not UTF-8.
    """
    label = name or path.as_posix()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"`{label}` does not exist") from None
    except UnicodeDecodeError:
        raise ConfigError(f"`{label}` is not UTF-8 text", hint=f"save `{label}` as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"`{label}` cannot be read: {error.strerror or error}") from error
    return parse(text, file=label)


def parse(text: str, *, file: str = "") -> Document:
    """Read a configuration from text.

    Syntax is never raised: the document then has no root and says in `problems` where it ends.
    """
    parser = _Parser(text.removeprefix("\ufeff"), file)
    root = None
    try:
        root = parser.document()
    except _Unreadable as error:
        parser.report(error.offset, "", error.message)
    return Document(file=file, root=root, problems=tuple(parser.problems))


class _Parser:
    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.offset = 0
        self.problems: list[Problem] = []
        self.lines = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]
        self.told_of_comments = False

    def place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self.lines, offset)
        return line, offset - self.lines[line - 1] + 1

    def report(self, offset: int, key: str, message: str, *, hint: str = "", warning: bool = False) -> None:
        line, column = self.place(offset)
        severity = "warning" if warning else "error"
        self.problems.append(Problem(self.file, line, column, key, message, hint, severity))  # type: ignore[arg-type]

    def document(self) -> Node:
        root = self.value("", key_at=None, depth=0)
        self.skip()
        if self.offset < len(self.text):
            raise _Unreadable(self.offset, "unexpected text after the end of the configuration")
        return root

    def skip(self) -> None:
        while True:
            match = _BLANK.match(self.text, self.offset)
            self.offset = match.end() if match else self.offset
            if self.text.startswith("//", self.offset):
                self.not_plain(self.offset)
                end = re.compile(r"[\r\n]|\Z").search(self.text, self.offset)
                self.offset = end.start() if end else len(self.text)
            elif self.text.startswith("/*", self.offset):
                self.not_plain(self.offset)
                stop = self.text.find("*/", self.offset + 2)
                if stop < 0:
                    raise _Unreadable(self.offset, "comment is never closed")
                self.offset = stop + 2
            else:
                return

    def not_plain(self, offset: int) -> None:
        if not self.told_of_comments:
            self.told_of_comments = True
            message = "comments and trailing commas are read by scaffolder, not by `olive run`"
            self.report(offset, "", message, warning=True)

    def value(self, path: str, *, key_at: int | None, depth: int) -> Node:
        self.skip()
        start = self.offset
        if depth > DEEPEST:
            raise _Unreadable(start, f"nested deeper than {DEEPEST} levels")
        head = self.text[start : start + 1]
        members: dict[str, Node] = {}
        items: list[Node] = []
        scalar: Scalar = None
        kind = {"{": "object", "[": "array"}.get(head, "")
        if kind == "object":
            members = self.members(path, depth)
        elif kind == "array":
            items = self.items(path, depth)
        else:
            kind, scalar = self.scalar(start)
        line, column = self.place(start)
        key_start = start if key_at is None else key_at
        key_line, key_column = self.place(key_start)
        span = (start, self.offset)
        return Node(kind, scalar, line, column, path, key_line, key_column, members, tuple(items), span, key_start)

    def scalar(self, start: int) -> tuple[str, Scalar]:
        head = self.text[start : start + 1]
        word = _WORD.match(self.text, start)
        if word:
            return self.word(word)
        if head != '"' and not _NUMBER.match(self.text, start):
            raise _Unreadable(start, f"expected a value, found {_shown(head)}")
        try:
            value, self.offset = _DECODER.raw_decode(self.text, start)
        except json.JSONDecodeError as error:
            raise _Unreadable(error.pos, error.msg[:1].lower() + error.msg[1:]) from None
        except ValueError:
            raise _Unreadable(start, "number is too long") from None
        if isinstance(value, str):
            return "string", value
        return ("integer" if isinstance(value, int) else "number"), value

    def word(self, match: re.Match[str]) -> tuple[str, bool | None]:
        word = match.group()
        if word not in _WORDS:
            raise _Unreadable(match.start(), f"`{word}` is no JSON value; write text in double quotes")
        self.offset = match.end()
        return ("null" if word == "null" else "boolean"), _WORDS[word]

    def members(self, path: str, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for at in self.entries("}"):
            if self.text[at : at + 1] != '"':
                raise _Unreadable(at, f"expected a key in double quotes, found {_shown(self.text[at : at + 1])}")
            _, scalar = self.scalar(at)
            key = str(scalar)
            self.skip()
            if self.text[self.offset : self.offset + 1] != ":":
                raise _Unreadable(self.offset, f"expected `:` after key `{key}`")
            self.offset += 1
            below = f"{path}.{key}" if path else key
            node = self.value(below, key_at=at, depth=depth + 1)
            if key in found:
                first = found[key].key_line
                self.report(at, below, f"key `{key}` is given twice, first on line {first}; the last one counts")
            found[key] = node
        return found

    def items(self, path: str, depth: int) -> list[Node]:
        found: list[Node] = []
        for _ in self.entries("]"):
            below = f"{path}.{len(found)}" if path else str(len(found))
            found.append(self.value(below, key_at=None, depth=depth + 1))
        return found

    def entries(self, closing: str) -> _Entries:
        return _Entries(self, closing)


class _Entries:
    """Steps over the entries of a container: yields each one's start, and minds the commas."""

    def __init__(self, parser: _Parser, closing: str) -> None:
        self.parser = parser
        self.closing = closing
        self.opened = parser.offset
        self.started = False

    def __iter__(self) -> _Entries:
        return self

    def __next__(self) -> int:
        parser = self.parser
        if not self.started:
            self.started = True
            parser.offset += 1
            parser.skip()
        elif not self.closes():
            self.comma()
        if self.closes():
            parser.offset += 1
            raise StopIteration
        if parser.offset >= len(parser.text):
            line, _ = parser.place(self.opened)
            raise _Unreadable(parser.offset, f"`{self.closing}` is missing for line {line}")
        return parser.offset

    def closes(self) -> bool:
        self.parser.skip()
        return self.parser.text.startswith(self.closing, self.parser.offset)

    def comma(self) -> None:
        parser = self.parser
        at = parser.offset
        if parser.text[at : at + 1] != ",":
            found = _shown(parser.text[at : at + 1])
            raise _Unreadable(at, f"expected `,` or `{self.closing}`, found {found}")
        parser.offset += 1
        if self.closes():
            parser.not_plain(at)


def _shown(character: str) -> str:
    return f"`{character}`" if character else "the end of the file"
