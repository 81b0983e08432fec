"""`scaffolder adapters`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from scaffolder.adapters import Adapter, Fit

app = typer.Typer(help="Which adapters fit which exported base, and which it has.", no_args_is_help=True)

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME|FOLDER]...", help="Adapters; all that were trained otherwise.")
]
Export = Annotated[
    str | None, typer.Option("--export", "-e", help="An export that takes adapters as inputs; the only one otherwise.")
]


@app.command("list")
def list_(json: Json = False) -> None:
    """List the adapters that were trained, and the exports that have them as inputs."""
    from scaffolder import adapters
    from scaffolder.project import find_project

    output = Output(json=json)
    found = adapters.list_adapters(find_project())
    if not found:
        output.say("no adapter was trained yet: scaffolder run fine-tuning")
    output.data(found, _table(found) if found else None)


@app.command("check")
def check(names: Names = None, export: Export = None, json: Json = False) -> None:
    """Check that adapters fit an exported base: method, layers, shapes and the base they were trained on."""
    from scaffolder import adapters
    from scaffolder.project import find_project

    project = find_project()
    fits = adapters.check_adapters(project, names or [], adapters.choose_export(project, export))
    Output(json=json).data(fits, "\n".join(_line(fit) for fit in fits))
    _fail_if_refused(fits)


@app.command("add")
def add(
    names: Annotated[list[str], typer.Argument(metavar="NAME|FOLDER...", help="Adapters to add.")],
    export: Export = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add adapters to an exported base, which stays as it is; each has to answer before it counts."""
    from scaffolder import adapters
    from scaffolder.project import find_project

    project = find_project()
    fits = adapters.add_adapters(project, names, adapters.choose_export(project, export))
    output = Output(json=json, quiet=quiet)
    output.data(fits, "\n".join(_line(fit) for fit in fits))
    _fail_if_refused(fits)
    output.say(f"next: scaffolder chat --adapter {fits[0].adapter}")


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="The adapter.")], export: Export = None, quiet: Quiet = False
) -> None:
    """Take an adapter out of an exported base."""
    from scaffolder import adapters
    from scaffolder.project import find_project

    project = find_project()
    chosen = adapters.choose_export(project, export)
    adapters.remove_adapter(project, name, chosen)
    Output(quiet=quiet).say(f"removed {name} from {project.relative(chosen)}")


def _table(found: Sequence[Adapter]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("adapter", "rank", "modules", "loss", "in exports"):
        table.add_column(name, justify="right" if name in ("rank", "loss") else "left", no_wrap=name != "modules")
    for adapter in found:
        served = "\n".join(f"{export} ({state})" for export, state in adapter.served.items())
        loss = f"{adapter.loss:.3f}" if adapter.loss is not None else ""
        table.add_row(adapter.name, str(adapter.rank or ""), " ".join(adapter.modules), loss, served or "none")
    return table


def _line(fit: Fit) -> str:
    if fit.problems:
        return "\n".join(f"{fit.adapter}: does not fit {fit.export}: {problem}" for problem in fit.problems)
    state = {"fits": "fits", "added": "added to", "current": "is already in"}[fit.state]
    empty = f", {fit.empty} inputs filled with zeros" if fit.empty else ""
    return f"{fit.adapter}: {state} {fit.export} (rank {fit.rank}; {' '.join(fit.modules)}{empty})"


def _fail_if_refused(fits: Sequence[Fit]) -> None:
    from scaffolder.errors import ScaffolderError

    refused = [fit.adapter for fit in fits if fit.problems]
    if refused:
        raise ScaffolderError(
            f"{', '.join(refused)} cannot be an input of this export",
            hint="scaffolder run gen-model exports an adapter merged into its base",
        )
