"""`scaffolder fleet`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output
from scaffolder.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import RenderableType

    from scaffolder.fleet import Row

app = typer.Typer(help="Many projects against their template.", no_args_is_help=True)

Places = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PROJECT]...", help="Folders, patterns or git addresses; those of fleet.toml if left out."),
]
File = Annotated[Path | None, typer.Option("--fleet", help="Another file than fleet.toml.")]
To = Annotated[str | None, typer.Option("--to", "-r", help="This version instead of the newest.")]
Template = Annotated[str | None, typer.Option("--template", help="This template instead of the recorded ones.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=0, help="Processes at a time; one a processor if left out.")]
Page = Annotated[Path | None, typer.Option("--html", help="Write the table as a page, too.")]


@app.command("status")
def status(
    projects: Places = None,
    file: File = None,
    to: To = None,
    template: Template = None,
    html: Page = None,
    jobs: Jobs = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell how every project stands: version, changes, expected conflicts, last verified run."""
    from scaffolder import fleet

    output = Output(json=json, quiet=quiet)
    roster = fleet.read_roster(projects or [], file)
    order = [str(member.folder) for member in roster.members]
    rows = _collect(fleet.survey(roster.members, to=to, template=template, jobs=jobs), output, order)
    _show(rows, output, html)
    if any(row.state == "failed" for row in rows):
        raise typer.Exit(ExitCode.SOME_FAILED)


@app.command("update")
def update(
    projects: Places = None,
    file: File = None,
    to: To = None,
    template: Template = None,
    conflict: Annotated[
        list[str] | None,
        typer.Option(
            "--conflict", metavar="[PATH=]MODE", help="Settle conflicts: ours or theirs, for all or one path."
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="COMMAND", help="Must succeed in each result before it counts.")
    ] = None,
    push: Annotated[bool | None, typer.Option("--push/--no-push", help="Push each branch; never by force.")] = None,
    pr: Annotated[
        bool | None, typer.Option("--pr/--no-pr", help="Push, and open pull requests with gh, glab or az.")
    ] = None,
    direct: Annotated[
        bool, typer.Option("--current-branch", help="Commit to the branch that is checked out, instead of a new one.")
    ] = False,
    first: Annotated[int, typer.Option("--first", min=0, help="Begin with so many.")] = 0,
    wave: Annotated[int, typer.Option("--wave", min=0, help="Then so many at a time.")] = 0,
    failures: Annotated[
        int | None,
        typer.Option("--max-failures", min=0, help="No further wave after more failures; 0 where there are waves."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out what an earlier call finished.")] = False,
    html: Page = None,
    jobs: Jobs = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Update every project on a branch `scaffolder/update-VERSION` of its own; folders stay as they are."""
    from scaffolder import fleet
    from scaffolder.errors import UsageError
    from scaffolder.merging import read_choices

    output = Output(json=json, quiet=quiet)
    roster = fleet.read_roster(projects or [], file)
    settings = roster.settings
    choices = read_choices(conflict or [])
    if choices.need_hands:
        raise UsageError("a fleet takes `ours` or `theirs` for conflicts", hint="others need `scaffolder update`")
    first, wave = first or settings.first, wave or settings.wave
    limit = failures if failures is not None else settings.max_failures
    plan = fleet.Plan(
        to=to,
        template=template,
        choices=choices,
        run=run or settings.run,
        push=settings.push if push is None else push,
        request=settings.pr if pr is None else pr,
        direct=direct,
        first=first,
        wave=wave,
        max_failures=limit if limit is not None else (0 if first or wave else None),
        resume=resume,
        jobs=jobs,
    )
    rows = _collect(fleet.roll_out(roster.members, plan), output, [str(member.folder) for member in roster.members])
    _show(rows, output, html)
    if any(row.state in ("failed", "waiting") for row in rows):
        raise typer.Exit(ExitCode.SOME_FAILED)
    if any(row.state == "conflict" for row in rows):
        raise typer.Exit(ExitCode.CONFLICT)


def _collect(rows: Iterable[Row], output: Output, order: list[str]) -> list[Row]:
    found = []
    for row in rows:
        found.append(row)
        if output.live:
            output.say(f"{len(found)}/{len(order)} {row.name}: {row.state}")
    return sorted(found, key=lambda row: order.index(row.folder))


def _show(rows: list[Row], output: Output, html: Path | None) -> None:
    from collections import Counter

    from scaffolder import fleet

    if html:
        from scaffolder.content import write_atomically

        html.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(html, fleet.page(rows))
    output.data(rows, _table(rows))
    for row in rows:
        if row.message:
            output.say(f"{row.name}: {row.message}")
    counts = Counter(row.state for row in rows)
    output.say(f"{len(rows)} projects: " + ", ".join(f"{count} {state}" for state, count in counts.items()))


def _table(rows: list[Row]) -> RenderableType:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    requests = any(row.branch for row in rows)
    table.add_column("project", overflow="fold")
    for name in ("state", "version", "behind", "yours", "conflicts", "branch" if requests else "last run"):
        table.add_column(name, overflow="fold", justify="right" if name in ("behind", "yours", "conflicts") else "left")
    colours = {"failed": "red", "conflict": "yellow", "waiting": "yellow", "behind": "yellow"}
    for row in rows:
        numbers = [str(row.behind), str(row.user_changes), str(len(row.conflicts))] if row.version else ["", "", ""]
        last = (row.request or row.branch) if requests else row.last_run[:16].replace("T", " ")
        table.add_row(row.name, f"[{colours.get(row.state, 'green')}]{row.state}[/]", row.version, *numbers, last)
    return table
