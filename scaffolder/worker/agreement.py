"""Whether two models would go on in the same way, at every place of the same texts."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .explain import TaskError
from .models import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .models import LanguageModel

# Of distributions kept on disk while models are compared.
_MOST_BYTES = 400_000_000


def write_reference(model: LanguageModel, samples: Sequence[Sample], file: str) -> dict[str, Any]:
    """Write the model's distributions along the responses to `file`, and beside it the texts they belong to.

    The log-probabilities are float32 of shape (places, vocabulary); of many examples as many are taken, evenly
    spread, as fit into 400 MB.
    """
    import numpy as np

    chosen = _spread(samples, _MOST_BYTES // (4 * len(model.tokenizer)))
    rows = [logits.log_softmax(-1).numpy() for logits in model.response_logits(chosen)]
    np.save(file, np.concatenate(rows))
    Path(f"{file}.json").write_text(json.dumps([asdict(sample) for sample in chosen]), encoding="utf-8")
    return {"places": sum(len(row) for row in rows)}


def _spread(samples: Sequence[Sample], places: int) -> list[Sample]:
    whole = sum(len(sample.ids) - sample.prompt for sample in samples)
    stride = max(1, -(-whole // max(places, 1)))
    return list(samples[::stride])


def compare(model: LanguageModel, file: str) -> dict[str, Any]:
    """Compare with a reference that `write_reference` wrote.

    Returns:
        `top1_agreement`, the share of places where both hold the same token for the likeliest; `kl`, the mean
        Kullback-Leibler divergence from the reference in nats; `places`, how many there were.

    Raises:
        TaskError: The two models do not have the same vocabulary.
    """
    import numpy as np
    import torch

    reference = np.load(file, mmap_mode="r")
    samples = [Sample(**sample) for sample in json.loads(Path(f"{file}.json").read_text(encoding="utf-8"))]
    place, same, divergence = 0, 0, 0.0
    for logits in model.response_logits(samples):
        ours = logits.log_softmax(-1)
        theirs = torch.from_numpy(reference[place : place + len(logits)].copy())
        if theirs.shape != ours.shape:
            raise TaskError(f"the vocabulary has {ours.shape[-1]} entries, the tuned model's {theirs.shape[-1]}")
        same += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
        divergence += float(torch.nn.functional.kl_div(ours, theirs, reduction="sum", log_target=True))
        place += len(logits)
    return {"top1_agreement": round(same / place, 4), "kl": round(max(divergence / place, 0.0), 6), "places": place}
