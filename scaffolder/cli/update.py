"""`scaffolder update`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scaffolder.cli.options import Json, Quiet, key_values
from scaffolder.cli.output import Output
from scaffolder.errors import ExitCode

if TYPE_CHECKING:
    from scaffolder.updater import Applied


def update(
    path: Annotated[Path, typer.Argument(help="The project; the current folder where left out.")] = Path(),
    to: Annotated[str | None, typer.Option("--to", "-r", help="Go to this version instead of the newest.")] = None,
    template: Annotated[str | None, typer.Option("--template", help="Take another template from now on.")] = None,
    conflict: Annotated[
        list[str] | None,
        typer.Option(
            "--conflict",
            metavar="[PATH=]MODE",
            help="What becomes of conflicts: stop (default), inline, rej, ours, theirs; for all or one path.",
        ),
    ] = None,
    answer: Annotated[
        list[str] | None, typer.Option("--data", "-d", metavar="KEY=VALUE", help="Change an answer; repeatable.")
    ] = None,
    answers: Annotated[bool, typer.Option("--answers", help="Change answers only; stay on the version.")] = False,
    ask: Annotated[bool, typer.Option("--ask", help="Ask the questions again.")] = False,
    commit: Annotated[bool, typer.Option("--commit", help="Make a commit of the update.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would happen, change nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a run of this project to end.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring the project to the newest template; nothing of yours is lost, and conflicts touch nothing."""
    from scaffolder import updater
    from scaffolder.merging import read_choices

    output = Output(json=json, quiet=quiet)
    changed = key_values(answer or [], "-d")
    done = updater.update(
        path,
        to=to,
        template=template,
        choices=read_choices(conflict or []),
        changed=changed,
        answers_only=answers,
        ask=ask or (answers and not changed),
        commit=commit,
        dry_run=dry_run,
        wait=wait,
    )
    _show(output, done, dry_run)
    invalid = done.done and not _is_valid(path, output)
    if done.open:
        raise typer.Exit(ExitCode.CONFLICT)
    if invalid:
        raise typer.Exit(ExitCode.USAGE)


def _show(output: Output, done: Applied, dry_run: bool) -> None:
    from rich.console import Group

    from scaffolder.cli.updates import changes_view, conflicts_view

    parts = [] if done.open and not done.done and not dry_run else changes_view("changed", done.changes)
    parts += conflicts_view(done.conflicts)
    output.data(done, Group(*parts) if parts else None)
    for path in done.stayed_deleted:
        output.say(f"{path} stays deleted; the template changed it")
    for path in done.upgraded:
        output.say(f"{path} has today's Olive keys now")
    output.say(_summary(done, dry_run))


def _summary(done: Applied, dry_run: bool) -> str:
    if done.open and done.done:
        return f"{done.old} → {done.new}, with conflicts to settle in {len(done.open)} files; then `git add` them"
    if done.open:
        return (
            f"nothing was changed: {len(done.open)} conflicts between your changes and {done.new}\n"
            "next: scaffolder update --conflict inline (markers to edit), or ours, theirs, rej; "
            "for one file --conflict PATH=theirs"
        )
    if not done.changes:
        return f"up to date with {done.new}"
    if dry_run:
        return f"{done.old} → {done.new}: would change {len(done.changes)} files"
    where = (
        f"as commit {done.commit[:10]}" if done.commit else "not committed: see `git diff`, undo with `git stash -u`"
    )
    return f"{done.old} → {done.new}, {where}"


def _is_valid(path: Path, output: Output) -> bool:
    """Check the project's configurations as `validate` does; say what is wrong."""
    from scaffolder import validation
    from scaffolder.errors import ScaffolderError
    from scaffolder.oliveconfig import describe
    from scaffolder.project import MANIFEST, find_project

    if not (path / MANIFEST).is_file():
        return True
    try:
        problems = validation.validate_project(find_project(path))
    except ScaffolderError as error:
        output.error(error)
        return False
    for problem in problems:
        output.say(f"{problem.severity}: {describe(problem)}")
    return all(problem.severity != "error" for problem in problems)
