"""Answers from any form of the model, which stays loaded from one question to the next."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from scaffolder import presets
from scaffolder.artefacts import NO_ADAPTER, find_artefact, served_adapters
from scaffolder.environment import find_environment
from scaffolder.errors import ScaffolderError, UsageError
from scaffolder.process import Worker, stop_on_interrupt
from scaffolder.records import find_runs
from scaffolder.settings import answering_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from scaffolder.artefacts import Artefact
    from scaffolder.project import Project


Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose the next token.

    Attributes:
        max_new_tokens: Longest answer, in tokens.
        temperature: 0 takes the likeliest token; above, larger is more varied.
        top_p: Keep the likeliest tokens that make up this share.
        top_k: Keep at most this many of the likeliest tokens.
        seed: For temperatures above 0.
        min_new_tokens: Until there are so many, no end token ends the answer: for measurements.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 50
    seed: int = 0
    min_new_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer with its figures.

    Attributes:
        text: What the model said.
        finish: "stop" at an end token, "length" where the limit or the context cut it, "interrupted".
        prompt_tokens: Length of the prompt with its chat template.
        tokens: Length of the answer.
        first_token_seconds: Until the first token, reading the prompt included.
        tokens_per_second: Of the tokens after the first.
    """

    text: str
    finish: str
    prompt_tokens: int
    tokens: int
    first_token_seconds: float
    tokens_per_second: float


class Refused(ScaffolderError):
    """One question cannot be answered; the next may."""


class Session:
    """A loaded model that answers one question after another, as a context manager.

    Args:
        project: The project.
        artefact: Which form of the model.

    Raises:
        ScaffolderError: The model cannot be loaded.
    """

    def __init__(self, project: Project, artefact: Artefact) -> None:
        known = presets.entry(project.manifest.model.id)
        job: dict[str, Any] = {
            "task": "session",
            "root": str(project.root),
            "model": artefact.spec(),
            "context": known["context"] if known else None,
        }
        self.adapter = artefact.use
        self._known = artefact.adapters
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name) / "session.log"
        self._worker = Worker(find_environment(project.root).python, job, self._log, answering_environment())

    def __enter__(self) -> Self:
        """Load the model."""
        self._worker.__enter__()
        self._events = self._worker.events()
        try:
            self._until("loaded")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the worker."""
        self._worker.__exit__(kind, error, trace)
        self._folder.cleanup()

    @property
    def adapters(self) -> list[str]:
        """Names that `use` takes, beside None."""
        return list(self._known)

    def use(self, adapter: str | None) -> None:
        """Choose the adapter for the answers that follow; None answers as the base.

        Raises:
            UsageError: The model has no adapter of that name.
        """
        if adapter is not None and adapter not in self._known:
            raise UsageError(f"no adapter `{adapter}`", hint=f"there are: {', '.join((*self._known, NO_ADAPTER))}")
        self.adapter = adapter

    def answer(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        on_text: Callable[[str], None] = lambda _text: None,
        *,
        pause: float = 0.5,
    ) -> Answer:
        """Answer the last message of a conversation; Ctrl-C ends the answer early.

        Args:
            messages: The conversation.
            sampling: How to choose the next token.
            on_text: Gets the answer's text as it comes.
            pause: Seconds from one piece of it to the next: whoever reads takes a processor from the model each time.

        Raises:
            Refused: The conversation is longer than the model's context; the message has the numbers.
            ScaffolderError: The worker ended.
        """
        chosen = {"adapter": self.adapter} if self._known else {}
        self._worker.send({"messages": list(messages), "sampling": asdict(sampling), "pause": pause, **chosen})
        text: list[str] = []

        def hear(piece: str) -> None:
            text.append(piece)
            on_text(piece)

        with stop_on_interrupt(self._worker):
            event = self._until("answer", hear)
        return Answer("".join(text), **{key: event[key] for key in Answer.__dataclass_fields__ if key != "text"})

    def _until(self, name: str, on_text: Callable[[str], None] = lambda _text: None) -> dict[str, Any]:
        for event in self._events:
            match event["event"]:
                case "text":
                    on_text(event["text"])
                case "refused":
                    raise Refused(event["message"], hint=event["hint"])
                case "failed":
                    raise ScaffolderError(event["message"], hint=event["hint"])
            if event["event"] == name:
                return event
        raise ScaffolderError("the worker ended early", hint=self._log.read_text(errors="replace")[-500:])


def choose(project: Project, model: str | None, adapter: str | None) -> Artefact:
    """Return the model to ask, see `find_artefact`; left out, the exported one.

    With an adapter's name alone: the first export that takes it as an input, else the adapter in PyTorch.
    """
    if model is not None or adapter in (None, NO_ADAPTER):
        return find_artefact(project, model or "onnx", adapter)
    exports = (project.root / record.output for record in find_runs(project) if record.metrics.get("kind") == "onnx")
    serving = next((folder for folder in exports if adapter in served_adapters(folder)), None)
    return find_artefact(project, str(serving) if serving else "adapter", adapter)


def conversation(project: Project, question: str | list[Message], *, system: str | None = None) -> list[Message]:
    """Return a question as the model was trained to get it, after the system message.

    Args:
        project: The project.
        question: A question, or a conversation that ends with one; that keeps the system message it has.
        system: The system message; the project's where left out, none where empty.
    """
    system = project.manifest.dataset.system_prompt if system is None else system
    dataset = project.manifest.dataset
    messages = [{"role": "user", "content": dataset.question(question)}] if isinstance(question, str) else question
    if not system or messages[0]["role"] == "system":
        return messages
    return [{"role": "system", "content": system}, *messages]
