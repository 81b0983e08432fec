"""`scaffolder evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from scaffolder.artefacts import Artefact
    from scaffolder.evaluation import Comparison, Gate, Score
    from scaffolder.project import Project

_ANSWER_WIDTH = 39  # two on a terminal of 80


def evaluate(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="base, quantised, adapter, merged, onnx or a folder; else all but quantised."
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", help="A question for every model; repeatable. The first examples' otherwise."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare base, tuned and exported model side by side: quality, cost, answers and gates."""
    from scaffolder import evaluation
    from scaffolder.artefacts import find_artefact
    from scaffolder.project import find_project

    output = Output(json=json, quiet=quiet)
    project = find_project()
    # What is wrong with the gates is told before minutes of measuring.
    (evaluation.judgeable if model else evaluation.models_needed)(project)
    models = {name: find_artefact(project, name) for name in model} if model else evaluation.candidates(project)
    evaluate_models(project, models, output, prompts=prompt or [], open_report=open_)


def evaluate_models(
    project: Project,
    models: dict[str, Artefact],
    output: Output,
    *,
    prompts: Sequence[str] = (),
    open_report: bool = False,
    silent: bool = False,
) -> None:
    """Measure, show, write the report, and judge the gates where all they need was measured.

    Raises:
        GateFailed: The model does not hold them.
    """
    from rich.console import Group

    from scaffolder import evaluation

    compared = evaluation.evaluate(project, models, prompts=prompts, on_event=_teller(output))
    gates = evaluation.judge_project(project, models, compared.scores)
    report = evaluation.write_results(project, models, compared, gates or [])
    if not silent:
        data = {"scores": compared.scores, "gates": gates, "questions": compared.questions}
        output.data(data, Group(*_tables(compared.scores), *_gate_lines(gates or []), *_answers(compared)))
    if gates is None:
        output.say("the gates were not judged: not all the models they need were asked for or made")
    output.say(f"report: {project.relative(report)}")
    if open_report:
        typer.launch(report.as_uri())
    evaluation.fail_if_missed(gates or [])


def _teller(output: Output) -> Callable[[dict[str, Any]], None]:
    def tell(event: dict[str, Any]) -> None:
        if event["event"] == "model":
            output.say(f"measuring {event['model']}")

    return tell


def _tables(scores: Sequence[Score]) -> list[Table]:
    quality = _columns("quality", ("loss", "vs base", "perplexity", "same token", "KL"))
    cost = _columns("cost", ("size", "memory", "load", "1st token", "read/s", "write/s"))
    for score in scores:
        quality.add_row(score.name, *_quality(score, scores))
        cost.add_row(
            score.name,
            size_text(score.size),
            size_text(score.memory),
            f"{score.load_seconds:.1f} s",
            f"{score.first_token_seconds:.2f} s",
            f"{score.prefill_tokens_per_second:.0f}",
            f"{score.tokens_per_second:.0f}",
        )
    names = dict.fromkeys(name for score in scores for name in (*score.metrics, *score.lm_eval))
    if not names:
        return [quality, cost]
    # A user's own metric goes by its function's name.
    answers = _columns("answers", [name.rpartition(":")[2] for name in names])
    for score in scores:
        figures = {**score.metrics, **score.lm_eval}
        answers.add_row(score.name, *(f"{figures[name]:.3f}" if name in figures else "" for name in names))
    return [quality, answers, cost]


def _columns(title: str, names: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1))
    table.add_column("model", overflow="fold")
    for name in names:
        table.add_column(name, justify="right")
    return table


def _quality(score: Score, scores: Sequence[Score]) -> list[str]:
    from scaffolder.evaluation import base_of

    base = base_of(score, scores)
    return [
        f"{score.loss:.3f}",
        f"{100 * (score.loss / base.loss - 1):+.0f} %" if base else "",
        f"{score.perplexity:.1f}",
        f"{100 * score.top1_agreement:.1f} %" if score.top1_agreement is not None else "",
        f"{score.kl:.4f}" if score.kl is not None else "",
    ]


def _gate_lines(gates: Sequence[Gate]) -> list[RenderableType]:
    from rich.text import Text

    lines = [
        Text.assemble(
            ("holds  " if gate.passed else "fails  ", "green" if gate.passed else "bold red"),
            f"{gate.key} = {gate.limit:g}: {gate.model} has {gate.value:g}",
        )
        for gate in gates
    ]
    return [Text("gates", "italic"), *lines, Text("")] if lines else []


def _answers(compared: Comparison) -> list[RenderableType]:
    """Answers next to each other, as many as the width allows."""
    from rich.columns import Columns
    from rich.panel import Panel
    from rich.text import Text

    shown: list[RenderableType] = []
    # The user's own questions all; of the examples one, the others are in the report.
    asked = compared.questions[: 1 if compared.expected[0] else None]
    for index, question in enumerate(asked):
        texts = [(score.name, score.answers[index]) for score in compared.scores]
        expected = compared.expected[index]
        panels = [
            Panel(Text(text.strip()), title=name, title_align="left", width=_ANSWER_WIDTH)
            for name, text in ([("expected", expected)] if expected else []) + texts
        ]
        shown += [Text(question, "bold"), Columns(panels, padding=(0, 0))]
    return shown
