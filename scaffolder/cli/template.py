"""`scaffolder template`."""

from __future__ import annotations

from typing import Annotated

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output
from scaffolder.errors import ExitCode

app = typer.Typer(help="The template itself, and forks of it.", no_args_is_help=True)


@app.command("check")
def check(
    template: Annotated[str, typer.Argument(help="A folder, a git address or a bundle; the current folder.")] = ".",
    ref: Annotated[
        str, typer.Option("--ref", "-r", help="Tag, branch or commit; the folder as it is, if left out.")
    ] = "HEAD",
    pairs: Annotated[bool, typer.Option("--pairs", help="Every two answers together; takes long.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a template: it runs no commands, renders whatever is answered, and updates from its last release."""
    from scaffolder import templating
    from scaffolder.templating.check import check_template

    output = Output(json=json, quiet=quiet)
    history = templating.open_history(templating.find_origin(template))
    report = check_template(history, history.resolve(ref), pairs=pairs)
    lines = [
        f"{finding.check}: {finding.message}"
        + (
            f" (with {', '.join(f'{key}={value}' for key, value in finding.answers.items())})"
            if finding.answers
            else ""
        )
        for finding in report.findings
    ]
    output.data(report, "\n".join(lines) or None)
    since = f", updates from {report.last}" if report.last else ", no release to update from"
    cases = f"{report.cases} sets of answers ({report.refused} more refused)"
    output.say(f"{report.version}: {cases}{since}: {len(report.findings)} problems")
    if report.findings:
        raise typer.Exit(ExitCode.FAILED)


@app.command("where")
def where(json: Json = False) -> None:
    """Print where the template of this installation lies, and its version."""
    from scaffolder import templating

    place, tag = templating.shipped_template()
    Output(json=json).data({"template": place, "version": tag}, f"{place} {tag}")
