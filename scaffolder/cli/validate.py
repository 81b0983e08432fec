"""`scaffolder validate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output
from scaffolder.errors import ExitCode

if TYPE_CHECKING:
    from scaffolder.project import Project


def validate(
    what: Annotated[
        str | None, typer.Argument(metavar="[WORKFLOW|FILE]", help="A workflow or a file; everything where left out.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check Olive configurations strictly: keys, types, ranges, files and references, all at once.

    What workflows run is also held against memory and, once the project has an environment, its packages.
    """
    from scaffolder import validation
    from scaffolder.oliveconfig import describe
    from scaffolder.project import find_project

    output = Output(json=json, quiet=quiet)
    if what and Path(what).is_file():
        problems, count = validation.validate_file(Path(what), root=Path.cwd(), project=_project_here()), 1
    else:
        project = find_project()
        problems, count = validation.validate_project(project, what), validation.files_checked(project, what)
    lines = [
        f"{problem.severity}: {describe(problem)}" + (f"\n    hint: {problem.hint}" if problem.hint else "")
        for problem in problems
    ]
    output.data(problems, "\n".join(lines) if lines else None)
    errors = sum(problem.severity == "error" for problem in problems)
    output.say(f"{count} checked: {errors} errors, {len(problems) - errors} warnings")
    if errors:
        raise typer.Exit(ExitCode.USAGE)


def _project_here() -> Project | None:
    """A file's paths relate to the current folder: its project is the one that starts there."""
    from scaffolder.project import MANIFEST, find_project

    return find_project() if Path(MANIFEST).is_file() else None
