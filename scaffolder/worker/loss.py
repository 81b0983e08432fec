"""The loss on the response: the figure that says whether tuning helped and what an export cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .chat import encode, read_conversations
from .explain import TaskError
from .models import LanguageModel, Sample
from .texts import score

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


class ResponseLoss:
    """Adds up the loss on the samples' responses; see `texts.score`."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self._total = 0.0

    def hear(self, index: int, logits: Any) -> None:
        """See `texts.Listener`."""
        import torch

        sample = self.samples[index]
        targets = torch.tensor(sample.ids[sample.prompt :])
        self._total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))

    def figures(self) -> dict[str, float]:
        """Return `loss` (mean cross-entropy in nats per response token), `perplexity` and `tokens`.

        Only tokens of the response count, its end token among them; every token weighs the same.
        """
        count = sum(len(sample.ids) - sample.prompt for sample in self.samples)
        loss = self._total / count
        return {"loss": round(loss, 4), "perplexity": round(math.exp(loss), 3), "tokens": count}


def response_loss(model: LanguageModel, samples: Sequence[Sample]) -> dict[str, float]:
    """Return the figures of `ResponseLoss`."""
    heard = ResponseLoss(samples)
    score(model, heard)
    return heard.figures()
