"""`scaffolder data stats`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output, size_text, time_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from scaffolder.dataset import Stats


def stats(json: Json = False, quiet: Quiet = False) -> None:
    """Say what training on the examples takes: tokens, steps, memory and time of each method."""
    from scaffolder import dataset
    from scaffolder.cli.data.shown import rows_read
    from scaffolder.project import find_project

    output = Output(json=json, quiet=quiet)
    project = find_project()
    with rows_read(output) as on_event:
        report = dataset.check_data(project, dataset.project_sources(project)[:1], on_event=on_event)
    found = dataset.measure(project, report)
    output.data(found, _shown(found))


def _shown(found: Stats) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    about = "about " if found.estimated else ""
    lines = Text()
    lines.append(f"{found.path}", "bold")
    lines.append(f"  {found.rows:,} examples\n")
    lines.append(f"an epoch    {about}{found.tokens:,} tokens, {found.learnt:,} of them learnt")
    lines.append(f"; {found.cut:,} cut at {found.max_seq_len:,}\n" if found.cut else "; none cut\n")
    lines.append(f"packed      {found.packed_blocks:,} blocks of {found.max_seq_len:,}\n")
    lines.append(f"steps       {found.steps_per_epoch:,} an epoch, {found.batch} rows each\n")
    lines.append(
        f"{found.preset:<11} {found.steps:,} steps, {found.epochs:g} epochs, {about}{found.seen_tokens:,} tokens\n"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("method")
    for name in ("memory", "tokens/s", "time", "from"):
        table.add_column(name, justify="right")
    for entry in found.methods:
        table.add_row(
            entry.method,
            f"about {size_text(entry.memory)}" if entry.memory else "unknown",
            f"{entry.tokens_per_second:,.0f}" if entry.tokens_per_second else "unknown",
            f"about {time_text(entry.seconds)}" if entry.seconds else "unknown",
            "its last run" if entry.measured else "an estimate",
        )
    return Group(lines, table)
