"""Options of the command itself."""

from __future__ import annotations

from typing import Annotated

import typer

from scaffolder.cli.output import Output


def _show(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        Output().data(None, f"scaffolder {importlib.metadata.version('olive-scaffolder')}")
        raise typer.Exit


def root(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_show, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Fine-tuning projects for small language models: generate, run, verify, use."""
