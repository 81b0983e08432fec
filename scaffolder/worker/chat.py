"""Conversations as token ids, the same way in training, verification and inference."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .explain import TaskError


def read_conversations(dataset: dict[str, Any], *, limit: int | None = None) -> list[list[dict[str, str]]]:
    """Read a JSON Lines file of examples as lists of messages.

    Args:
        dataset: `path`, and either `messages_column` or `response_column` with `prompt_column` or
            `text_template`; optionally `system_prompt`.
        limit: Read at most this many rows.
    """
    conversations: list[list[dict[str, str]]] = []
    with Path(dataset["path"]).open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if limit is not None and len(conversations) >= limit:
                break
            if not line.strip():
                continue
            try:
                conversations.append(_messages(json.loads(line), dataset))
            except (ValueError, KeyError, TypeError) as error:
                raise TaskError(f"{dataset['path']}:{number}: not an example: {error}") from error
    return conversations


def _messages(row: dict[str, Any], dataset: dict[str, Any]) -> list[dict[str, str]]:
    if dataset.get("messages_column"):
        messages: list[dict[str, str]] = row[dataset["messages_column"]]
    else:
        messages = [
            {"role": "user", "content": _prompt(row, dataset)},
            {"role": "assistant", "content": row[dataset["response_column"]]},
        ]
    if dataset.get("system_prompt") and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": dataset["system_prompt"]}, *messages]
    return messages


def _prompt(row: dict[str, Any], dataset: dict[str, Any]) -> str:
    """Fill `text_template`'s columns in, as training does; other braces stay as they are."""
    if not dataset.get("text_template"):
        return str(row[dataset["prompt_column"]])
    return re.sub(r"\{(\w+)\}", lambda found: str(row[found[1]]), dataset["text_template"])


def prompt_text(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    """Render `messages` with the chat template, ready for the model's answer."""
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text


def encode(tokenizer: Any, messages: list[dict[str, str]]) -> tuple[list[int], list[int]]:
    """Return the token ids of everything before the last answer, and of that answer with its end token."""
    prompt = prompt_text(tokenizer, messages[:-1])
    whole: str = tokenizer.apply_chat_template(messages, tokenize=False)
    if not whole.startswith(prompt):
        raise TaskError("the chat template does not continue its own generation prompt with the answer")
    answer = whole[len(prompt) :].rstrip("\n")
    return (
        tokenizer.encode(prompt, add_special_tokens=False),
        tokenizer.encode(answer, add_special_tokens=False),
    )
