"""`scaffolder doctor`."""

from __future__ import annotations

import typer

from scaffolder.cli.options import Json
from scaffolder.cli.output import Output
from scaffolder.errors import ExitCode, UsageError


def doctor(json: Json = False) -> None:
    """Check interpreter, packages, machine and hub; each line is ok or says what mends it."""
    from rich.text import Text

    from scaffolder.diagnosis import diagnose
    from scaffolder.project import find_project

    output = Output(json=json)
    try:
        project = find_project()
    except UsageError:
        project = None
        output.say("outside a project: the machine alone")
    checks = diagnose(project)
    styles = {"ok": "green", "warning": "yellow", "error": "bold red"}
    width = max(len(check.name) for check in checks)
    lines = Text()
    for check in checks:
        lines.append(f"{check.status:<8}", styles[check.status])
        lines.append(f"{check.name:<{width}}  {check.found}\n")
        if check.fix:
            lines.append(f"{'':<8}{'':<{width}}  → {check.fix}\n", "dim")
    lines.rstrip()
    output.data(checks, lines)
    if any(check.status == "error" for check in checks):
        raise typer.Exit(ExitCode.ENVIRONMENT)
