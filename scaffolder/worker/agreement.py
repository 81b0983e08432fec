"""Whether two models would go on in the same way, at every place of the same texts."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .explain import TaskError
from .models import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

# Of distributions kept on disk while models are compared.
_MOST_BYTES = 400_000_000


class Reference:
    """Writes a model's distributions along responses to `file`, and beside it the texts they belong to.

    The log-probabilities are float32 of shape (places, vocabulary); of many examples as many are taken, evenly
    spread, as fit into 400 MB. Heard through `texts.score`.
    """

    def __init__(self, file: str, samples: Sequence[Sample], vocabulary: int) -> None:
        self.samples = _spread(samples, _MOST_BYTES // (4 * vocabulary))
        self._file = file
        self._places = _places(self.samples)
        self._rows: Any = None

    def hear(self, index: int, logits: Any) -> None:
        """See `texts.Listener`."""
        import numpy as np

        if self._rows is None:
            shape = (self._places[-1], logits.shape[-1])
            self._rows = np.lib.format.open_memmap(self._file, mode="w+", dtype=np.float32, shape=shape)
        self._rows[self._places[index] : self._places[index + 1]] = logits.log_softmax(-1).numpy()

    def figures(self) -> dict[str, Any]:
        """Return `places`, how many distributions there are; the files are whole from then on."""
        self._rows.flush()
        Path(f"{self._file}.json").write_text(json.dumps([asdict(sample) for sample in self.samples]), encoding="utf-8")
        return {"places": self._places[-1]}


class Agreement:
    """Compares a model with what `Reference` wrote to `file`; heard through `texts.score`."""

    def __init__(self, file: str) -> None:
        import numpy as np

        self._reference = np.load(file, mmap_mode="r")
        self.samples = [Sample(**sample) for sample in json.loads(Path(f"{file}.json").read_text(encoding="utf-8"))]
        self._places = _places(self.samples)
        self._same, self._divergence = 0, 0.0

    def hear(self, index: int, logits: Any) -> None:
        """See `texts.Listener`.

        Raises:
            TaskError: The two models do not have the same vocabulary.
        """
        import torch

        ours = logits.log_softmax(-1)
        theirs = torch.from_numpy(self._reference[self._places[index] : self._places[index + 1]].copy())
        if theirs.shape != ours.shape:
            raise TaskError(f"the vocabulary has {ours.shape[-1]} entries, the tuned model's {theirs.shape[-1]}")
        self._same += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
        self._divergence += float(torch.nn.functional.kl_div(ours, theirs, reduction="sum", log_target=True))

    def figures(self) -> dict[str, Any]:
        """Return `top1_agreement`, `kl` and `places`.

        The share of places where both hold the same token for the likeliest; the mean Kullback-Leibler divergence from
        the reference in nats; how many places there were.
        """
        places = self._places[-1]
        agreement, divergence = self._same / places, max(self._divergence / places, 0.0)
        return {"top1_agreement": round(agreement, 4), "kl": round(divergence, 6), "places": places}


def _places(samples: Sequence[Sample]) -> list[int]:
    """Return where each sample's response begins among those of all, and where the last ends."""
    return list(itertools.accumulate((len(sample.ids) - sample.prompt for sample in samples), initial=0))


def _spread(samples: Sequence[Sample], places: int) -> list[Sample]:
    whole = sum(len(sample.ids) - sample.prompt for sample in samples)
    stride = max(1, -(-whole // max(places, 1)))
    return list(samples[::stride])
