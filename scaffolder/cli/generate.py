"""`scaffolder generate`."""

from __future__ import annotations

from typing import Annotated

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output, time_text


def generate(
    prompt: Annotated[str, typer.Argument(help="The question.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="base, adapter, merged, onnx, or the folder of a model.")
    ] = "onnx",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0, help="Keep the likeliest tokens up to this share.")] = 1.0,
    top_k: Annotated[int, typer.Option(min=1, help="Keep at most this many likeliest tokens.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed for temperatures above 0.")] = 0,
    system: Annotated[str | None, typer.Option("--system", help="System message.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Answer a question with any form of the model."""
    from scaffolder import inference
    from scaffolder.artefacts import find_artefact
    from scaffolder.project import find_project

    output = Output(json=json, quiet=quiet)
    project = find_project()
    [answer] = inference.generate(
        project,
        find_artefact(project, model),
        [prompt],
        sampling=inference.Sampling(max_new_tokens, temperature, top_p, top_k, seed),
        system=system,
        on_text=lambda _index, text: None if json else output.stream(text),
    )
    output.data({"model": model, "prompt": prompt, **_fields(answer)}, "")
    output.say(
        f"{answer.tokens} tokens, {answer.tokens_per_second:.0f} tokens/s, "
        f"first after {time_text(answer.first_token_seconds)}"
    )


def _fields(answer: object) -> dict[str, object]:
    import dataclasses

    return {field: getattr(answer, field) for field in (f.name for f in dataclasses.fields(answer))}  # type: ignore[arg-type]
