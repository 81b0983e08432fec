"""`scaffolder data preview`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output

if TYPE_CHECKING:
    from rich.text import Text

    from scaffolder.dataset import Previewed


def preview(
    count: Annotated[int, typer.Argument(metavar="[N]", min=1, help="How many rows.")] = 3,
    skip: Annotated[int, typer.Option("--skip", min=0, help="Pass over this many rows first.")] = 0,
    file: Annotated[Path | None, typer.Option("--file", help="Another file with the same columns.")] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show each token with its number.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show rows as training gets them, from the code that trains; the part that is learnt is marked."""
    from rich.console import Group
    from rich.text import Text

    from scaffolder import dataset
    from scaffolder.project import find_project

    output = Output(json=json, quiet=quiet)
    project = find_project()
    path = project.relative(file.resolve()) if file else None
    rows = list(dataset.preview(project, count, skip=skip, path=path))
    name = path or project.manifest.dataset.train
    shown = [part for row in rows for part in (Text(_head(name, row), "bold"), _body(row, tokens), Text(""))]
    output.data(rows, Group(*shown), wide=True)
    if rows and not json:
        output.say("learnt: green, between ⟦ and ⟧; everything else is only read")
    if not rows:
        output.say(f"{name} has no row {skip + 1}")


def _head(name: str, row: Previewed) -> str:
    return f"{name}:{row.line}" + ("" if row.error else f"  {row.count:,} tokens, {row.learnt:,} of them learnt")


def _body(row: Previewed, tokens: bool) -> Text:
    from rich.text import Text

    if row.error:
        return Text(f"left out: {row.error}", "yellow")
    text = Text()
    for run in row.runs:
        style = "bold green" if run.learnt else "dim"
        said = " ".join(f"{token!r}:{number}" for token, number in zip(run.tokens, run.ids, strict=True))
        shown = said if tokens else run.text
        text.append(f"⟦{shown}⟧" if run.learnt else shown, style)
        if tokens:
            text.append("\n")
    text.rstrip()
    return text
