"""Score several forms of the model on the same examples."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .chat import prompt_text
from .loss import evaluation_samples, response_loss
from .models import Sampling, answer, load_model

if TYPE_CHECKING:
    from .channel import Channel


def evaluate(job: dict[str, Any], channel: Channel) -> None:
    """Score each of `job["models"]` on `job["dataset"]`.

    A model is a spec of `models.load_model` with a `name` and, where it is known already, its `loss`.
    One event a model: `loss` and `perplexity` on the response tokens, seconds to load, tokens per second
    of decoding (median), and the greedy answers to `job["prompts"]`.
    """
    for spec in job["models"]:
        channel.emit("stage", name=spec["name"], state="start")
        started = time.perf_counter()
        model = load_model(spec)
        load_seconds = round(time.perf_counter() - started, 2)
        scores = spec.get("loss") or response_loss(model, evaluation_samples(model, job["dataset"], limit=None))
        answers, speeds = [], []
        sampling = Sampling(max_new_tokens=job["max_new_tokens"])
        for messages in job["prompts"]:
            ids = model.tokenizer.encode(prompt_text(model.tokenizer, messages), add_special_tokens=False)
            text, figures = answer(model, ids, sampling)
            answers.append(text)
            if figures["tokens_per_second"]:
                speeds.append(figures["tokens_per_second"])
        channel.emit(
            "scored",
            name=spec["name"],
            kind=spec["kind"],
            **scores,
            load_seconds=load_seconds,
            tokens_per_second=round(sorted(speeds)[len(speeds) // 2], 1) if speeds else None,
            answers=answers,
        )
        del model
