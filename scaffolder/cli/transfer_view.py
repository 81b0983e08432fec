"""The one view of a download: a bar on a terminal, a line an event elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from scaffolder.cli.output import Output, size_text, time_text

if TYPE_CHECKING:
    from rich.progress import Progress

_SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def show_transfer(output: Output) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a sink for the events of `downloader.download`."""
    if not output.live:
        yield _Lines(output)
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("  {task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[figures]}"))
    with Progress(*columns, console=output.talk, transient=True) as progress:
        yield _Live(output, progress)


class _Lines:
    """Plain lines: each file as it is whole, how far it is every ten seconds."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.last = time.monotonic()

    def __call__(self, event: dict[str, Any]) -> None:
        line = self.describe(event)
        if line is not None:
            self.output.say(line)

    def describe(self, event: dict[str, Any]) -> str | None:
        """Return the line for an event, or None where it is worth none."""
        match event:
            case {"event": "source"}:
                return _source(event)
            case {"event": "note" | "warning" as kind, "message": message}:
                return f"{kind}: {message}"
            case {"event": "file"}:
                return f"  {event['path']}: {size_text(event['size'])}"
            case {"event": "retry"}:
                at = f" at {size_text(event['at'])}" if event["at"] else ""
                return f"  {event['reason']}; {event['path']} goes on{at} in {time_text(event['seconds'])}"
            case {"event": "stage", "state": "start"}:
                return f"converting the {event['name']}"
            case {"event": "progress"} if time.monotonic() - self.last >= _SECONDS_BETWEEN_LINES:
                self.last = time.monotonic()
                return f"  {_files(event)}: {_figures(event)}"
        return None


class _Live(_Lines):
    """A bar over all files; above it only what is out of the ordinary."""

    def __init__(self, output: Output, progress: Progress) -> None:
        super().__init__(output)
        self.progress = progress
        self.task = progress.add_task("", total=None, figures="", visible=False)

    def __call__(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "progress":
                self.progress.update(
                    self.task,
                    total=event["total"],
                    completed=event["done"],
                    description=_files(event),
                    figures=_figures(event),
                    visible=event["finished"] < event["files"],
                )
            case "stage" if event["state"] == "start":
                title = f"converting the {event['name']}"
                self.progress.reset(self.task, total=None, description=title, figures="", visible=True)
            case "stage" | "file":
                pass
            case _:
                super().__call__(event)


def _source(event: dict[str, Any]) -> str:
    match event["source"]:
        case "embedded":
            return f"{event['reason']}: taking the model from the package {event['package']}"
        case "hub":
            there = event["size"] - event["missing"]
            rest = f", {size_text(there)} of it is here already" if there else ""
            return f"fetching {event['files']} files, {size_text(event['size'])}{rest}"
        case "azureml":
            return f"fetching {event['uri']}"
        case _:
            return f"taking {event['path']}"


def _files(event: dict[str, Any]) -> str:
    return f"{event['finished']}/{event['files']} files"


def _figures(event: dict[str, Any]) -> str:
    parts = [f"{size_text(event['done'])} of {size_text(event['total'])}"]
    if event["rate"]:
        parts += [f"{size_text(event['rate'])}/s", f"{time_text(event['seconds_left'])} left"]
    return "  ".join(parts)
