"""Answers from any form of the model."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import presets
from scaffolder.environment import find_environment
from scaffolder.errors import ScaffolderError
from scaffolder.process import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scaffolder.artefacts import Artefact
    from scaffolder.project import Project


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose the next token.

    Attributes:
        max_new_tokens: Longest answer, in tokens.
        temperature: 0 takes the likeliest token; above, larger is more varied.
        top_p: Keep the likeliest tokens that make up this share.
        top_k: Keep at most this many of the likeliest tokens.
        seed: For temperatures above 0.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 50
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer with its figures; `first_token_seconds` includes reading the prompt."""

    text: str
    prompt_tokens: int
    tokens: int
    first_token_seconds: float
    tokens_per_second: float


def generate(
    project: Project,
    artefact: Artefact,
    prompts: Sequence[str],
    *,
    sampling: Sampling,
    system: str | None = None,
    on_text: Callable[[int, str], None] = lambda _index, _text: None,
) -> list[Answer]:
    """Answer prompts in order, with the model's chat template.

    Args:
        project: The project.
        artefact: Which form of the model.
        prompts: One question each.
        sampling: How to choose tokens.
        system: System message; the project's where left out.
        on_text: Gets the index of the prompt and each piece of text as it comes.

    Raises:
        ScaffolderError: The model cannot be loaded, or a prompt is longer than its context.
    """
    system = system or project.manifest.dataset.system_prompt
    known = presets.entry(project.manifest.model.id)
    job: dict[str, Any] = {
        "task": "generate",
        "root": str(project.root),
        "model": artefact.spec(),
        "sampling": asdict(sampling),
        "context": known["context"] if known else None,
        "prompts": [
            [
                *([{"role": "system", "content": system}] if system else []),
                {"role": "user", "content": project.manifest.dataset.question(prompt)},
            ]
            for prompt in prompts
        ],
    }
    texts = [""] * len(prompts)
    answers: list[Answer] = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "generate.log"
        with Worker(find_environment(project.root).python, job, log) as worker:
            for event in worker.events():
                match event["event"]:
                    case "text":
                        texts[event["index"]] += event["text"]
                        on_text(event["index"], event["text"])
                    case "answer":
                        figures = {key: event[key] for key in Answer.__dataclass_fields__ if key != "text"}
                        answers.append(Answer(texts[event["index"]], **figures))
                    case "failed":
                        raise ScaffolderError(event["message"], hint=event["hint"])
            if worker.wait() != 0 or len(answers) < len(prompts):
                raise ScaffolderError("the worker ended early", hint=log.read_text(errors="replace")[-500:])
    return answers
