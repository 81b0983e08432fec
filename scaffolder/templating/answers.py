"""Answers to a template's questions: what Copier recorded of them, and which are refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

ANSWERS_FILE = ".copier-answers.yml"


@dataclass(frozen=True, slots=True)
class Answers:
    """What a project was made from.

    Attributes:
        source: The template as recorded, or None where the project is not connected to one.
        version: The template's version as recorded.
        given: Answers by question.
    """

    source: str | None
    version: str
    given: dict[str, Any]


def read_answers(root: Path) -> Answers:
    """Read a project's answers.

    Raises:
        UsageError: There is no answers file: not a project made from a template.
        ConfigError: It is no YAML, or lacks the version.
    """
    path = root / ANSWERS_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{root} has no {ANSWERS_FILE}: it was not made from a template") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return parse_answers(text, name=str(path))


def parse_answers(text: str, *, name: str = ANSWERS_FILE) -> Answers:
    """Read answers from text.

    Raises:
        ConfigError: It is no YAML, or lacks the version.
    """
    import yaml

    hint = "restore it from an earlier commit: `git log -- .copier-answers.yml`"
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: {' '.join(str(error).split())}", hint=hint) from error
    if not isinstance(found, dict) or not isinstance(found.get("_commit"), str):
        raise ConfigError(f"{name}: key `_commit`, the template's version, is missing", hint=hint)
    source = found.get("_src_path")
    given = {key: value for key, value in found.items() if not str(key).startswith("_")}
    return Answers(source if isinstance(source, str) else None, found["_commit"], given)


def refuse_unasked(answers: Iterable[str], unasked: Mapping[str, str]) -> None:
    """Refuse answers to questions that were not asked: copier renders with them but does not record them.

    Args:
        answers: The questions that were answered.
        unasked: Questions whose condition did not hold, with that condition.

    Raises:
        UsageError: There are such answers.
    """
    lost = [name for name in answers if name in unasked]
    if lost:
        problems = [f"`{name}` is a question only where {unasked[name]}" for name in lost]
        raise UsageError("\n".join(problems), hint="leave it out, or answer what it needs too: -d KEY=VALUE")


def check_answers(answers: Mapping[str, Any], questions: Mapping[str, Any]) -> None:
    """Refuse answers to no question and of another kind: copier cuts 1.5 to 1, and takes any text for true.

    Args:
        answers: By question.
        questions: What the template says of each.

    Raises:
        UsageError: There are such answers; all are named.
    """
    unknown = [name for name in answers if name not in questions]
    problems = [f"unknown question `{name}`" for name in unknown]
    for name, value in answers.items():
        question = questions.get(name, {})
        kind = "" if question.get("multiselect") else str(question.get("type", ""))
        if kind in _KINDS and not _KINDS[kind][1](value):
            problems.append(f"`{name}` takes {_KINDS[kind][0]}, not `{value}`")
    if problems:
        raise UsageError(
            "\n".join(problems), hint=f"the template asks for: {', '.join(_visible(questions))}" if unknown else ""
        )


def _is_whole(value: Any) -> bool:
    return _is_number(value) and float(value).is_integer()


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _is_truth(value: Any) -> bool:
    words = {"y", "yes", "t", "true", "on", "n", "no", "f", "false", "off"}  # copier's own
    return value in (0, 1) or str(value).lower() in words


# What a kind of question takes, in words, and whether a value is that.
_KINDS = {
    "int": ("a whole number", _is_whole),
    "float": ("a number", _is_number),
    "bool": ("true or false", _is_truth),
    "str": ("text", lambda value: isinstance(value, str | int | float)),
}


def _visible(questions: Mapping[str, Any]) -> list[str]:
    return [name for name, question in questions.items() if question.get("when") is not False]
