"""Loss over steps: read from a run's events, smoothed, drawn as SVG."""

from __future__ import annotations

import html
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Point = tuple[int, float]

FEWEST_POINTS = 2
_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 64, 56
# Two colours of Okabe and Ito's palette, told apart by nearly everyone.
_TRAINING, _EVALUATION = "#0072b2", "#d55e00"
_MOST_POINTS = 2000
# A line that goes up and down this many times its own fall hides where it goes.
_NOISY = 3.0
_FEWEST_TO_SMOOTH = 16


@dataclass(frozen=True, slots=True)
class Curve:
    """Losses in nats per token, by step.

    Attributes:
        training: On the batches trained on.
        evaluation: On the evaluation examples.
    """

    training: list[Point]
    evaluation: list[Point]


def of_events(events: Iterable[dict[str, Any]]) -> Curve:
    """Return the curve of a run, over all its attempts: what an attempt did again replaces what it had."""
    training: dict[int, float] = {}
    evaluation: dict[int, float] = {}
    verified: list[Point] = []
    for event in events:
        match event:
            case {"event": "training", "step": start}:
                training = {step: loss for step, loss in training.items() if step <= start}
                evaluation = {step: loss for step, loss in evaluation.items() if step <= start}
            case {"event": "metrics", "step": step}:
                if event.get("loss") is not None:
                    training[step] = event["loss"]
                if event.get("eval_loss") is not None:
                    evaluation[step] = event["eval_loss"]
            case {"event": "verified", "metrics": {"before": before, "after": after}} if training:
                verified = [(0, before["loss"]), (max(training), after["loss"])]
    return Curve(sorted(training.items()), sorted(evaluation.items()) or verified)


def smooth(points: Sequence[Point]) -> tuple[list[Point], int]:
    """Return a centred moving average and its window in points; a window of 1 where the line is calm enough."""
    if len(points) < _FEWEST_TO_SMOOTH:
        return list(points), 1
    losses = [loss for _, loss in points]
    ups_and_downs = sum(abs(after - before) for before, after in itertools.pairwise(losses))
    if ups_and_downs <= _NOISY * abs(losses[-1] - losses[0]):
        return list(points), 1
    half = max(2, len(points) // 30)
    averages = []
    for index, (step, _) in enumerate(points):
        # As many points to either side: where the loss falls fast, a one-sided mean would lean. It is flat at the end.
        before = min(half, index)
        around = losses[index - before : index + before + 1]
        averages.append((step, sum(around) / len(around)))
    return averages, 2 * half + 1


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round numbers within `low` and `high`."""
    span = (high - low) or abs(high) or 1.0
    rough = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def svg(curve: Curve, *, title: str) -> str:
    """Return the curve as an SVG document: steps to the right, loss in nats per token upwards."""
    averaged, window = smooth(curve.training)
    losses = [loss for _, loss in (*curve.training, *curve.evaluation)]
    margin = 0.05 * (max(losses) - min(losses)) or 0.1
    frame = _Frame(max(step for step, _ in curve.training), min(losses) - margin, max(losses) + margin)
    parts = [*frame.grid(), *frame.axes()]
    if window > 1:
        parts.append(frame.line(curve.training, _TRAINING, "0.3", "1"))
    parts.append(frame.line(averaged, _TRAINING, "1", "2"))
    if len(curve.evaluation) > 2:
        parts.append(frame.line(curve.evaluation, _EVALUATION, "1", "1.5", dash="5 4"))
    # Before and after alone say nothing of the way between them.
    parts += [frame.dot(point, _EVALUATION) for point in curve.evaluation]
    name = f"training, mean of {window} points" if window > 1 else "training"
    parts += _legend([(name, _TRAINING, averaged), ("evaluation", _EVALUATION, curve.evaluation)])
    described = "; ".join(
        f"{name} loss from {points[0][1]:.3f} to {points[-1][1]:.3f}"
        for name, points in (("training", averaged), ("evaluation", curve.evaluation))
        if points
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
            f'height="{_HEIGHT}" font-family="system-ui, sans-serif" font-size="13" fill="#24292f" role="img">',
            f"<title>{html.escape(title)}</title>",
            f"<desc>{described}</desc>",
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
            f'<text x="{_LEFT}" y="26" font-size="16" font-weight="600">{html.escape(title)}: loss</text>',
            *parts,
            "</svg>\n",
        ]
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where steps and losses lie on the drawing."""

    last_step: int
    low: float
    high: float

    def x(self, step: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * step / max(self.last_step, 1), 1)

    def y(self, loss: float) -> float:
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (loss - self.low) / (self.high - self.low), 1)

    def grid(self) -> list[str]:
        parts = []
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        for loss in ticks(self.low, self.high, 6):
            y = self.y(loss)
            parts.append(f'<line x1="{_LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="#e1e4e8"/>')
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{loss:g}</text>')
        for step in ticks(0, self.last_step, 8):
            if step == int(step):
                x = self.x(step)
                parts.append(f'<line x1="{x}" y1="{bottom}" x2="{x}" y2="{bottom + 5}" stroke="#57606a"/>')
                parts.append(f'<text x="{x}" y="{bottom + 20}" text-anchor="middle">{step:g}</text>')
        return parts

    def axes(self) -> list[str]:
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        middle = (_TOP + bottom) / 2
        return [
            f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#57606a"/>',
            f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 14}" text-anchor="middle">step</text>',
            f'<text x="18" y="{middle}" text-anchor="middle" transform="rotate(-90 18 {middle})">'
            "loss, nats per token</text>",
        ]

    def line(self, points: Sequence[Point], colour: str, opacity: str, width: str, *, dash: str = "none") -> str:
        # The last point is always there; of very many, as many as can be seen.
        stride = max(1, len(points) // _MOST_POINTS)
        drawn = [*points[:-1:stride], points[-1]]
        path = " ".join(f"{self.x(step)},{self.y(loss)}" for step, loss in drawn)
        return (
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" '
            f'stroke-opacity="{opacity}" stroke-dasharray="{dash}" stroke-linejoin="round"/>'
        )

    def dot(self, point: Point, colour: str) -> str:
        return f'<circle cx="{self.x(point[0])}" cy="{self.y(point[1])}" r="3.5" fill="{colour}"/>'


def _legend(entries: Sequence[tuple[str, str, Sequence[Point]]]) -> list[str]:
    parts, x = [], float(_LEFT)
    for name, colour, points in entries:
        if not points:
            continue
        text = f"{name}: {points[0][1]:.3f} → {points[-1][1]:.3f}"
        parts.append(f'<rect x="{x}" y="40" width="14" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 20}" y="47">{text}</text>')
        x += 20 + 7.5 * len(text) + 24
    return parts
