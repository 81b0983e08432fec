"""Quick reading of example files before anything heavy starts: are they there, and what we think they are?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from scaffolder.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHOWN = 10


def check_examples(path: Path, columns: list[str], *, shown_as: str) -> int:
    """Read a JSON Lines file and return its number of examples.

    Args:
        path: The file.
        columns: Columns that every row must have, with text or messages in them.
        shown_as: How messages name the file.

    Raises:
        ConfigError: The file is missing or empty, or rows are no JSON objects or lack a column; the
            first ten problems are named with their lines.
    """
    if not path.is_file():
        raise ConfigError(f"missing dataset {shown_as}", hint="put your examples there, one JSON object a line")
    problems, rows = [], 0
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                rows += 1
                problems += [f"{shown_as}:{number}: {problem}" for problem in _problems(line, columns)]
                if len(problems) >= _SHOWN:
                    break
    except UnicodeDecodeError as error:
        problems.append(f"{shown_as}: not UTF-8 ({error.reason} at byte {error.start})")
    if problems:
        raise ConfigError("\n".join(problems[:_SHOWN]), hint="one JSON object a line with " + ", ".join(columns))
    if not rows:
        raise ConfigError(f"{shown_as} is empty", hint="put your examples there, one JSON object a line")
    return rows


def _problems(line: str, columns: list[str]) -> Iterator[str]:
    try:
        row = json.loads(line)
    except ValueError as error:
        yield f"not JSON: {error}"
        return
    if not isinstance(row, dict):
        yield f"a JSON object is expected, not {type(row).__name__}"
        return
    for column in columns:
        if column not in row:
            yield f"missing column `{column}`; this row has {', '.join(f'`{key}`' for key in row) or 'none'}"
        elif not isinstance(row[column], str | list) or not row[column]:
            yield f"column `{column}` is empty or no text"
