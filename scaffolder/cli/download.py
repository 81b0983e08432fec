"""`scaffolder download`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaffolder.cli.options import Json, Quiet, Token, read_token
from scaffolder.cli.output import Output, size_text
from scaffolder.errors import UsageError

if TYPE_CHECKING:
    from scaffolder.downloader import Downloaded, Planned, Request
    from scaffolder.project import Project


def download(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Catalogue name, ORG/NAME, hf://ORG/NAME@REVISION, azureml://registries/…, a folder or a GGUF file; "
            "the project's model where left out."
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit of the hub.")] = None,
    include: Annotated[
        list[str] | None,
        typer.Option("--include", metavar="PATTERN", help="Files to take besides; pickles only by their suffix."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="Files to leave out.")
    ] = None,
    place: Annotated[
        str | None, typer.Option("--as", metavar="ORG/NAME", help="Name below model-cache/ in place of its own.")
    ] = None,
    locked: Annotated[
        bool, typer.Option("--locked", help="Exactly the files of models.lock, or an error that names the file.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Read every file again and compare with models.lock; no network.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Show what is new at the source, fetch it and lock anew.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace files that were changed here.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show files and sizes; fetch nothing.")] = False,
    token: Token = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for another download in this project.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a base model into model-cache/ and lock its files; what broke off is gone on with."""
    from scaffolder import downloader
    from scaffolder.project import find_project

    output, project = Output(json=json, quiet=quiet), find_project()
    _need_sense({"--locked": locked, "--check": check, "--update": update, "--include/--exclude": include or exclude})
    if check:
        _check(output, project, model)
        return
    request = downloader.Request(
        name=model,
        revision=revision,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        place=place,
        locked=locked,
        update=update,
        force=force,
        wait=wait,
        token=read_token(token),
    )
    if dry_run:
        _plan(output, downloader.plan_download(project, request))
    else:
        _fetch(output, project, request)


def _need_sense(given: dict[str, Any]) -> None:
    """Refuse options that contradict each other."""
    names = [name for name, value in given.items() if value]
    # New files can be chosen while looking for what is new; nothing else goes together.
    if len(names) > 1 and names != ["--update", "--include/--exclude"]:
        raise UsageError(f"`{names[0]}` and `{names[1]}` cannot be combined")


def _fetch(output: Output, project: Project, request: Request) -> None:
    from scaffolder import downloader
    from scaffolder.cli.transfer_view import show_transfer

    with show_transfer(output) as on_event:
        found = downloader.download(project, request, on_event=on_event)
    where = project.relative(found.folder)
    _tell_changes(output, found)
    unchanged = request.update and not found.changes and not found.received
    state = "is up to date" if unchanged else "is there already" if found.source == "present" else "downloaded"
    output.say(f"{found.model} {state}: {where}, {size_text(found.size)}")
    if not found.locked:
        output.say("it is not in models.lock; `scaffolder download --force` fetches it anew and locks it")
    if found.base:
        output.say(f"an adapter: it needs its base model, {found.base}")
    output.data({**_fields(found), "folder": where}, where)


def _plan(output: Output, plan: Planned) -> None:
    from rich.table import Table

    _tell_changes(output, plan)
    at = f" at {plan.commit[:12]}" if plan.commit else ""
    output.say(f"{plan.model} from {plan.uri}{at}")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    for path, size in plan.files.items():
        table.add_row(path, size_text(size))
    output.data({**_fields(plan), "size": plan.size}, table)
    if plan.files:
        total = f"{len(plan.files)} files, {size_text(plan.size)}"
        output.say(f"{total}, of which {size_text(plan.missing)} would be fetched")
    else:
        output.say("its files are known only once it is fetched")


def _tell_changes(output: Output, found: Downloaded | Planned) -> None:
    for title in found.commits:
        output.say(f"  commit: {title}")
    for change in found.changes:
        if change.before is None:
            output.say(f"  + {change.path}, {size_text(change.after or 0)}")
        elif change.after is None:
            output.say(f"  - {change.path}")
        else:
            output.say(f"  ~ {change.path}, {size_text(change.before)} → {size_text(change.after)}")


def _check(output: Output, project: Project, model: str | None) -> None:
    from scaffolder import downloader, presets

    def tell(event: dict[str, Any]) -> None:
        output.say(f"reading {event['model']}: {event['files']} files, {size_text(event['size'])}")

    found = downloader.verify(project, presets.model_id(model) if model else None, on_event=tell)
    if found.problems:
        if output.json:
            output.data(found)
        raise downloader.problem_error(found)
    names = ", ".join(found.models)
    output.say(f"as in models.lock: {names}")
    output.data(found, names)


def _fields(found: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(found)
