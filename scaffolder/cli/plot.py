"""Loss curves in the terminal, a character a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

Point = tuple[int, float]

_WIDTH, _HEIGHT = 60, 10
# Told apart without colour too.
_STYLES = (("•", "cyan"), ("○", "magenta"), ("◆", "yellow"))


def plot(
    series: Mapping[str, Sequence[Point]], *, width: int = _WIDTH, height: int = _HEIGHT, legend: bool = True
) -> Text:
    """Return a plot of up to three series of losses by step; a column shows the mean of its points.

    Args:
        series: Points by name.
        width: Columns of the field.
        height: Rows of the field.
        legend: Name the series below.
    """
    from rich.text import Text

    points = [point for found in series.values() for point in found]
    last = max(step for step, _ in points) or 1
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    cells: dict[tuple[int, int], tuple[str, str]] = {}
    for style, found in zip(_STYLES, series.values(), strict=False):
        for column, loss in _columns(found, last, width).items():
            level = round((height - 1) * (loss - low) / ((high - low) or 1.0))
            cells[height - 1 - level, column] = style
    labels = {0: f"{high:.3f}", height - 1: f"{low:.3f}"}
    margin = max(len(label) for label in labels.values())
    text = Text()
    for row in range(height):
        text.append(f"{labels.get(row, ''):>{margin}} │", "dim")
        for column in range(width):
            text.append(*cells.get((row, column), (" ", "")))
        text.append("\n")
    text.append(f"{'':>{margin}} └{'─' * width}\n", "dim")
    text.append(f"{'':>{margin}}  0{f'step {last}':>{width - 1}}\n", "dim")
    for (mark, colour), name in zip(_STYLES, series if legend else (), strict=False):
        text.append(f"{'':>{margin}}  {mark} ", colour)
        text.append(f"{name}\n")
    text.rstrip()
    return text


def _columns(points: Sequence[Point], last: int, width: int) -> dict[int, float]:
    gathered: dict[int, list[float]] = {}
    for step, loss in points:
        gathered.setdefault(min(width - 1, step * width // last), []).append(loss)
    return {column: sum(losses) / len(losses) for column, losses in gathered.items()}
