"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from scaffolder import curves
from scaffolder.plots import Axis, Mark, Plot, around

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scaffolder.curves import Curve
    from scaffolder.evaluation.compare import Comparison, Score
    from scaffolder.evaluation.gates import Gate

_FORMS = ("base", "adapter", "merged", "onnx")
_BINS = 16


def render(title: str, model: str, comparison: Comparison, gates: Sequence[Gate], curve: Curve | None) -> str:
    """Return the page.

    Args:
        title: The project's name.
        model: The base model's name.
        comparison: What was measured.
        gates: How the model stands to its gates; empty where there are none.
        curve: The loss over the steps of the adapter's training, where there was one.
    """
    import jinja2

    # Whatever a model answers is text, never markup.
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["size"] = lambda size: f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
    template = environment.from_string(files("scaffolder.evaluation").joinpath("report.html").read_text("utf-8"))
    scores = comparison.scores
    return template.render(
        title=title,
        model=model,
        comparison=comparison,
        bases={score.name: base_of(score, scores) for score in scores},
        metrics=list(dict.fromkeys(name for score in scores for name in score.metrics)),
        tasks=list(dict.fromkeys(name for score in scores for name in score.lm_eval)),
        gates=gates,
        plots=_plots(comparison, curve),
    )


def base_of(score: Score, scores: Sequence[Score]) -> Score | None:
    """Return the untuned model that a loss is compared with: in the same form where it was measured, else as it is."""
    if score.form == "base":
        return None
    same = f"base-{score.name}" if score.form == "onnx" else "base"
    found = {other.name: other for other in scores if other.form in ("base", "onnx")}
    return found.get(same) or next((other for other in scores if other.form == "base"), None)


def _plots(comparison: Comparison, curve: Curve | None) -> list[tuple[str, str]]:
    """Return titles and drawings."""
    scores = comparison.scores
    found = [
        ("Quality against size", _scatter(scores, lambda score: score.size / 1e6, "size, MB")),
        ("Quality against speed", _scatter(scores, lambda score: score.tokens_per_second, "written, tokens/s")),
        ("Length of the examples", _lengths(comparison.lengths)),
    ]
    if curve is not None and len(curve.training) >= curves.FEWEST_POINTS:
        found.insert(0, ("Training", _training(curve)))
    return [(title, plot.svg(title)) for title, plot in found]


def _training(curve: Curve) -> Plot:
    averaged, window = curves.smooth(curve.training)
    losses = [loss for _, loss in (*curve.training, *curve.evaluation)]
    plot = Plot(
        Axis(0, max(step for step, _ in curve.training), "step", whole=True), around(losses, "loss, nats per token")
    )
    if window > 1:
        plot.line(curve.training, "", 0, faint=True)
    plot.line(averaged, f"training, mean of {window}" if window > 1 else "training", 0)
    if curve.evaluation:
        plot.dots(curve.evaluation, "evaluation", 1)
    return plot


def _scatter(scores: Sequence[Score], figure: Callable[[Score], float], label: str) -> Plot:
    plot = Plot(
        around([figure(score) for score in scores], label, from_zero=True),
        around([score.loss for score in scores], "loss, nats per response token"),
    )
    plot.marks([Mark(figure(score), score.loss, score.name, _FORMS.index(score.form)) for score in scores])
    return plot


def _lengths(lengths: dict[str, list[int]]) -> Plot:
    both = [*lengths["prompts"], *lengths["responses"]]
    width = max(1, -(-(max(both) + 1) // _BINS))
    edges = [float(width * index) for index in range(_BINS + 1)]
    counts = {
        name: [sum(low <= value < low + width for value in lengths[name]) for low in edges[:-1]] for name in lengths
    }
    highest = max(max(values) for values in counts.values())
    plot = Plot(Axis(0, edges[-1], "tokens", whole=True), Axis(0, highest * 1.05, "examples", whole=True))
    for series, name in enumerate(("prompts", "responses")):
        plot.bars(counts[name], edges, name, series)
    return plot
