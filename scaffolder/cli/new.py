"""`scaffolder new`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from scaffolder.cli.options import Json, Quiet, key_values
from scaffolder.cli.output import Output


def new(
    path: Annotated[Path, typer.Argument(help="Folder to make; must not exist or be empty.")],
    answer: Annotated[
        list[str] | None,
        typer.Option("--data", "-d", metavar="KEY=VALUE", help="Answer a question beforehand; repeatable."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", metavar="NAME", help="Answers under one name (`scaffolder presets`); -d comes before."
        ),
    ] = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="Ask nothing; take the defaults.")] = False,
    template: Annotated[
        str | None,
        typer.Option("--template", help="Another template: a git URL, gh:owner/name, a folder or a bundle."),
    ] = None,
    ref: Annotated[str | None, typer.Option("--ref", "-r", help="Tag, branch or commit of the template.")] = None,
    git: Annotated[bool, typer.Option("--git/--no-git", help="Make it a git repository with a first commit.")] = True,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Generate a project."""
    from scaffolder.generator import new_project

    output = Output(json=json, quiet=quiet)
    made = new_project(
        path,
        answers=key_values(answer or [], "-d"),
        preset=preset,
        template=template,
        ref=ref,
        defaults=defaults,
        git=git,
    )
    if made.note:
        output.say(f"note: {made.note}")
    output.say(f"made {path}" + (", a git repository with a first commit" if made.git else ""))
    setup = "" if importlib.util.find_spec("olive") else "scaffolder setup && "
    output.say(f"next: cd {path} && {setup}scaffolder download && scaffolder run all")
    output.data(made, str(path))
