"""Questions from files and pipes: lines of text, or JSON Lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from scaffolder.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Message = dict[str, str]


def read_prompts(lines: Iterable[str], *, columns: Sequence[str], shown_as: str) -> list[str | list[Message]]:
    """Read questions, one a line, in order; blank lines do not count.

    A line that begins with a brace is JSON: `{"messages": […]}` is a whole conversation, otherwise the column of
    questions or `prompt` holds the question; where several columns make it up, the line itself is the question.
    Every other line is the question itself.

    Args:
        lines: The lines.
        columns: The data set's columns of questions.
        shown_as: How messages name the file.

    Raises:
        ConfigError: There is no question, or lines are damaged; all of them are named.
    """
    found: list[str | list[Message]] = []
    problems = []
    for number, line in enumerate(lines, start=1):
        text = line.strip().removeprefix("\ufeff")
        if not text:
            continue
        try:
            found.append(_read(text, columns) if text.startswith("{") else text)
        except ValueError as error:
            problems.append(f"{shown_as}:{number}: {error}")
    if problems:
        example = json.dumps(dict.fromkeys(columns, "…"), ensure_ascii=False)
        raise ConfigError("\n".join(problems), hint=f'{example} or {{"messages": […]}}, one a line')
    if not found:
        raise ConfigError(f"{shown_as} holds no question", hint="one a line")
    return found


def _read(line: str, columns: Sequence[str]) -> str | list[Message]:
    row: Any = json.loads(line)
    if "messages" in row:
        return _conversation(row["messages"])
    if len(columns) > 1 and all(name in row for name in columns):
        return line
    for name in dict.fromkeys((*columns, "prompt")) if len(columns) == 1 else ():
        if name in row:
            return _text(name, row[name])
    missing = ", ".join(f"`{name}`" for name in columns if name not in row) or f"`{columns[0]}`"
    raise ValueError(f"no column {missing}; this row has {', '.join(f'`{key}`' for key in row) or 'none'}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"`{name}` holds no text")
    return value


def _conversation(messages: Any) -> list[Message]:
    if not isinstance(messages, list) or not all(
        isinstance(message, dict) and isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
        for message in messages
    ):
        raise ValueError("`messages` is a list of objects with `role` and `content`")
    # A training example ends with the answer that the model is to find.
    asked = messages[:-1] if messages and messages[-1]["role"] == "assistant" else messages
    if not asked or asked[-1]["role"] != "user":
        raise ValueError("a conversation ends with a question of the role `user`")
    return [{"role": message["role"], "content": message["content"]} for message in asked]
