"""Options that several commands share, declared once."""

from __future__ import annotations

import json
import math
import sys
from typing import Annotated, Any

import typer

from scaffolder.errors import UsageError


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no finite number")
    return value


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result and errors.")]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="base, quantised, adapter, merged, onnx (as where left out), or the folder of a model."
    ),
]
AdapterName = Annotated[
    str | None, typer.Option("--adapter", "-a", help="An adapter by name, or none; see `scaffolder adapters list`.")
]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")]
Temperature = Annotated[float, typer.Option(min=0.0, callback=_finite, help="0 always takes the likeliest token.")]
TopP = Annotated[float, typer.Option(min=0.0, max=1.0, help="Keep the likeliest tokens up to this share.")]
TopK = Annotated[int, typer.Option(min=1, help="Keep at most this many likeliest tokens.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed for temperatures above 0.")]
System = Annotated[
    str | None, typer.Option("--system", help="System message in place of the project's; an empty one sends none.")
]

Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="-",
        help="`-` reads an access token from standard input; without it HF_TOKEN or `scaffolder login` counts.",
    ),
]


def read_token(option: str | None) -> str | None:
    """Return the access token that standard input holds, where `--token -` was given.

    Raises:
        UsageError: A token stands on the command line, or standard input holds none.
    """
    if option is None:
        return None
    if option != "-":
        raise UsageError(
            "a token on the command line can be read by everyone on this machine, and stays in the shell's history",
            hint="`--token -` reads it from standard input; HF_TOKEN and `scaffolder login` work as well",
        )
    import getpass

    token = getpass.getpass("token: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not token.strip():
        raise UsageError("`--token -` found no token on standard input")
    return token.strip()


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
