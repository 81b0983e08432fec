"""`scaffolder generate`."""

from __future__ import annotations

import dataclasses
import json as encoder
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaffolder.cli.options import (
    AdapterName,
    MaxNewTokens,
    ModelName,
    Quiet,
    Seed,
    System,
    Temperature,
    TopK,
    TopP,
)
from scaffolder.cli.output import Output, time_text
from scaffolder.errors import Interrupted, SomeFailed

if TYPE_CHECKING:
    from scaffolder.inference import Answer, Message, Refused
    from scaffolder.project import Project

_LONGEST_ECHO = 200  # characters of a question that is shown above its answer


def generate(
    prompt: Annotated[list[str] | None, typer.Argument(help="The question; several are answered in order.")] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", metavar="FILE|-", help="Questions, one a line as text or JSON; - is the input."),
    ] = None,
    model: ModelName = None,
    adapter: AdapterName = None,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 50,
    seed: Seed = 0,
    system: System = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print each answer as JSON; of several, as a line each.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Answer questions with any form of the model; several keep their order."""
    from scaffolder import inference
    from scaffolder.project import find_project

    output = Output(json=json, quiet=quiet)
    project = find_project()
    questions = _questions(project, prompt or [], file)
    artefact = inference.choose(project, model, adapter)
    sampling = inference.Sampling(max_new_tokens, temperature, top_p, top_k, seed)
    conversations = [inference.conversation(project, question, system=system) for question in questions]
    refused = 0
    with inference.Session(project, artefact) as session:
        for number, (question, messages) in enumerate(zip(questions, conversations, strict=True), start=1):
            if len(questions) > 1 and not json:
                output.say(f"> {_shown(question)}")
            asked = {"model": model or artefact.form, "prompt": question}
            try:
                answer = session.answer(
                    messages, sampling, lambda text: None if json else output.stream(text), pause=output.pause
                )
            except inference.Refused as error:
                if len(questions) == 1:
                    raise
                refused += 1
                _show_refusal(output, number, asked, error)
                continue
            _show(output, asked, answer, batch=len(questions) > 1)
            if answer.finish == "interrupted":
                raise Interrupted("stopped")
    if refused:
        raise SomeFailed(f"{refused} of {len(questions)} questions were not answered")


def _questions(project: Project, prompts: list[str], file: str | None) -> list[str | list[Message]]:
    from scaffolder.errors import ConfigError, UsageError
    from scaffolder.prompts import read_prompts

    piped = file == "-" or (file is None and not prompts and not sys.stdin.isatty())
    columns = project.manifest.dataset.question_columns()
    if piped:
        return [*prompts, *read_prompts(sys.stdin, columns=columns, shown_as="standard input")]
    if file is None:
        if not prompts or not all(prompt.strip() for prompt in prompts):
            raise UsageError("no question", hint='scaffolder generate "…", or --file FILE, or pipe questions in')
        return [*prompts]
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {getattr(error, 'strerror', None) or 'is no UTF-8 text'}") from error
    return [*prompts, *read_prompts(text.splitlines(), columns=columns, shown_as=file)]


def _shown(question: str | list[Message]) -> str:
    text = question if isinstance(question, str) else question[-1]["content"]
    return text if len(text) <= _LONGEST_ECHO else f"{text[:_LONGEST_ECHO]}…"


def _show_refusal(output: Output, number: int, asked: dict[str, Any], error: Refused) -> None:
    """Tell of one question of several; the others are answered all the same."""
    if output.json:
        output.line(encoder.dumps({**asked, "text": None, "refused": error.message}, ensure_ascii=False))
    output.error(type(error)(f"question {number}: {error.message}", hint=error.hint))


def _show(output: Output, asked: dict[str, Any], answer: Answer, *, batch: bool) -> None:
    result = {**asked, **dataclasses.asdict(answer)}
    if batch and output.json:
        output.line(encoder.dumps(result, ensure_ascii=False))
    else:
        output.data(result, "")
    output.say(
        f"{answer.tokens} tokens, {answer.tokens_per_second:.0f} tokens/s, "
        f"first after {time_text(answer.first_token_seconds)}" + (", cut at its limit" * (answer.finish == "length"))
    )
