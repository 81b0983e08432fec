"""How fast a model reads and writes."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from .models import Sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .models import LanguageModel, Sample

# Examples whose text is read.
EXAMPLES = 32
_PREFILL_TOKENS = 256
_NEW_TOKENS = 33
_RUNS = 3


def measure(model: LanguageModel, samples: Sequence[Sample]) -> dict[str, Any]:
    """Return medians of three runs after one that warms up.

    Returns:
        `first_token_seconds` for a question of the median length, `prefill_tokens_per_second` over 256 tokens of
        the examples, and `tokens_per_second` of the 32 tokens after the first, end tokens not heeded.
    """
    question = sorted((sample.ids[: sample.prompt] for sample in samples), key=len)[len(samples) // 2]
    # As many as the context holds beside the answer.
    room = (model.context or _PREFILL_TOKENS + _NEW_TOKENS) - _NEW_TOKENS
    text = [token for sample in samples for token in sample.ids][: min(_PREFILL_TOKENS, room)]
    run(model, question[:room], 2)
    short = [run(model, question[:room], _NEW_TOKENS) for _ in range(_RUNS)]
    long = [run(model, text, 1)[0] for _ in range(_RUNS)]
    return {
        "first_token_seconds": round(statistics.median(first for first, _ in short), 4),
        "prefill_tokens_per_second": round(len(text) / statistics.median(long), 1),
        "tokens_per_second": round((_NEW_TOKENS - 1) / statistics.median(later for _, later in short), 1),
    }


def run(model: LanguageModel, ids: list[int], tokens: int) -> tuple[float, float]:
    """Write `tokens` tokens; return the seconds to the first and from there to the last."""
    started = time.perf_counter()
    first = started
    for count, _ in enumerate(model.stream(ids, Sampling(max_new_tokens=tokens, min_new_tokens=tokens))):
        if count == 0:
            first = time.perf_counter()
    return first - started, time.perf_counter() - first
