"""Options that several commands share, declared once."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from scaffolder.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result and errors.")]


def key_values(pairs: list[str], option: str) -> dict[str, Any]:
    """Return `key=value` texts as a dictionary; values are JSON where they can be, else text.

    Raises:
        UsageError: A text has no `=`.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise UsageError(f"`{option} {pair}` is not of the form key=value")
        try:
            found[key.strip()] = json.loads(value)
        except ValueError:
            found[key.strip()] = value
    return found
