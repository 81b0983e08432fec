"""`scaffolder data import`."""

from __future__ import annotations

from typing import Annotated

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output


def import_(
    source: Annotated[
        str,
        typer.Argument(help="A file or folder (json, jsonl, csv, tsv, parquet, arrow, text), or a hub data set."),
    ],
    output_file: Annotated[
        str | None, typer.Option("--output", "-o", help="Where to, in the project; the training file where left out.")
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="Column with the question.")] = None,
    response: Annotated[str | None, typer.Option("--response", help="Column with the answer.")] = None,
    messages: Annotated[str | None, typer.Option("--messages", help="Column with conversations.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="Column with plain text.")] = None,
    keep: Annotated[list[str] | None, typer.Option("--keep", help="A column to keep as it is; repeatable.")] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Of text; found out where left out.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take at most this many rows.")] = None,
    part: Annotated[
        str, typer.Option("--part", help="Of a hub data set: a word in its files' names, or a pattern.")
    ] = "train",
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace what is there; it stays as .old.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring examples of other formats and encodings into datasets/, as JSON Lines."""
    from scaffolder import dataset
    from scaffolder.cli.data.shown import rows_read
    from scaffolder.dataset.importing import Chosen
    from scaffolder.project import find_project

    output = Output(json=json, quiet=quiet)
    with rows_read(output) as on_event:
        found = dataset.import_data(
            find_project(),
            source,
            output=output_file,
            chosen=Chosen(prompt, response, messages, text, tuple(keep or ())),
            encoding=encoding,
            limit=limit,
            part=part,
            force=force,
            on_event=on_event,
        )
    for shape, rows in found.shapes.items():
        output.say(f"recognised as {shape}: {rows:,} rows")
    for name, files in found.encodings.items():
        if name != "utf-8":
            output.say(f"read as {name}: {files} files (--encoding names another)")
    for finding in found.findings:
        for line in finding.lines():
            output.say(f"left out: {line}")
    output.say(f"{found.rows:,} rows, {found.left_out:,} left out; columns {', '.join(found.columns)}")
    if found.advice:
        output.say(f"note: {found.advice}")
    output.say("next: scaffolder data check")
    output.data(found, found.output)
