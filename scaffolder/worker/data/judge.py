"""One row as the training sees it: its conversation, or what is wrong with it."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .shapes import named

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLES = ("system", "user", "assistant", "tool")
_COLUMN = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold the example, as `[dataset]` of the manifest names them."""

    prompt: str | None = "prompt"
    response: str | None = "response"
    messages: str | None = None
    template: str | None = None
    system: str | None = None

    @classmethod
    def of(cls, dataset: dict[str, Any]) -> Columns:
        """Take them from a dataset's section or a configuration's `pre_process_data_config`.

        Where none is named, any column with text will do.
        """
        return cls(
            prompt=dataset.get("prompt_column"),
            response=dataset.get("response_column"),
            messages=dataset.get("messages_column"),
            template=dataset.get("text_template"),
            system=dataset.get("system_prompt"),
        )

    @property
    def wanted(self) -> list[str]:
        """Columns that every row must have."""
        if self.messages:
            return [self.messages]
        prompts = _COLUMN.findall(self.template) if self.template else [self.prompt]
        return list(dict.fromkeys(name for name in (*prompts, self.response) if name))


@dataclass(frozen=True, slots=True)
class Example:
    """A row as a conversation; `texts` are its contents, the last one is what is learnt.

    Text without turns has the one role "text".
    """

    roles: tuple[str, ...]
    texts: tuple[str, ...]


Problem = tuple[str, str]


class Judge:
    """Turns rows into examples.

    Args:
        columns: Where the example stands in a row.
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._wanted = columns.wanted
        self._lead = (("system",), (columns.system,)) if columns.system else ((), ())

    def example(self, row: dict[str, Any], problems: list[Problem]) -> Example | None:
        """Return a row's conversation, or None with the reasons in `problems`, as (kind, message)."""
        problems += _missing(row, self._wanted)
        if problems:
            return None
        columns = self.columns
        if columns.messages:
            found = _conversation(row[columns.messages], columns.messages, problems)
        else:
            found = self._pair(row, problems)
        if found is None or found.roles[0] in ("system", "text"):
            return found
        return Example(self._lead[0] + found.roles, self._lead[1] + found.texts)

    def _pair(self, row: dict[str, Any], problems: list[Problem]) -> Example | None:
        for name in self._wanted:
            value = row[name]
            # A template takes numbers too; what is learnt, or asked without one, is text.
            number = self.columns.template and name != self.columns.response and isinstance(value, int | float)
            if not number:
                problems += _no_text(value, f"column `{name}`")
        if problems:
            return None
        template, response = self.columns.template, self.columns.response
        if not self._wanted:
            return _any_text(row, problems)
        prompt = _COLUMN.sub(lambda m: str(row[m[1]]), template) if template else row[str(self.columns.prompt)]
        if response is None:
            return Example(("text",), (prompt,))
        return Example(("user", "assistant"), (prompt, row[response]))


def _any_text(row: dict[str, Any], problems: list[Problem]) -> Example | None:
    texts = [value for value in row.values() if isinstance(value, str) and value.strip()]
    if not texts:
        problems.append(("no-text", "no column holds text"))
        return None
    return Example(("text",), ("\n".join(texts),))


def _missing(row: dict[str, Any], wanted: list[str]) -> Iterator[Problem]:
    for name in wanted:
        if name not in row:
            yield "missing-column", f"missing column `{name}`; this row has {named(row)}"


def _no_text(value: Any, what: str) -> list[Problem]:
    if not isinstance(value, str):
        return [("no-text", f"{what} is {_type_name(value)}, no text")]
    if not value or value.isspace():
        return [("no-text", f"{what} is empty")]
    return []


def _conversation(messages: Any, column: str, problems: list[Problem]) -> Example | None:
    if not isinstance(messages, list) or not messages:
        what = "an empty list" if messages == [] else f"{_type_name(messages)}, no list of messages"
        problems.append(("no-text", f"column `{column}` is {what}"))
        return None
    for index, message in enumerate(messages, start=1):
        if not _is_sound(message):
            problems += _message_problems(message, index)
    if problems:
        return None
    roles = tuple([message["role"] for message in messages])
    problems += _order_problems(roles)
    if problems and any(kind != "order" for kind, _ in problems):
        return None
    return Example(roles, tuple([message["content"] for message in messages]))


def _is_sound(message: Any) -> bool:
    """Whether a message has nothing wrong, as hardly any has: what is wrong takes longer to find out."""
    if type(message) is not dict or message.get("role") not in ROLES:
        return False
    content = message.get("content")
    return type(content) is str and content != "" and not content.isspace()


def _message_problems(message: Any, index: int) -> list[Problem]:
    if not isinstance(message, dict):
        return [("roles", f"message {index} is {_type_name(message)}, not an object with `role` and `content`")]
    missing = [key for key in ("role", "content") if key not in message]
    if missing:
        return [("roles", f"message {index} has no `{missing[0]}`")]
    if message["role"] not in ROLES:
        return [("roles", f"message {index} has the unknown role {str(message['role'])[:40]!r}")]
    return _no_text(message["content"], f"the content of message {index}")


def _order_problems(roles: tuple[str, ...]) -> Iterator[Problem]:
    if "system" in roles[1:]:
        yield "roles", f"message {roles.index('system', 1) + 1} is a system message; it comes first or not at all"
    if roles[-1] != "assistant":
        yield "roles", f"the last message is of {roles[-1]}, so there is no answer to learn"
    turns = [role for role in roles if role != "system"]
    if turns and turns[0] == "assistant":
        yield "roles", "the assistant speaks before the user"
    for index, (before, after) in enumerate(itertools.pairwise(turns), start=1):
        if before == after != "tool":
            yield "order", f"two messages of {after} in a row (turns {index} and {index + 1})"
            break


def _type_name(value: Any) -> str:
    names = {list: "a list", dict: "an object", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
