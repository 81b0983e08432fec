"""The live view of a run: redrawn on a terminal, a line an event elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from scaffolder.cli.output import Output, size_text, time_text

if TYPE_CHECKING:
    from rich.progress import Progress

_SECONDS_BETWEEN_LINES = 5.0
# What passes are called where people read; others keep their own name.
_STAGES = {
    "olive": "start Olive",
    "verify": "verify: open it, use it",
    "evaluate": "evaluate on the evaluation examples",
}


@contextlib.contextmanager
def show_progress(output: Output) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a sink for the events of `run_workflows`."""
    if not output.live:
        yield Lines(output)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=output.talk, transient=True) as progress:
        yield _Live(output, progress)


class Lines:
    """Plain lines: stages as they end, training every few seconds."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.loss: float | None = None
        self.last = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        """Print the line for an event, if it is worth one."""
        line = self.describe(event)
        if line is not None:
            self.output.say(line)

    def describe(self, event: dict[str, Any]) -> str | None:
        """Return the line for an event, or None where it is worth none."""
        match event["event"]:
            case "workflow":
                return f"{event['name']} ({event['preset']}): {event['reason']}"
            case "warning":
                return f"  warning: {event['message']}"
            case "stage" if event["state"] == "done" and event["name"] != "olive" and "seconds" in event:
                return f"  {_title(event)}: {time_text(event['seconds'])}"
            case "metrics" if event.get("loss") is not None:
                self.loss = event["loss"]
            case "step":
                now = time.monotonic()
                if event["step"] == event["steps"] or now - self.last >= _SECONDS_BETWEEN_LINES:
                    self.last = now
                    return f"  step {event['step']}/{event['steps']}  {_figures(event, self.loss)}"
            case "verified":
                return "  " + _verified(event)
            case "result":
                state = "verified" if event["fresh"] else f"up to date, {event['reason']}"
                return f"{event['workflow']}: {state}"
        return None


class _Live(Lines):
    """A bar for the stage at hand, above it the lines of what is done."""

    def __init__(self, output: Output, progress: Progress) -> None:
        super().__init__(output)
        self.progress = progress
        self.task = progress.add_task("", total=None, figures="", visible=False)

    def __call__(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "stage" if event["state"] == "start":
                self.progress.reset(self.task, total=None, description=_title(event), figures="", visible=True)
            case "metrics" | "step":
                self.describe(event)
                if event["event"] == "step":
                    self.progress.update(
                        self.task,
                        total=event["steps"],
                        completed=event["step"],
                        description=f"step {event['step']}/{event['steps']}",
                        figures=_figures(event, self.loss),
                    )
            case "result":
                self.progress.update(self.task, visible=False)
                super().__call__(event)
            case _:
                super().__call__(event)


def _title(event: dict[str, Any]) -> str:
    kind = event.get("pass_type")
    return f"{event['name']} ({kind})" if kind and kind != event["name"] else _STAGES.get(event["name"], event["name"])


def _figures(event: dict[str, Any], loss: float | None) -> str:
    parts = [f"loss {loss:.3f}"] if loss is not None else []
    if event["tokens_per_second"]:
        parts.append(f"{event['tokens_per_second']:.0f} tokens/s")
    memory = event["gpu_memory"] or event["memory"]
    parts += [size_text(memory)] if memory else []
    parts.append(f"{time_text(event['seconds_left'])} left")
    return "  ".join(parts)


def _verified(event: dict[str, Any]) -> str:
    metrics = event["metrics"]
    parts = [f"works: {size_text(event['size'])}"]
    if metrics.get("tokens_per_second"):
        parts.append(f"{metrics['tokens_per_second']:.0f} tokens/s")
    after = metrics.get("after")
    if after:
        before = metrics.get("before")
        change = f"{before['loss']:.3f} → " if before else ""
        fall = f" ({100 * (after['loss'] / before['loss'] - 1):+.0f} %)" if before else ""
        parts.append(f"evaluation loss {change}{after['loss']:.3f}{fall}")
    return ", ".join(parts)
