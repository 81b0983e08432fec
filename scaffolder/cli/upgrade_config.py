"""`scaffolder upgrade-config`."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output
from scaffolder.errors import ExitCode


def upgrade_config(
    file: Annotated[Path, typer.Argument(help="An Olive configuration of any release since 0.4.")],
    target: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here; the file itself where left out.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show the changes, write nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a configuration with old keys into one for today's Olive; the file before stays as FILE.old."""
    from scaffolder import validation

    output = Output(json=json, quiet=quiet)
    before, after, result = validation.upgrade_file(file)
    for change in result.changes:
        arrow = f" → {change.new_key}" if change.new_key else ""
        output.say(f"{change.kind}: {change.key}{arrow}: {change.reason}")
    for open_end in result.unresolved:
        output.say(f"no equivalent: {open_end.key}: {open_end.reason}")
    if result.targets:
        import tomlkit

        output.say("for scaffolder.toml:\n" + tomlkit.dumps({"targets": result.targets}))
    name = str(target or file)
    diff = "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(file), name))
    output.data(result, diff.rstrip("\n") if diff else None)
    if not dry_run and (target or after != before):
        if target is None:
            file.with_name(f"{file.name}.old").write_text(before, encoding="utf-8")
        (target or file).write_text(after, encoding="utf-8")
    if not result.changes and not result.unresolved:
        output.say(f"{file} is up to date")
    if result.unresolved:
        raise typer.Exit(ExitCode.FAILED)
