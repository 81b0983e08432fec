"""Texts through a model, once for all who want to hear what it makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .models import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .models import LanguageModel


class Listener(Protocol):
    """Who wants to know what predicts the responses of some samples."""

    @property
    def samples(self) -> Sequence[Sample]:
        """The samples."""
        ...

    def hear(self, index: int, logits: Any) -> None:
        """Take what predicts the response of the sample of this index, of shape (response tokens, vocabulary)."""
        ...


def score(model: LanguageModel, *listeners: Listener) -> None:
    """Let every listener hear the logits of each of its samples, in any order; equal texts are scored once."""
    wanted: dict[tuple[tuple[int, ...], int], list[tuple[Listener, int]]] = {}
    for listener in listeners:
        for index, sample in enumerate(listener.samples):
            wanted.setdefault((tuple(sample.ids), sample.prompt), []).append((listener, index))
    texts = [Sample(list(ids), prompt) for ids, prompt in wanted]
    for waiting, logits in zip(wanted.values(), model.response_logits(texts), strict=True):
        for listener, index in waiting:
            listener.hear(index, logits)
