"""The common shapes of examples, recognised by their columns and turned into two: conversation or pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_ROLES = {
    "human": "user", "user": "user", "prompter": "user", "gpt": "assistant", "assistant": "assistant",
    "chatgpt": "assistant", "bard": "assistant", "model": "assistant", "bot": "assistant", "bing": "assistant",
    "system": "system", "tool": "tool", "function": "tool", "observation": "tool",
}  # fmt: skip
# Columns of a pair as public data sets name them, in the order in which they are looked for.
_PROMPTS = ("prompt", "question", "query", "input", "problem", "instruction", "source", "context")
_RESPONSES = ("response", "completion", "answer", "output", "solution", "target", "chosen", "answers")
_MESSAGES = ("messages", "conversations", "conversation", "dialog", "turns")
_TEXTS = ("text", "content", "document")


@dataclass(frozen=True, slots=True)
class Shape:
    """A recognised shape.

    Attributes:
        name: "chat", "sharegpt", "alpaca", "instruction" or "text".
        told: Which columns it stands on, for people.
        columns: What the rows hold afterwards.
        convert: A row to the same columns in every shape; raises ValueError with the reason where it cannot.
    """

    name: str
    told: str
    columns: tuple[str, ...]
    convert: Callable[[dict[str, Any]], dict[str, Any]]


def recognise(row: dict[str, Any], messages: str | None = None) -> Shape | None:
    """Return the shape that a row has, or None; `messages` names the one column to look for messages in."""
    for key in [messages] if messages else _MESSAGES:
        turns = row.get(key)
        if isinstance(turns, list) and turns and isinstance(turns[0], dict):
            names = ("role", "content") if "role" in turns[0] else ("from", "value")
            if names[0] in turns[0]:
                return chat(key, names)
    if messages:
        return None
    if {"instruction", "output"} <= row.keys():
        return Shape("alpaca", "`instruction`, `input`, `output`", ("prompt", "response"), _alpaca)
    prompt = next((name for name in _PROMPTS if isinstance(row.get(name), str)), None)
    response = next((name for name in _RESPONSES if isinstance(row.get(name), str)), None)
    if prompt and response:
        return pair(prompt, response)
    text = next((name for name in _TEXTS if isinstance(row.get(name), str)), None)
    return plain(text) if text else None


def pair(prompt: str, response: str) -> Shape:
    """Return the shape of two named columns."""

    def convert(row: dict[str, Any]) -> dict[str, Any]:
        return {"prompt": _text(row, prompt), "response": _text(row, response)}

    return Shape("instruction", f"`{prompt}`, `{response}`", ("prompt", "response"), convert)


def chat(column: str, names: tuple[str, str] = ("role", "content")) -> Shape:
    """Return the shape of one column of messages, each with its speaker and text under `names`."""

    def convert(row: dict[str, Any]) -> dict[str, Any]:
        return _chat(row, column, names)

    return Shape("chat" if names[0] == "role" else "sharegpt", f"`{column}`", ("messages",), convert)


def plain(column: str) -> Shape:
    """Return the shape of one named column of plain text."""
    return Shape("text", f"`{column}`", ("text",), lambda row: {"text": _text(row, column)})


def named(row: dict[str, Any]) -> str:
    """Return the names of a row's columns, for people."""
    return ", ".join(f"`{key[:40]}`" for key in list(row)[:12]) or "none"


def _text(row: dict[str, Any], column: str) -> str:
    if column not in row:
        raise ValueError(f"missing column `{column}`; this row has {named(row)}")
    if not isinstance(row[column], str):
        raise ValueError(f"column `{column}` is no text")
    return str(row[column])


def _alpaca(row: dict[str, Any]) -> dict[str, Any]:
    """Instruction and input become one question, a blank line between them, as Alpaca's own template has it."""
    prompt = _text(row, "instruction")
    more = row.get("input")
    if isinstance(more, str) and more.strip():
        prompt = f"{prompt}\n\n{more}"
    return {"prompt": prompt, "response": _text(row, "output")}


def _chat(row: dict[str, Any], column: str, names: Sequence[str]) -> dict[str, Any]:
    turns = row.get(column)
    if not isinstance(turns, list) or not turns:
        raise ValueError(f"column `{column}` holds no messages")
    messages = [_message(turn, names) for turn in turns]
    lead = row.get("system")
    if isinstance(lead, str) and lead.strip() and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": lead})
    return {"messages": messages}


def _message(turn: Any, names: Sequence[str]) -> dict[str, str]:
    if not isinstance(turn, dict) or not all(name in turn for name in names):
        raise ValueError(f"a message has no `{names[0]}` and `{names[1]}`")
    role, content = _ROLES.get(str(turn[names[0]]).lower()), turn[names[1]]
    if role is None:
        raise ValueError(f"unknown role {str(turn[names[0]])[:40]!r}")
    if not isinstance(content, str):
        raise ValueError(f"the content of a message of {role} is no text")
    return {"role": role, "content": content}
