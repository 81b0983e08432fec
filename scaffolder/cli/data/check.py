"""`scaffolder data check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output, size_text, time_text
from scaffolder.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import RenderableType

    from scaffolder.dataset import FileReport, Finding, Lengths, Report

_BAR = 32


def check(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="The project's two files where left out.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    all_tokens: Annotated[
        bool, typer.Option("--all-tokens", help="Count every row's tokens, also in files of more than 64 MB.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Check again what is known.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check examples: format, columns, roles, lengths, repeats, overlap, secrets; all at once."""
    from scaffolder import dataset
    from scaffolder.cli.data.shown import rows_read
    from scaffolder.project import find_project

    output = Output(json=json, quiet=quiet)
    project = find_project()
    with rows_read(output) as on_event:
        report = dataset.check_data(
            project,
            dataset.project_sources(project, files),
            all_tokens=all_tokens,
            fresh=fresh,
            on_event=on_event,
        )
    output.data(report, _shown(report), wide=True)
    for note in report.notes:
        output.say(f"note: {note}")
    errors, warnings = (sum(finding.count for finding in report.of(kind)) for kind in ("error", "warning"))
    rows = sum(file.rows for file in report.files)
    known = ", known from before" if report.cached else f" in {time_text(report.seconds)}"
    output.say(f"{rows:,} rows checked{known}: {errors:,} errors, {warnings:,} warnings")
    if errors or (strict and warnings):
        raise typer.Exit(ExitCode.USAGE)


def _shown(report: Report) -> RenderableType:
    from rich.console import Group

    parts: list[RenderableType] = [_file(file) for file in report.files]
    return Group(*parts, *(_finding(finding) for finding in report.findings))


def _finding(finding: Finding) -> RenderableType:
    from rich.text import Text

    style = "bold red" if finding.severity == "error" else "yellow"
    text = Text()
    for line in finding.lines():
        text.append(f"{finding.severity}: ", style)
        text.append(f"{line}\n")
    text.append(f"    hint: {finding.hint}", "dim")
    return text


def _file(file: FileReport) -> RenderableType:
    from rich.text import Text

    text = Text()
    text.append(file.path, "bold")
    skipped = f" ({file.rows - file.good:,} of them no examples)" if file.good < file.rows else ""
    text.append(f"  {file.rows:,} rows{skipped}, {size_text(file.size)}\n")
    text.append(f"  columns   {', '.join(_column(name, types, file.rows) for name, types in file.columns.items())}\n")
    if file.lengths and file.lengths.counted_rows:
        text.append_text(_lengths(file, file.lengths))
    return text


_TYPES = {"str": "text", "list": "list", "dict": "object", "int": "number", "float": "number", "NoneType": "null"}


def _column(name: str, types: dict[str, int], rows: int) -> str:
    kinds = {_TYPES.get(kind, kind): 0 for kind in types}
    for kind, count in types.items():
        kinds[_TYPES.get(kind, kind)] += count
    mixed = len(kinds) > 1
    said = " or ".join(f"{count:,} x {kind}" if mixed else kind for kind, count in kinds.items())
    missing = rows - sum(types.values())
    return f"{name[:40]} ({said}{f', in {rows - missing:,} rows' if missing else ''})"


def _lengths(file: FileReport, lengths: Lengths) -> Any:
    from rich.text import Text

    text = Text()
    scale = file.good / lengths.counted_rows
    about = f"about {lengths.tokens * scale:,.0f}" if file.every > 1 else f"{lengths.tokens:,}"
    text.append(f"  tokens    {about}, {100 * lengths.learnt / max(lengths.kept, 1):.0f} % of them learnt")
    text.append(f"; median {lengths.median:,}, 99 % up to {lengths.p99:,}, longest {lengths.longest:,}")
    text.append(f" (line {lengths.longest_line})\n")
    if file.every > 1:
        text.append(
            f"            every {_ordinal(file.every)} row was counted ({lengths.counted_rows:,}); --all-tokens: all\n"
        )
    most = max(bar[2] for bar in lengths.histogram)
    shown = [bar for bar in lengths.histogram if bar[2]]
    begin = lengths.histogram.index(shown[0])
    for low, high, count in lengths.histogram[begin:]:
        width = round(_BAR * count / most)
        text.append(f"  {low:>7,} - {high:<7,} ", "dim")
        text.append(("█" * width or ("▏" if count else "")).ljust(_BAR), "cyan")
        text.append(f" {count:,}\n")
    if file.max_seq_len:
        cut = f"{lengths.cut_rows:,} rows lose {lengths.cut_tokens:,} tokens" if lengths.cut_rows else "no row is cut"
        text.append(f"  max_seq_len {file.max_seq_len:,}: {cut}\n")
    return text


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
