"""`scaffolder export`."""

from __future__ import annotations

from typing import Annotated

import typer

from scaffolder.cli.options import Json, key_values
from scaffolder.cli.output import Output

app = typer.Typer(help="Workflows for programs that run jobs elsewhere.", no_args_is_help=True)


# With one command alone its name would be left out.
@app.callback()
def _group() -> None:
    pass


@app.command("skypilot")
def skypilot(
    workflow: Annotated[str, typer.Argument(help="A workflow of scaffolder.toml.")],
    preset: Annotated[
        str | None, typer.Option("--preset", help="Another configuration in the workflow's folder.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a value over the configuration; repeatable."),
    ] = None,
    accelerators: Annotated[
        str | None, typer.Option("--accelerators", help="Cards of each machine, such as A100:2.")
    ] = None,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines; several need --storage.")] = 1,
    storage: Annotated[
        str | None, typer.Option("--storage", metavar="URI", help="A bucket that all machines mount, s3://BUCKET.")
    ] = None,
    infra: Annotated[str | None, typer.Option("--infra", help="k8s, aws, gcp/us-east1, …; else the cheapest.")] = None,
    spot: Annotated[bool, typer.Option("--spot", help="Machines that can be taken away.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Print the task; write nothing.")] = False,
    json: Json = False,
) -> None:
    """Write a SkyPilot task that runs a workflow on Kubernetes or a cloud, and print where it is."""
    from scaffolder.cli.progress import Lines
    from scaffolder.project import find_project
    from scaffolder.remote.skypilot import Machines, export_task

    output = Output(json=json)
    exported = export_task(
        find_project(),
        workflow,
        Machines(nodes, accelerators, infra, storage, spot),
        preset=preset,
        overrides=key_values(values or [], "--set"),
        dry_run=dry_run,
        on_event=Lines(output),
    )
    output.data(exported, exported.text if dry_run else exported.path)
    for command in exported.commands if not dry_run else ():
        output.say(f"  {command}")
