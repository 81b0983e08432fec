"""The forms a model takes (base, adapter, merged, ONNX), behind one way to score and to answer."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .explain import TaskError
from .onnx_model import OnnxModel
from .torch_model import TorchModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# What the chat models of the catalogue are measured with; generation itself stops at end tokens.
DEFAULT_MAX_NEW_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose the next token; temperature 0 is greedy.

    Until `min_new_tokens` are there no end token ends the answer: for measurements.
    """

    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 50
    seed: int = 0
    min_new_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """Token ids of a conversation, and how many of them come before its last answer."""

    ids: list[int]
    prompt: int


class LanguageModel(Protocol):
    """A loaded model with its tokenizer.

    Attributes:
        tokenizer: Of transformers, with the chat template.
        adapters: Where the adapters lie that `use` knows by name.
    """

    tokenizer: Any
    adapters: dict[str, str]

    @property
    def context(self) -> int | None:
        """Tokens that prompt and answer may have together, where the model tells."""
        ...

    def use(self, adapter: str | None) -> None:
        """Answer and score with this adapter from now on; None: as the base."""
        ...

    def response_logits(self, samples: Sequence[Sample]) -> Iterator[Any]:
        """Yield, for each sample in order, what predicts its response.

        Float32 tensors on the processor, of shape (response tokens, vocabulary).
        """
        ...

    def stream(self, ids: list[int], sampling: Sampling) -> Iterator[int]:
        """Yield new token ids until an end token (left out) or `max_new_tokens`."""
        ...


def load_model(spec: dict[str, Any]) -> LanguageModel:
    """Load a model from its description.

    Args:
        spec: `kind` ("base", "adapter", "merged" or "onnx"), `path` of the model, `adapter` for the two
            kinds that need one, `adapters` (where others lie, by name), `use` (the one to begin with), `dtype`
            for PyTorch ("float32" where left out), and `template`, a file with a chat template in place of the
            tokenizer's own.

    Raises:
        TaskError: A folder is missing.
    """
    for key in ("path", "adapter"):
        if spec.get(key) and not Path(spec[key]).is_dir():
            raise TaskError(f"missing {key} folder {spec[key]}")
    model: LanguageModel = OnnxModel(spec) if spec["kind"] == "onnx" else TorchModel(spec)
    if spec.get("use"):
        model.use(spec["use"])
    return model


def answer(model: LanguageModel, ids: list[int], sampling: Sampling) -> tuple[str, dict[str, Any]]:
    """Return the whole answer and its speeds; see `stream_text`."""
    text, figures = "", {}
    for piece, now in stream_text(model, ids, sampling, pause=math.inf):
        text, figures = text + piece, now
    return text, figures


def stream_text(
    model: LanguageModel, ids: list[int], sampling: Sampling, *, pause: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield pieces of text that are whole characters, `pause` seconds apart, with the figures so far.

    Between them a token costs next to nothing: text is read from many at once. The figures: `tokens`,
    `first_token_seconds` (prompt processing included) and `tokens_per_second` (of the tokens after the first).
    A piece may be empty, so that a caller can stop all the same.
    """
    started = time.perf_counter()
    first = last = due = started
    count, text, waiting = 0, Text(model.tokenizer), list[int]()
    for token in model.stream(ids, sampling):
        last = time.perf_counter()
        waiting.append(token)
        if last >= due:
            first = first if count else last
            count, due = count + len(waiting), last + pause
            yield text.add(waiting), _speeds(count, first - started, last - first)
            waiting.clear()
    yield text.add(waiting) + text.rest(), _speeds(count + len(waiting), first - started, last - first)


class Text:
    """Text out of tokens as they come; each step reads the new ones and a few before them."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        # Tokens before `_shown` are out; those from `_start` on are read again, for how they join what follows.
        self._start = self._shown = 0

    def add(self, tokens: Sequence[int]) -> str:
        """Return what these tokens add: nothing in the middle of a character of several tokens."""
        self._tokens += tokens
        piece = self.rest()
        if piece.endswith("\ufffd"):
            return ""
        self._start, self._shown = self._shown, len(self._tokens)
        return piece

    def rest(self) -> str:
        """Return what is not out yet, whole characters or not."""
        before = self._decode(self._tokens[self._start : self._shown])
        return self._decode(self._tokens[self._start :])[len(before) :]

    def _decode(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text


def _speeds(tokens: int, first: float, later: float) -> dict[str, Any]:
    return {
        "tokens": tokens,
        "first_token_seconds": round(first, 4),
        "tokens_per_second": round((tokens - 1) / later, 2) if tokens > 1 and later > 0 else 0.0,
    }
