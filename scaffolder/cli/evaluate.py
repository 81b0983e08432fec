"""`scaffolder evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output, size_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from scaffolder.evaluation import Score

_ANSWER_WIDTH = 39  # two on a terminal of 80
_DEFAULT_PROMPT = "What is the best thing to see in Chicago?"


def evaluate(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="base, adapter, merged, onnx or a folder; all that exist otherwise."),
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", "-p", help="A question for every model; repeatable.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare base, tuned and exported model on the evaluation examples, side by side."""
    from rich.console import Group

    from scaffolder import evaluation
    from scaffolder.artefacts import find_artefact
    from scaffolder.project import find_project

    output = Output(json=json, quiet=quiet)
    project = find_project()
    models = {name: find_artefact(project, name) for name in model} if model else evaluation.candidates(project)
    prompts = prompt or [project.manifest.dataset.sample_question(_DEFAULT_PROMPT)]

    def tell(event: dict[str, Any]) -> None:
        if event["event"] == "stage":
            output.say(f"scoring {event['name']}")

    scores = evaluation.evaluate(project, models, prompts=prompts, on_event=tell)
    output.data(scores, Group(_table(scores), "", *_answers(prompts, scores)))


def _table(scores: list[Score]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title="loss on the responses of the evaluation examples", title_justify="left")
    table.add_column("model")
    for name in ("loss (nats)", "against base", "perplexity", "size", "tokens/s"):
        table.add_column(name, justify="right")
    for score in scores:
        base = next((other for other in scores if _is_base_of(other, score)), None)
        change = f"{100 * (score.loss / base.loss - 1):+.0f} %" if base else ""
        speed = f"{score.tokens_per_second:.0f}" if score.tokens_per_second else ""
        table.add_row(score.name, f"{score.loss:.3f}", change, f"{score.perplexity:.1f}", size_text(score.size), speed)
    return table


def _is_base_of(other: Score, score: Score) -> bool:
    """Whether `other` is the untuned model in the same form as `score`."""
    if score.form in ("adapter", "merged"):
        return other.form == "base"
    return other.name == f"base-{score.name}"


def _answers(prompts: list[str], scores: list[Score]) -> list[RenderableType]:
    """Answers next to each other, as many as the width allows."""
    from rich.columns import Columns
    from rich.panel import Panel
    from rich.text import Text

    shown: list[RenderableType] = []
    for index, prompt in enumerate(prompts):
        panels = [
            Panel(Text(score.answers[index].strip()), title=score.name, title_align="left", width=_ANSWER_WIDTH)
            for score in scores
        ]
        shown += [Text(prompt, "bold"), Columns(panels, padding=(0, 0))]
    return shown
