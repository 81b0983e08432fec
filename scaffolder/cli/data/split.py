"""`scaffolder data split`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output
from scaffolder.errors import UsageError


def split(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="All examples; new rows are added at the end.")
    ],
    evaluation: Annotated[str, typer.Option("--eval", help="Share for evaluation, such as 10% or 0.1.")] = "10%",
    seed: Annotated[int, typer.Option("--seed", help="Another one gives another split.")] = 0,
    by: Annotated[
        str | None, typer.Option("--by", metavar="COLUMN", help="Represent its values alike on both sides.")
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", metavar="COLUMN", help="Keep rows with the same value on one side.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace what is there; it stays as .old.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Split examples into training and evaluation without a leak; rows added later move nothing."""
    from scaffolder import dataset
    from scaffolder.cli.data.shown import rows_read
    from scaffolder.project import find_project

    output = Output(json=json, quiet=quiet)
    share = _share(evaluation)
    with rows_read(output) as on_event:
        found = dataset.split(
            find_project(), files, share=share, seed=seed, by=by, group=group, force=force, on_event=on_event
        )
    lines = [f"{found.train}: {found.train_rows:,} rows", f"{found.eval}: {found.eval_rows:,} rows"]
    if found.left_out:
        output.say(f"{found.left_out_rows:,} rows are close to both sides and lie in {found.left_out}")
    if by:
        output.say("by " + by + ": " + ", ".join(f"{one:,}+{other:,}" for one, other in found.strata[:12]))
    output.data(found, "\n".join(lines))


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise UsageError(f"`--eval {text}` is no share between 0 and 1", hint="such as 10% or 0.1")
    return share
