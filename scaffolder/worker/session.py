"""A loaded model that answers one request after another, streaming."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .chat import prompt_text
from .explain import TaskError, explain
from .models import LanguageModel, Sampling, load_model, stream_text

if TYPE_CHECKING:
    from .channel import Channel


def hold(job: dict[str, Any], channel: Channel) -> None:
    """Load `job["model"]` and answer requests until the command closes the line.

    A request is a line of JSON: `messages` (a conversation that ends with the question), `sampling`, `pause`
    (seconds between pieces of text), and `adapter` (a name of the model's `adapters`, or null for none; left
    out: what was used before). Every piece of text is an event; `answer` ends a request, and so does
    `refused`, after which the next one may come. The line `stop` ends the answer that is being written.
    """
    started = time.perf_counter()
    model = load_model(job["model"])
    context = min((length for length in (job.get("context"), model.context) if length), default=None)
    channel.emit("loaded", seconds=round(time.perf_counter() - started, 2), context=context)
    for request in channel.requests():
        try:
            _answer(model, request, context, channel)
        except Exception as error:
            told = explain(error, job)
            channel.emit("refused", message=told.message, hint=told.hint)


def _answer(model: LanguageModel, request: dict[str, Any], context: int | None, channel: Channel) -> None:
    if "adapter" in request:
        model.use(request["adapter"])
    text = prompt_text(model.tokenizer, request["messages"])
    ids = model.tokenizer.encode(text, add_special_tokens=False)
    sampling = fit(len(ids), Sampling(**request["sampling"]), context)
    answered: dict[str, Any] = {}
    for piece, figures in stream_text(model, ids, sampling, pause=request["pause"]):
        answered = figures
        if piece:
            channel.emit("text", text=piece)
        if channel.stopping:
            break
    finish = "stop" if answered["tokens"] < sampling.max_new_tokens else "length"
    channel.emit("answer", prompt_tokens=len(ids), finish="interrupted" if channel.stopping else finish, **answered)


def fit(prompt: int, sampling: Sampling, context: int | None) -> Sampling:
    """Return the sampling with as many new tokens as the context has room for beside the prompt.

    Raises:
        TaskError: There is room for none.
    """
    if context is None or prompt + sampling.max_new_tokens <= context:
        return sampling
    if prompt >= context:
        raise TaskError(
            f"the prompt has {prompt} tokens, but the model's context holds {context} for prompt and answer",
            f"shorten it by at least {prompt - context + 1} tokens",
        )
    return replace(sampling, max_new_tokens=context - prompt)
