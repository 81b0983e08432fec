"""`scaffolder runs`."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaffolder.cli.options import Json
from scaffolder.cli.output import Output, size_text, time_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from scaffolder.history import Comparison, Difference, Lineage, Run

app = typer.Typer(help="What ran, from what, with which result.", no_args_is_help=True)

RunName = Annotated[
    str, typer.Argument(metavar="ID|WORKFLOW", help="The beginning of an id or key, or a workflow's newest run.")
]
_STATE_STYLES = {"running": "cyan", "verified": "green", "failed": "red", "stopped": "yellow", "died": "red"}
_SHORT = 8
_WIDEST_NAME = 56


@app.command("list")
def list_(json: Json = False) -> None:
    """List every run of this project, newest first."""
    from scaffolder import history
    from scaffolder.project import find_project

    output = Output(json=json)
    runs = history.list_runs(find_project())
    if not runs:
        output.say("nothing ran in this project yet")
    output.data(runs, _table(runs) if runs else None)


@app.command("show")
def show(run: RunName, json: Json = False) -> None:
    """Show a run: what it was made from, its figures, its files and its loss curve."""
    from scaffolder import history
    from scaffolder.project import find_project

    project = find_project()
    found = history.lineage(project, history.find_run(project, run))
    Output(json=json).data(found, _details(found), wide=True)


@app.command("compare")
def compare(
    old: Annotated[str, typer.Argument(metavar="A", help="A run, as for `show`.")],
    new: Annotated[str, typer.Argument(metavar="B", help="Another run.")],
    json: Json = False,
) -> None:
    """Compare two runs: inputs, versions, configuration, figures and loss curves."""
    from scaffolder import history
    from scaffolder.project import find_project

    project = find_project()
    sides = [history.lineage(project, history.find_run(project, name)) for name in (old, new)]
    found = history.compare(*sides)
    Output(json=json).data(found, _comparison(found), wide=True)


@app.command("tail")
def tail(
    run: Annotated[
        str | None, typer.Argument(metavar="[ID|WORKFLOW]", help="A run, as for `show`; the newest where left out.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print every event as a line of JSON.")] = False,
) -> None:
    """Follow what runs until it ends, from another terminal; Ctrl-C ends the watching alone."""
    import json as encoder

    from scaffolder import history
    from scaffolder.cli.progress import Lines
    from scaffolder.errors import RunFailed
    from scaffolder.project import find_project

    output = Output(json=json)
    project = find_project()
    current: Run | None = history.find_run(project, run)
    while current is not None:
        lines = Lines(output)
        for event in history.follow(project, current):
            line = encoder.dumps(event, ensure_ascii=False) if json else event_line(lines, event)
            if line is not None:
                output.stream(line + "\n")
        ended = history.look_again(project, current)
        if ended.state != "verified":
            message = f"{ended.id} {ended.state}" + (f": {ended.message}" if ended.message else "")
            raise RunFailed(message, hint=f"the log: {ended.folder}/run.log")
        # `run all` goes on with the next workflow.
        current = history.next_run(project, ended) if run is None else None


def event_line(lines: Any, event: dict[str, Any]) -> str | None:
    """Return the line that a run's event is told in, or None where it is worth none."""
    match event:
        case {"event": "begin", "workflow": workflow, "preset": preset, "reason": reason}:
            text: str | None = lines.describe(
                {"event": "workflow", "name": workflow, "preset": preset, "reason": reason}
            )
        case {"event": "ended", "state": state}:
            return str(state)
        case _:
            text = lines.describe(event)
    return text


def _table(runs: Sequence[Run]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from scaffolder.history import key_of

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("run", no_wrap=True)
    for name in ("workflow", "preset"):  # they give way where there is little room
        table.add_column(name, overflow="ellipsis", min_width=8)
    for name in ("started", "took", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("steps", "loss", "eval", "size"):
        table.add_column(name, no_wrap=True, justify="right")
    for run in runs:
        table.add_row(
            key_of(run.id)[:_SHORT],
            run.workflow,
            run.preset,
            _started(run.started),
            _took(run.seconds),
            Text(run.state, _STATE_STYLES[run.state]),
            _steps(run),
            _loss(run.last_loss),
            _loss(run.evaluation_loss),
            size_text(run.size) if run.size is not None else "",
        )
    return table


def _started(started: str) -> str:
    """Return the time of today's runs, the day of others."""
    when = datetime.datetime.fromisoformat(started).astimezone()
    today = datetime.datetime.now().astimezone().date()
    return f"{when:%H:%M}" if when.date() == today else f"{when:%b %d}"


def _took(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}:{whole % 60:02d}" if whole < 3600 else f"{whole // 3600}h{whole % 3600 // 60:02d}"


def _steps(run: Run) -> str:
    if run.step is None:
        return ""
    return str(run.step) if run.step == run.steps else f"{run.step}/{run.steps}"


def _loss(loss: float | None) -> str:
    return f"{loss:.3f}" if loss is not None else ""


def _details(found: Lineage) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    run = found.run
    head = Text(run.id, "bold")
    attempts = f", in {run.attempts} attempts" if run.attempts > 1 else ""
    rows = {
        "state": Text(run.state, _STATE_STYLES[run.state]) + (f": {run.message}" if run.message else ""),
        "started": f"{run.started[:19].replace('T', ' ')}, took {time_text(run.seconds)}{attempts}",
        "made": run.output if run.state == "verified" else None,
        "size": size_text(run.size) if run.size is not None else None,
        "parents": ", ".join(found.parents),
        "model": " at ".join(found.model.values()) if found.model else None,
        "accelerator": found.accelerator,
        "peak memory": size_text(found.peak_memory) if found.peak_memory else None,
        "log": found.log,
        "plot": found.plot,
    }
    parts: list[RenderableType] = [head, _pairs(rows)]
    from scaffolder.history import flat, measured

    sections = {
        "inputs": {path: sha[:12] for path, sha in found.inputs.items()},
        "versions": found.versions,
        "set over the file": {change.key: _change(change) for change in found.changes},
        "training": {**({"step": run.step} if run.step != run.steps else {}), **_figures(flat(found.training))},
        "metrics": _figures(flat(found.metrics)),
        "evaluation": _figures(measured(found)),
        "gates": {gate["key"]: _gate(gate) for gate in found.evaluation["gates"]} if found.evaluation else {},
        "files": {name: size_text(size) for name, size in found.files.items()},
    }
    for title, section in sections.items():
        if any(section.values()):
            parts += [Text(f"\n{title}", "bold"), _pairs(section)]
    return Group(*parts, *_curves({"training": found}))


def _gate(gate: dict[str, Any]) -> str:
    return f"{'holds' if gate['passed'] else 'fails'}: asked {gate['limit']:g}, has {gate['value']:g}"


def _comparison(found: Comparison) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(f"{found.old.run.id} → {found.new.run.id}", "bold")]
    sections = {
        "inputs": [(change.key, _change(change, short=True)) for change in found.inputs],
        "versions": [(change.key, _change(change)) for change in found.versions],
        "configuration": [(change.key, _change(change)) for change in found.configuration],
        "figures": [(change.key, _change(change)) for change in found.figures if change.key != "metrics.template"],
    }
    for title, rows in sections.items():
        parts += [Text(f"\n{title}", "bold"), _pairs(dict(rows)) if rows else Text("  the same", "dim")]
    if found.old.run.id == found.new.run.id:
        return Group(*parts)
    return Group(*parts, *_curves({found.old.run.id: found.old, found.new.run.id: found.new}))


def _curves(runs: dict[str, Lineage]) -> list[RenderableType]:
    """Return the training losses in one plot, and the evaluation losses where it shows a single run."""
    from rich.text import Text

    from scaffolder.cli.plot import plot

    series = {name: found.curve.training for name, found in runs.items() if found.curve.training}
    if not series:
        return []
    if len(runs) == 1:
        [found] = runs.values()
        series |= {"evaluation": found.curve.evaluation} if found.curve.evaluation else {}
    return [Text("\nloss, nats per token", "bold"), plot(series)]


def _pairs(rows: dict[str, Any]) -> Text:
    """Return names and values in two columns."""
    from rich.text import Text

    shown = {name: value for name, value in rows.items() if value not in (None, "")}
    width = min(max((len(name) for name in shown), default=0), _WIDEST_NAME)
    text = Text()
    for name, value in shown.items():
        text.append(f"  {name:<{width}}  ", "dim")
        text.append_text(value) if isinstance(value, Text) else text.append(str(value))
        text.append("\n")
    text.rstrip()
    return text


def _change(change: Difference, *, short: bool = False) -> str:
    sides = (change.old, change.new)
    old, new = (str(value)[:12] if short and value else _value(value, change.key) for value in sides)
    return f"{old} → {new}"


def _value(value: Any, name: str = "") -> str:
    if value is None:
        return "(none)"
    figure = name.rpartition(".")[2]
    if figure in ("size", "memory", "peak_memory"):
        return size_text(value)
    if figure == "seconds":
        return time_text(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _figures(figures: dict[str, Any]) -> dict[str, Any]:
    # The template's hash says nothing to a reader; it is in --json.
    return {name: _value(value, name) for name, value in figures.items() if name != "template"}
