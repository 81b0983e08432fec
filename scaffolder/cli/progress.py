"""The live view of a run: redrawn on a terminal, a line an event elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scaffolder.cli.output import Output, size_text, time_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress

    from scaffolder.workflow.preview import Planned

_SECONDS_BETWEEN_LINES = 5.0
_WIDE = 110  # columns
# A curve of fewer points says nothing; of more rows it would fill the screen.
_FEWEST_PLOTTED, _PLOT_HEIGHT, _PLOT_WIDTH = 3, 5, 48
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
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    wide = output.talk.width >= _WIDE
    columns = [TextColumn("  {task.description}"), BarColumn(24 if wide else 6), TextColumn("{task.fields[figures]}")]
    view = _Live(output, Progress(*columns, *([TimeElapsedColumn()] if wide else []), console=output.talk))
    with Live(get_renderable=view.render, console=output.talk, transient=True, refresh_per_second=4):
        yield view


class Lines:
    """Plain lines: stages as they end, training every few seconds."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.losses: list[tuple[int, float]] = []
        self.rate: float | None = None
        self.forecast: dict[str, Any] | None = None
        self.memory = 0
        self.last = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        """Print the line for an event, if it is worth one."""
        line = self.describe(event)
        if line is not None:
            self.output.say(line)

    def describe(self, event: dict[str, Any]) -> str | None:
        """Return the line for an event, or None where it is worth none."""
        self._remember(event)
        match event["event"]:
            case "workflow":
                return f"{event['name']} ({event['preset']}): {event['reason']}"
            case "estimate":
                return f"  {forecast_text(event)}"
            case "waiting" | "warning" as kind:
                return f"  warning: {event['message']}" if kind == "warning" else str(event["message"])
            case "stage" if event["state"] == "done" and event["name"] != "olive" and "seconds" in event:
                return f"  {_title(event)}: {time_text(event['seconds'])}"
            case "training" if event.get("processes", 1) > 1:
                return f"  {_shares(event)}"
            case "step":
                return self._step(event)
            case "trained" if self.forecast is not None:
                return f"  {_compared(self.forecast, event['seconds'], self.memory)}"
            case "verified":
                return "  " + _verified(event)
            case "failure" | "result":
                return _end(event)
        return None

    def _step(self, event: dict[str, Any]) -> str | None:
        now = time.monotonic()
        if event["step"] < event["steps"] and now - self.last < _SECONDS_BETWEEN_LINES:
            return None
        self.last = now
        return f"  step {event['step']}/{event['steps']}  {self.figures(event)}"

    def figures(self, event: dict[str, Any]) -> str:
        """Return the figures of a training step in one line."""
        parts = [f"loss {self.losses[-1][1]:.3f}"] if self.losses else []
        if self.rate is not None:
            parts.append(f"lr {self.rate:.1e}")
        if event["tokens_per_second"]:
            parts.append(f"{event['tokens_per_second']:.0f} tokens/s")
        if event["memory"]:
            parts.append(size_text(event["memory"]))
        if event["gpu_memory"]:
            parts.append(f"GPU {size_text(event['gpu_memory'])}")
        parts.append(f"{time_text(event['seconds_left'])} left")
        return "  ".join(parts)

    def _remember(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "workflow":
                self.losses, self.rate, self.forecast = [], None, None
            case "estimate":
                self.forecast = event
            case "metrics":
                if event.get("loss") is not None:
                    self.losses.append((event["step"], event["loss"]))
                self.rate = event.get("learning_rate", self.rate)
            case "step":
                self.memory = event["gpu_memory"] or event["memory"]


class _Live(Lines):
    """A bar for the stage at hand with the loss below it, above both the lines of what is done."""

    def __init__(self, output: Output, progress: Progress) -> None:
        super().__init__(output)
        self.progress = progress
        self.task = progress.add_task("", total=None, figures="", visible=False)
        self.training = False
        self.stopping = False

    def __call__(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "stopping":  # comes at any moment, so nothing is printed here: the next picture tells it
                self.stopping = True
            case "stage" if event["state"] == "start":
                self.training = False
                self.progress.reset(self.task, total=None, description=_title(event), figures="", visible=True)
            case "metrics":
                self.describe(event)
            case "step":
                self._remember(event)
                self.training = True
                self.progress.update(
                    self.task,
                    total=event["steps"],
                    completed=event["step"],
                    description=f"step {event['step']}/{event['steps']}",
                    figures=self.figures(event),
                )
            case "result" | "failure":
                self.training = False
                self.progress.update(self.task, visible=False)
                super().__call__(event)
            case _:
                super().__call__(event)

    def render(self) -> RenderableType:
        """Return what the terminal shows now."""
        from rich.console import Group
        from rich.padding import Padding
        from rich.text import Text

        from scaffolder.cli.plot import plot

        shown: list[RenderableType] = [self.progress]
        if self.training and len(self.losses) >= _FEWEST_PLOTTED:
            curve = plot({"loss": self.losses}, width=_PLOT_WIDTH, height=_PLOT_HEIGHT, legend=False)
            shown.append(Padding(curve, (0, 2)))
        if self.stopping:
            shown.append(Text("  stopping at the next safe point; Ctrl-C again ends it now", "yellow"))
        return Group(*shown)


def result_text(workflow: str, reason: str, *, fresh: bool) -> str:
    """Return how a workflow ended well, in one line."""
    return f"{workflow}: verified" if fresh else f"{workflow}: up to date, {reason}"


def forecast_text(forecast: dict[str, Any]) -> str:
    """Return an estimate of a training in one line."""
    parts = [f"{forecast['steps']} steps", f"{forecast['tokens']} tokens"]
    if forecast["seconds"] is not None:
        parts.append(time_text(forecast["seconds"]))
    free = f" of {size_text(forecast['available'])} free" if forecast["available"] else ""
    parts.append(f"{size_text(forecast['memory'])}{free}")
    return f"estimated: {', '.join(parts)}"


def planned_text(planned: Sequence[Planned]) -> str:
    """Return what a run would do, a line a workflow."""
    return "\n".join(_planned(entry) for entry in planned)


def _planned(entry: Planned) -> str:
    state = "would run" if entry.would_run else "up to date"
    line = f"{entry.workflow} ({entry.preset}): {state}: {entry.reason}"
    return f"{line}\n  {forecast_text(asdict(entry.forecast))}" if entry.forecast else line


def _compared(forecast: dict[str, Any], seconds: float, memory: int) -> str:
    expected = f" (estimated {time_text(forecast['seconds'])})" if forecast["seconds"] is not None else ""
    peak = f", {size_text(memory)} at the peak (estimated {size_text(forecast['memory'])})" if memory else ""
    return f"trained in {time_text(seconds)}{expected}{peak}"


def _title(event: dict[str, Any]) -> str:
    kind = event.get("pass_type")
    return f"{event['name']} ({kind})" if kind and kind != event["name"] else _STAGES.get(event["name"], event["name"])


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


def _end(event: dict[str, Any]) -> str:
    if event["event"] == "failure":
        return f"{event['workflow']}: failed: {event['message'].splitlines()[0]}"
    return result_text(event["workflow"], event["reason"], fresh=event["fresh"])


def _shares(event: dict[str, Any]) -> str:
    """Say how several processes make up the rows of a step."""
    parts = f"{event['processes']} processes x {event['per_device']} rows x {event['accumulation']} passes"
    return f"a step trains on {event['global_batch']} rows: {parts}"
