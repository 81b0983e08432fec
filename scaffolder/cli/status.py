"""`scaffolder status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output
from scaffolder.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import RenderableType

    from scaffolder.updater import Status


def status(
    path: Annotated[Path, typer.Argument(help="The project; the current folder where left out.")] = Path(),
    to: Annotated[str | None, typer.Option("--to", "-r", help="Look at this version instead of the newest.")] = None,
    template: Annotated[str | None, typer.Option("--template", help="Look at another template.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 8 where the template is newer.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Print what an update would change, as a patch.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Take the versions known from before.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell how far the project is behind its template, and what an update would do."""
    from scaffolder import updater

    output = Output(json=json, quiet=quiet)
    subject = updater.open_subject(path, template=template)
    if updater.recover(subject.repository):
        output.say("an interrupted update was taken back")
    history = updater.history_of(subject, refresh=not offline)
    with updater.trial_of(subject, history, to=to) as trial:
        found = updater.status(trial)
        patch = updater.difference(trial) if diff else ""
    if found.stale:
        output.say(f"note: {found.stale}")
    if diff and not json:
        output.data(found, patch.rstrip("\n") or None)
    else:
        output.data({**_plain(found), "diff": patch} if diff else found, _view(found))
    if found.conflicts:
        output.say("next: scaffolder update --dry-run shows the conflicts; --conflict settles them")
    elif not found.up_to_date:
        output.say("next: scaffolder update")
    if check and not found.up_to_date:
        raise typer.Exit(ExitCode.UPDATE_AVAILABLE)


def _plain(found: Status) -> dict[str, object]:
    import dataclasses

    return dataclasses.asdict(found)


def _view(found: Status) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from scaffolder.cli.updates import changes_view, conflicts_view, notes_view

    behind = f"{len(found.behind)} behind" if found.behind else f"{len(found.commits)} commits behind"
    state = "up to date" if found.up_to_date else f"{behind}, newest {found.newest}"
    head = Text.assemble((found.version, "bold"), f"  {state}\n", (found.source, "dim"))
    parts: list[RenderableType] = [head, *notes_view(found.notes)]
    for title, lines in (
        ("new answers", [f"{name}: {answer}" for name, answer in found.new_answers.items()]),
        ("changed answers", [f"{name}: {old} → {new}" for name, (old, new) in found.changed_answers.items()]),
        ("asked otherwise", [f"{name}: {new}" for name, (_, new) in found.new_meanings.items()]),
    ):
        if lines:
            parts += [Text(f"\n{title}", style="bold"), *(Text(f"  {line}") for line in lines)]
    parts += changes_view("changed by you", found.user_changes)
    parts += [] if found.up_to_date else changes_view("changed by an update", found.changes)
    parts += conflicts_view(found.conflicts)
    return Group(*parts)
