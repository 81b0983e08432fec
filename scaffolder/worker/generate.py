"""Answer prompts, streaming."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .chat import prompt_text
from .explain import TaskError
from .models import Sampling, load_model, stream_text

if TYPE_CHECKING:
    from .channel import Channel


def generate(job: dict[str, Any], channel: Channel) -> None:
    """Answer `job["prompts"]` (a list of conversations) in order; each piece of text is an event."""
    started = time.perf_counter()
    model = load_model(job["model"])
    channel.emit("loaded", seconds=round(time.perf_counter() - started, 2))
    sampling = Sampling(**job["sampling"])
    for index, messages in enumerate(job["prompts"]):
        ids = model.tokenizer.encode(prompt_text(model.tokenizer, messages), add_special_tokens=False)
        context = job.get("context")
        if context and len(ids) + sampling.max_new_tokens > context:
            raise TaskError(
                f"the prompt has {len(ids)} tokens and {sampling.max_new_tokens} more were asked for, "
                f"but the model's context holds {context}",
                "shorten the prompt or lower --max-new-tokens",
            )
        answered: dict[str, float] = {}
        for piece, figures in stream_text(model, ids, sampling):
            answered = figures
            if piece:
                channel.emit("text", index=index, text=piece)
        channel.emit("answer", index=index, prompt_tokens=len(ids), **answered)
