"""`scaffolder presets`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaffolder.cli.options import Json, key_values
from scaffolder.cli.output import Output

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import RenderableType

_Entries = Mapping[str, Mapping[str, Any]]
_Table = tuple[tuple[str, ...], Sequence[tuple[str, ...]]]

app = typer.Typer(help="Models, methods, hardware and exports; what a set of answers yields.")


@app.callback(invoke_without_command=True)
def presets(context: typer.Context, json: Json = False) -> None:
    """List what a project can be made of."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Group

    from scaffolder import catalogue

    plain = {
        "models": _dumped(catalogue.models()),
        "methods": _dumped(catalogue.methods()),
        "hardware": _dumped(catalogue.hardware()),
        "exports": _dumped(catalogue.exports()),
        "quantisers": _dumped(catalogue.quantisers()),
        "prompts": _dumped(catalogue.prompts()),
        "presets": _dumped(catalogue.answer_sets()),
    }
    Output(json=json).data(plain, Group(*(_table(kind, *_LISTED[kind](entries)) for kind, entries in plain.items())))


def _dumped(entries: Mapping[str, BaseModel]) -> dict[str, dict[str, Any]]:
    return {name: entry.model_dump(by_alias=True) for name, entry in entries.items()}


def _list_models(entries: _Entries) -> _Table:
    rows = [
        (
            name,
            f"{entry['parameters'] / 1e9:.2f} B",
            f"{entry['context']:,}",
            entry["licence"] + (", gated" if entry["gated"] else ""),
            entry["chat"]["kind"],
        )
        for name, entry in entries.items()
    ]
    return ("name", "weights", "context", "licence", "chat"), rows


def _list_hardware(entries: _Entries) -> _Table:
    rows = [
        (name, entry["dtype"], *(_billions(entry["limits"][way]) for way in ("lora", "qlora")))
        for name, entry in entries.items()
    ]
    return ("name", "numbers", "largest for lora", "for qlora"), rows


def _list_exports(entries: _Entries) -> _Table:
    return ("name", "", "runs on"), [(name, e["title"], ", ".join(e["targets"])) for name, e in entries.items()]


def _list_titles(entries: _Entries) -> _Table:
    return ("name", ""), [(name, entry["title"]) for name, entry in entries.items()]


def _list_quantisers(entries: _Entries) -> _Table:
    rows = [(name, "; ".join(filter(None, (e["title"], e["because"])))) for name, e in entries.items()]
    return ("name", ""), rows


def _billions(limit: float | None) -> str:
    return "-" if limit is None else f"{limit} B"


_LISTED: dict[str, Callable[[_Entries], _Table]] = {
    "models": _list_models,
    "methods": _list_titles,
    "hardware": _list_hardware,
    "exports": _list_exports,
    "quantisers": _list_quantisers,
    "prompts": _list_titles,
    "presets": _list_titles,
}


@app.command("show")
def show(
    answer: Annotated[
        list[str] | None,
        typer.Option("--data", "-d", metavar="KEY=VALUE", help="An answer, as `scaffolder new` takes it; repeatable."),
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", metavar="NAME", help="Answers under one name.")] = None,
    json: Json = False,
) -> None:
    """Show what a set of answers yields: settings, passes and files."""
    from rich.console import Group
    from rich.text import Text

    from scaffolder.generator import preview

    found = preview(key_values(answer or [], "-d"), preset)
    settings = [(name, _said(value)) for name, value in found.answers.items()]
    passes = [
        (f"{name}.{key}", _said(value))
        for name, options in (*found.training.items(), *found.export.items())
        for key, value in _flat(options)
    ]
    tables: RenderableType = Group(
        _table("answers", ("question", "answer"), settings),
        _table("passes", ("key", "value"), passes),
        Text("files\n", style="bold") + Text("\n".join(f"  {name}" for name in found.files)),
    )
    Output(json=json).data(found, tables)


def _flat(options: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in options.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return found


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value in (None, "") else str(value)


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> RenderableType:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", style=None)
    for row in rows:
        table.add_row(*row)
    return table
