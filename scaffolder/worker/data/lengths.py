"""Lengths in tokens, counted as training does: the chat template's text, question and answer tokenised apart.

Rendering the template for every row would take longer than all else together. A template's text around the
contents depends on the roles alone, so it is rendered once for each order of roles, with marks for the contents;
that is held against true renderings of rows, and where they differ (a template that looks into contents) every
row is rendered.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from ..chat import prompt_text
from ..explain import TaskError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .judge import Example

_CHECKED_ROWS = 16
_CHECK_AGAIN = 997
_MOST_FRAMES = 256
_TEXTS_AT_ONCE = 1024
_LONGEST_COUNTED = 1 << 16


class Renderer:
    """Examples as the texts that are tokenised: (before the last answer, the answer with its end).

    Args:
        tokenizer: Of transformers, with a chat template.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._frames: dict[tuple[str, ...], _Frame | None] = {}

    def texts(self, example: Example) -> tuple[str, str]:
        """Render one example.

        Raises:
            TaskError: The template refuses it, or does not continue its own prompt.
        """
        if example.roles == ("text",):
            return "", example.texts[0]
        frame = self._frame(example)
        if frame is None:
            return self._render(example.roles, example.texts)
        found = frame.fill(example.texts)
        frame.used += 1
        if frame.used <= _CHECKED_ROWS or frame.used % _CHECK_AGAIN == 0:
            true = self._render(example.roles, example.texts)
            if true != found:
                self._frames[example.roles] = None
                return true
        return found

    def _frame(self, example: Example) -> _Frame | None:
        if example.roles in self._frames:
            return self._frames[example.roles]
        if len(self._frames) >= _MOST_FRAMES:
            return None
        frame = self._frames[example.roles] = self._probe(example)
        return frame

    def _probe(self, example: Example) -> _Frame | None:
        marks = [f"Mark{index}Of{len(example.roles)}kram" for index in range(len(example.roles))]
        prompt, answer = self._render(example.roles, marks)
        true = self._render(example.roles, example.texts)
        for strip in (False, True):
            frame = _Frame.of(prompt, answer, marks, strip=strip)
            if frame and frame.fill(example.texts) == true:
                return frame
        return None

    def _render(self, roles: Sequence[str], texts: Sequence[str]) -> tuple[str, str]:
        messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
        try:
            prompt = prompt_text(self._tokenizer, messages[:-1])
            whole: str = self._tokenizer.apply_chat_template(messages, tokenize=False)
        except Exception as error:  # whatever a template raises
            raise TaskError(f"the chat template refuses it: {(str(error).splitlines() or ['?'])[0]}") from error
        if not whole.startswith(prompt):
            raise TaskError("the chat template does not continue its own generation prompt with the answer")
        return prompt, whole[len(prompt) :].rstrip("\n")


class _Frame:
    """A template's text around the contents."""

    def __init__(self, prompt: list[str], answer: list[str], *, strip: bool) -> None:
        self._prompt, self._answer, self._strip = prompt, answer, strip
        self.used = 0

    @classmethod
    def of(cls, prompt: str, answer: str, marks: Sequence[str], *, strip: bool) -> _Frame | None:
        """Cut the rendered texts at the marks; None where one is missing or out of order."""
        pieces, rest = [], prompt
        for mark in marks[:-1]:
            piece, found, rest = rest.partition(mark)
            if not found:
                return None
            pieces.append(piece)
        before, found, after = answer.partition(marks[-1])
        return cls([*pieces, rest], [before, after], strip=strip) if found else None

    def fill(self, texts: Sequence[str]) -> tuple[str, str]:
        """Put contents in."""
        contents = [text.strip() for text in texts] if self._strip else texts
        parts = [self._prompt[0]]
        for content, piece in zip(contents, self._prompt[1:], strict=False):
            parts += (content, piece)
        return "".join(parts), (self._answer[0] + contents[-1] + self._answer[1]).rstrip("\n")


class Counter:
    """Counts tokens of many rows, with all processors.

    Args:
        tokenizer: Of transformers; a fast one is used by its core.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.core = getattr(tokenizer, "backend_tokenizer", None)
        self._tokenizer = tokenizer
        if self.core is not None:
            self.core.no_truncation()
            self.core.no_padding()

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text."""
        if self.core is None:
            return [len(self._tokenizer.encode(text, add_special_tokens=False)) for text in texts]
        # An encoding holds far more than its length: few at a time.
        return [
            len(found)
            for start in range(0, len(texts), _TEXTS_AT_ONCE)
            for found in self.core.encode_batch_fast(texts[start : start + _TEXTS_AT_ONCE], add_special_tokens=False)
        ]


class Lengths:
    """Figures of a file's lengths in tokens, in a fixed amount of memory.

    Args:
        longest: `max_seq_len` of the training; None where it is not known.
    """

    def __init__(self, longest: int | None) -> None:
        self._limit = longest
        self._counts = array("Q", [0]) * (_LONGEST_COUNTED + 1)
        self.rows = self.tokens = self.learnt = self.cut_rows = self.cut_tokens = self.untrained = self.kept = 0
        self.longest, self.longest_line = 0, 0

    def add(self, prompt: int, answer: int, line: int) -> None:
        """Count a row of `prompt` + `answer` tokens."""
        length = prompt + answer
        self._counts[min(length, _LONGEST_COUNTED)] += 1
        self.rows += 1
        self.tokens += length
        if length > self.longest:
            self.longest, self.longest_line = length, line
        limit = self._limit or length
        self.kept += min(length, limit)
        self.learnt += max(0, min(length, limit) - prompt)
        if length > limit:
            self.cut_rows += 1
            self.cut_tokens += length - limit
        self.untrained += prompt >= limit

    def figures(self) -> dict[str, Any]:
        """Return them as JSON: totals, quantiles, and a histogram of at most 16 bars."""
        return {
            "counted_rows": self.rows,
            "tokens": self.tokens,
            "learnt": self.learnt,
            "kept": self.kept,
            "cut_rows": self.cut_rows,
            "cut_tokens": self.cut_tokens,
            "untrained": self.untrained,
            "longest": self.longest,
            "longest_line": self.longest_line,
            "median": self._quantile(0.5),
            "p95": self._quantile(0.95),
            "p99": self._quantile(0.99),
            "histogram": self._histogram(),
        }

    def _quantile(self, share: float) -> int:
        wanted, seen = share * self.rows, 0
        for length, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return length
        return 0

    def _histogram(self) -> list[list[int]]:
        """Return [first length, last length, rows] of bars of one round width that reach the 99.9th percentile."""
        end = max(self._quantile(0.999), 1)
        width = next(w for w in _WIDTHS if end / w <= 15)
        bars = [[low, low + width - 1, sum(self._counts[low : low + width])] for low in range(0, end + 1, width)]
        beyond = self.rows - sum(bar[2] for bar in bars)
        return [*bars, [bars[-1][1] + 1, self.longest, beyond]] if beyond else bars


_WIDTHS = [base * 2**power for power in range(20) for base in (2, 3)]
