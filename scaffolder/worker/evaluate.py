"""Measure one model: loss, agreement with another, answers, speed and memory."""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

from . import metrics, speed
from .agreement import Agreement, Reference
from .chat import prompt_text, read_conversations
from .loss import ResponseLoss, evaluation_samples
from .measure import peak_gpu_memory, peak_memory, resident_memory
from .models import LanguageModel, Sampling, answer, load_model
from .texts import score

if TYPE_CHECKING:
    from collections.abc import Callable

    from .channel import Channel

# Loaded before the clock and the memory are read: they cost the same for every model of a form.
_TOKENIZERS = ("torch", "transformers.tokenization_utils_tokenizers", "transformers.models.auto.tokenization_auto")
_LIBRARIES = {"onnx": (*_TOKENIZERS, "onnxruntime_genai")}
_TORCH = (*_TOKENIZERS, "transformers.modeling_utils", "transformers.models.auto.modeling_auto", "peft")


def evaluate(job: dict[str, Any], channel: Channel) -> None:
    """Measure `job["model"]` on `job["dataset"]` in each of `job["parts"]`; each ends with an event `measured`.

    In a process of its own, so that its memory is its own. The parts, with their arguments:

    `speed`: {} → `load_seconds`, `memory` (bytes above the libraries, up to the end of this part) and what
    `speed.measure` gives. `loss`: {} → see `loss.ResponseLoss`. `lengths`: {} → tokens of prompts and
    responses. `answers`: {`prompts`, `examples`, `max_new_tokens`} → greedy
    answers to the prompts and the first examples' questions. `metrics`: see `metrics.score`.
    `reference`: {`file`} writes what `agreement`: {`file`} of another model compares with.
    """
    for library in _LIBRARIES.get(job["model"]["kind"], _TORCH):
        importlib.import_module(library)
    before, started = resident_memory(), time.perf_counter()
    model = load_model(job["model"])
    load_seconds = time.perf_counter() - started
    parts = job["parts"]
    if "speed" in parts:
        channel.emit("stage", name="speed", state="start")
        figures = _speed(model, job["dataset"])
        memory = peak_gpu_memory() or max(peak_memory() - before, 0)
        figures |= {"load_seconds": round(load_seconds, 3), "memory": memory}
        channel.emit("measured", part="speed", figures=figures)
    if along := {part: parts[part] for part in _ALONG_TEXTS if part in parts}:
        channel.emit("stage", name=next(iter(along)), state="start")
        for part, figures in _along_texts(model, job["dataset"], along):
            channel.emit("measured", part=part, figures=figures)
    for part in [part for part in _PARTS if part in parts]:
        channel.emit("stage", name=part, state="start")
        channel.emit("measured", part=part, figures=_PARTS[part](model, job["dataset"], parts[part]))


def _speed(model: LanguageModel, dataset: dict[str, Any]) -> dict[str, Any]:
    return speed.measure(model, evaluation_samples(model, dataset, limit=speed.EXAMPLES))


def _along_texts(
    model: LanguageModel, dataset: dict[str, Any], parts: dict[str, dict[str, Any]]
) -> list[tuple[str, dict[str, Any]]]:
    """Return the figures of each part; each text goes through the model once for all of them."""
    own = evaluation_samples(model, dataset, limit=None)
    makers: dict[str, Callable[[dict[str, Any]], ResponseLoss | Reference | Agreement]] = {
        "loss": lambda _: ResponseLoss(own),
        "reference": lambda arguments: Reference(arguments["file"], own, len(model.tokenizer)),
        "agreement": lambda arguments: Agreement(arguments["file"]),
    }
    heard = {part: makers[part](arguments) for part, arguments in parts.items()}
    score(model, *heard.values())
    return [(part, listener.figures()) for part, listener in heard.items()]


def _lengths(model: LanguageModel, dataset: dict[str, Any], _arguments: dict[str, Any]) -> dict[str, Any]:
    samples = evaluation_samples(model, dataset, limit=None)
    return {
        "prompts": [sample.prompt for sample in samples],
        "responses": [len(sample.ids) - sample.prompt for sample in samples],
    }


def _answers(model: LanguageModel, dataset: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    system = dataset.get("system_prompt")
    lead = [{"role": "system", "content": system}] if system else []
    asked: list[tuple[list[dict[str, str]], str | None]] = [
        ([*lead, {"role": "user", "content": prompt}], None) for prompt in arguments["prompts"]
    ]
    examples = read_conversations(dataset, limit=arguments["examples"])
    asked += [(messages[:-1], messages[-1]["content"]) for messages in examples]
    sampling = Sampling(max_new_tokens=arguments["max_new_tokens"])
    return {
        "questions": [messages[-1]["content"] for messages, _ in asked],
        "expected": [expected for _, expected in asked],
        "answers": [ask(model, messages, sampling) for messages, _ in asked],
    }


def ask(model: LanguageModel, messages: list[dict[str, str]], sampling: Sampling) -> str:
    """Return the answer to a conversation that ends with a question."""
    ids = model.tokenizer.encode(prompt_text(model.tokenizer, messages), add_special_tokens=False)
    return answer(model, ids, sampling)[0]


def _metrics(model: LanguageModel, dataset: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    conversations = read_conversations(dataset, limit=arguments["examples"])
    sampling = Sampling(max_new_tokens=arguments["max_new_tokens"])
    answers = [ask(model, messages[:-1], sampling) for messages in conversations]
    expected = [messages[-1]["content"] for messages in conversations]
    return {"metrics": metrics.score(arguments["metrics"], answers, expected)}


# What is measured along the examples' texts.
_ALONG_TEXTS = ("loss", "reference", "agreement")
_PARTS = {"lengths": _lengths, "answers": _answers, "metrics": _metrics}
