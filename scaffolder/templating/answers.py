"""The answers file of a project: what Copier recorded of its template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder.errors import ConfigError, UsageError

if TYPE_CHECKING:
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
