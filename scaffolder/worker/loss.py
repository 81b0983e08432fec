"""The loss on the response: the figure that says whether tuning helped and what an export cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .chat import encode, read_conversations
from .explain import TaskError
from .models import LanguageModel, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

# Longer examples are cut: logits of one sequence must fit in memory.
_MAX_TOKENS = 2048


def evaluation_samples(model: LanguageModel, dataset: dict[str, Any], *, limit: int | None) -> list[Sample]:
    """Return the examples that have a response within the first 2048 tokens.

    Raises:
        TaskError: There is none.
    """
    samples = []
    for messages in read_conversations(dataset, limit=limit):
        prompt, response = encode(model.tokenizer, messages)
        ids = (prompt + response)[:_MAX_TOKENS]
        if len(ids) > len(prompt):
            samples.append(Sample(ids, len(prompt)))
    if not samples:
        raise TaskError(f"{dataset['path']} holds no example to evaluate on")
    return samples


def response_loss(model: LanguageModel, samples: Sequence[Sample]) -> dict[str, float]:
    """Return `loss` (mean cross-entropy in nats per response token), `perplexity` and `tokens`.

    Only tokens of the response count, its end token among them; every token weighs the same.
    """
    import torch

    total, count = 0.0, 0
    for sample, logits in zip(samples, model.response_logits(samples), strict=True):
        targets = torch.tensor(sample.ids[sample.prompt :])
        total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        count += len(targets)
    loss = total / count
    return {"loss": round(loss, 4), "perplexity": round(math.exp(loss), 3), "tokens": count}
