"""`scaffolder setup`."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output


def setup(
    python: Annotated[
        str | None, typer.Option("--python", metavar="PATH|VERSION", help="The Python to use, such as 3.12.")
    ] = None,
    conda: Annotated[bool, typer.Option("--conda", help="Make a conda environment.")] = False,
    recreate: Annotated[bool, typer.Option("--recreate", help="Delete the environment and begin anew.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Print the commands; run nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a run of this project.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make the project's own environment, .venv, from setup/requirements.txt; uv does it where it is installed."""
    from scaffolder import installer
    from scaffolder.project import find_project
    from scaffolder.settings import PYTHON_VARIABLE, chosen_python

    output = Output(json=json, quiet=quiet)
    made = installer.set_up(
        find_project(),
        python=python,
        conda=conda,
        recreate=recreate,
        dry_run=dry_run,
        wait=wait,
        on_line=lambda line: output.say(f"  {line}"),
    )
    if dry_run:
        output.data(made, "\n".join(shlex.join(command) for command in made.commands) or None)
        output.say(made.reason)
        return
    output.say(made.reason if not made.commands else f"ready, made with {made.tool}")
    if chosen_python() is not None:
        output.say(f"warning: {PYTHON_VARIABLE} names another Python, and runs use that one")
    output.data(made, made.python)
