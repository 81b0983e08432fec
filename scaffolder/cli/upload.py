"""`scaffolder upload`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaffolder.cli.options import Json, Quiet, Token, key_values, read_token
from scaffolder.cli.output import Output, size_text
from scaffolder.errors import UsageError

if TYPE_CHECKING:
    from scaffolder.hub import Published
    from scaffolder.registry import Deliverable, Parcel

app = typer.Typer(help="Register a finished model, with its lineage and its figures.", no_args_is_help=True)

Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="onnx, adapter or the folder of a model; the export where left out."),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Also what is unverified, or fails its gates.")]
AllowSecrets = Annotated[
    bool, typer.Option("--allow-secrets", help="Also files that seem to hold a secret, where they only look so.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be uploaded; send nothing.")]


@app.command("hf")
def hf(
    repo: Annotated[
        str | None, typer.Argument(metavar="[ORG/NAME]", help="The repository, else YOU/PROJECT-EXPORT.")
    ] = None,
    model: Model = None,
    public: Annotated[
        bool, typer.Option("--public", help="Make a public repository, or upload into one; private otherwise.")
    ] = False,
    card: Annotated[
        Path | None, typer.Option("--card", help="A card of your own (Markdown) in place of the generated one.")
    ] = None,
    force: Force = False,
    allow_secrets: AllowSecrets = False,
    dry_run: DryRun = False,
    token: Token = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Upload a model to the Hugging Face hub: one commit with a card, or nothing where it is there already."""
    from scaffolder import registry
    from scaffolder.project import find_project

    output, project = Output(json=json, quiet=quiet), find_project()
    if repo is not None and repo.count("/") != 1:
        raise UsageError(f"`{repo}` is no name of a repository", hint="it has the form organisation/name")
    if card is not None and not card.is_file():
        raise UsageError(f"there is no file {card}")
    found, access = registry.find_deliverable(project, model), read_token(token)
    if repo is None and not dry_run:
        repo = registry.own_repo(found.name, token=access)
    parcel = registry.prepare(project, found, repo=repo, card=card)
    registry.refuse(found, {"README.md": parcel.card.encode()}, force=force, allow_secrets=allow_secrets)
    _tell_left_out(output, found)
    if repo is None or dry_run:
        _show(output, parcel, repo or f"YOUR_ACCOUNT/{found.name}")
        return
    output.say(f"uploading {found.name}, {size_text(found.size)}")
    _tell(output, registry.publish(parcel, repo, token=access, public=public))


@app.command("azureml")
def azureml(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The model's name there, else PROJECT-EXPORT.")
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="The next one where left out.")] = None,
    model: Model = None,
    from_job: Annotated[
        bool, typer.Option("--from-job", help="What the job on Azure that made it left there; nothing is sent again.")
    ] = False,
    target: Annotated[
        str | None, typer.Option("--on", metavar="TARGET", help="Whose workspace; else the only one, or config.json.")
    ] = None,
    description: Annotated[str | None, typer.Option("--description", help="In words.")] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Beside lineage and figures; repeatable.")
    ] = None,
    force: Force = False,
    allow_secrets: AllowSecrets = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Register a model in a workspace of Azure Machine Learning: a version, or none where it is there already."""
    from scaffolder import registry
    from scaffolder.project import find_project

    output, project = Output(json=json, quiet=quiet), find_project()
    found = registry.find_deliverable(project, model)
    wanted = registry.entry(
        project,
        found,
        name=name,
        version=version,
        from_job=from_job,
        description=description,
        tags={key: str(value) for key, value in key_values(tags or [], "--tag").items()},
    )
    place = registry.workspace_of(project, target)
    registry.refuse(found, {"README.md": wanted.card.encode()}, force=force, allow_secrets=allow_secrets)
    _tell_left_out(output, found)
    if dry_run:
        data = {**_fields(wanted), "workspace": place.workspace, "files": sorted(found.files)}
        output.data(data, "\n".join(f"{key}: {value}" for key, value in wanted.tags.items()))
        output.say(f"{wanted.name} into {place.workspace}, {size_text(found.size)}; nothing was sent")
        return
    output.say(f"registering {wanted.name} in {place.workspace}" + ("" if from_job else f", {size_text(found.size)}"))
    made = registry.register(project, found, wanted, place)
    output.say("registered" if made.new else "nothing changed: a version holds the same")
    output.data({**_fields(made), "unchanged": not made.new, "workspace": place.workspace}, made.uri)


def _tell_left_out(output: Output, found: Deliverable) -> None:
    if found.left_out:
        output.say(f"left out, not verified with the model: {', '.join(found.left_out)}")


def _show(output: Output, parcel: Parcel, repo: str) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    sizes = {
        path: content.stat().st_size if isinstance(content, Path) else len(content)
        for path, content in parcel.files.items()
    }
    for path, size in sorted(sizes.items()):
        table.add_row(path, size_text(size))
    output.say(f"to {repo}: {parcel.message.splitlines()[0]}")
    data = {"repo": repo, "message": parcel.message, "card": parcel.card, "files": sizes}
    output.data(data, table)
    output.say(f"{len(sizes)} files, {size_text(sum(sizes.values()))}; nothing was sent")


def _tell(output: Output, published: Published) -> None:
    signs = {"added": "+", "changed": "~", "deleted": "-"}
    for change in published.changes:
        size = f", {size_text(change.size)}" if change.size else ""
        output.say(f"  {signs[change.kind]} {change.path}{size}")
    state = "uploaded" if published.changes else "nothing changed since"
    seen = "private" if published.private else "public"
    output.say(f"{state} {published.commit[:12]}, {seen}")
    output.data({**_fields(published), "unchanged": not published.changes}, published.url)


def _fields(found: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(found)
