"""Small drawings with axes as inline SVG, in the colours of the page around them."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scaffolder.curves import ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

# Small enough to be read on a telephone, where it is shown at three quarters of this.
_WIDTH, _HEIGHT = 480, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 34, 46
_LINE = 15  # between labels


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction: its range and its name with the unit; counts have whole numbers alone."""

    low: float
    high: float
    label: str
    whole: bool = False

    def ticks(self, count: int) -> list[float]:
        """Return about `count` values to write beside it."""
        return [value for value in ticks(self.low, self.high, count) if not self.whole or value == int(value)]


@dataclass(frozen=True, slots=True)
class Mark:
    """A labelled point; `series` chooses its colour."""

    x: float
    y: float
    label: str
    series: int


def around(values: Sequence[float], label: str, *, from_zero: bool = False) -> Axis:
    """Return an axis that holds all values with some room; from zero where differences should not look larger."""
    low, high = min(values), max(values)
    room = 0.12 * (high - low) or abs(high) * 0.1 or 1.0
    return Axis(0.0 if from_zero else low - room, high + room, label)


@dataclass
class Plot:
    """A drawing in the making: lines, marks and bars over two axes."""

    x: Axis
    y: Axis
    parts: list[str] = field(default_factory=list)
    legend: list[tuple[str, int]] = field(default_factory=list)

    def line(self, points: Sequence[tuple[float, float]], name: str, series: int, *, faint: bool = False) -> None:
        """Draw a line; the faint one beside its average has no entry in the legend."""
        path = " ".join(f"{self._x(x)},{self._y(y)}" for x, y in points)
        self.parts.append(f'<polyline class="s{series}{" faint" if faint else ""}" points="{path}"/>')
        if not faint:
            self.legend.append((name, series))

    def dots(self, points: Sequence[tuple[float, float]], name: str, series: int) -> None:
        """Draw points that need no labels."""
        self.parts += [f'<circle class="s{series}" cx="{self._x(x)}" cy="{self._y(y)}" r="3.5"/>' for x, y in points]
        self.legend.append((name, series))

    def marks(self, marks: Sequence[Mark]) -> None:
        """Draw points with their labels beside them, moved apart where they would lie on each other."""
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        for right in (True, False):
            side = sorted((m for m in marks if (self._x(m.x) <= middle) is right), key=lambda mark: self._y(mark.y))
            heights = _apart([self._y(mark.y) for mark in side])
            for mark, height in zip(side, heights, strict=True):
                self._mark(mark, height, right=right)

    def _mark(self, mark: Mark, height: float, *, right: bool) -> None:
        x, y = self._x(mark.x), self._y(mark.y)
        end = x + 14 if right else x - 14
        text = end + 3 if right else end - 3
        anchor = "start" if right else "end"
        self.parts += [
            f'<path class="lead" d="M{x} {y}L{end} {height}"/>',
            f'<circle class="s{mark.series}" cx="{x}" cy="{y}" r="4.5"/>',
            f'<text x="{text}" y="{height + 4}" text-anchor="{anchor}">{html.escape(mark.label)}</text>',
        ]

    def bars(self, counts: Sequence[int], edges: Sequence[float], name: str, series: int) -> None:
        """Draw the bars of a histogram; `edges` has one value more than `counts`."""
        bottom = self._y(0)
        for count, low, high in zip(counts, edges, edges[1:], strict=False):
            x, top = self._x(low), self._y(count)
            width, height = round(self._x(high) - x - 1, 1), round(bottom - top, 1)
            self.parts.append(f'<rect class="s{series}" x="{x}" y="{top}" width="{width}" height="{height}"/>')
        self.legend.append((name, series))

    def svg(self, title: str) -> str:
        """Return the drawing, with its title for those who cannot see it."""
        return "".join(
            [
                f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title)}">',
                *self._grid(),
                *self._names(),
                *self.parts,
                *self._legend(),
                "</svg>",
            ]
        )

    def _x(self, value: float) -> float:
        share = (value - self.x.low) / ((self.x.high - self.x.low) or 1)
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * share, 1)

    def _y(self, value: float) -> float:
        share = (value - self.y.low) / ((self.y.high - self.y.low) or 1)
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share, 1)

    def _grid(self) -> list[str]:
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        parts = []
        for value in self.y.ticks(5):
            y = self._y(value)
            parts.append(f'<path class="grid" d="M{_LEFT} {y}H{right}"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{value:g}</text>')
        for value in self.x.ticks(6):
            x = self._x(value)
            parts.append(f'<path class="axis" d="M{x} {bottom}v4"/>')
            parts.append(f'<text x="{x}" y="{bottom + 17}" text-anchor="middle">{value:g}</text>')
        return [*parts, f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>']

    def _names(self) -> list[str]:
        middle = (_TOP + _HEIGHT - _BOTTOM) / 2
        return [
            f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">'
            f"{html.escape(self.x.label)}</text>",
            f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">'
            f"{html.escape(self.y.label)}</text>",
        ]

    def _legend(self) -> list[str]:
        parts, x = [], float(_LEFT)
        for name, series in self.legend:
            parts.append(f'<rect class="s{series}" x="{x}" y="10" width="12" height="5"/>')
            parts.append(f'<text x="{x + 17}" y="17">{html.escape(name)}</text>')
            x += 17 + 7.1 * len(name) + 18
        return parts


def _apart(heights: Sequence[float]) -> list[float]:
    """Return sorted heights with at least a line between them, within the drawing."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + _LINE) if moved else height)
    over = max(0.0, moved[-1] - (_HEIGHT - _BOTTOM)) if moved else 0.0
    if not over:
        return moved
    # Too low: back up from the bottom.
    back: list[float] = []
    for height in reversed(moved):
        back.append(min(height, back[-1] - _LINE if back else float(_HEIGHT - _BOTTOM)))
    return back[::-1]
