"""Suspected secrets and personal data, tokens that control the model, and damaged characters.

A small set of forms that their makers document (key prefixes and lengths as the providers publish them for
scanners, check digits of ISO/IEC 7812 and ISO 7064 for cards and accounts). A pattern is tried only around its
anchor, which begins with a literal and is rare in text: that is found faster than most patterns fail. What looks
like an example (`user@example.com`) is left out.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .findings import Findings

# name: anchor, pattern of the whole
_SECRETS = {
    "a private key": ("-----BEGIN", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "an AWS access key": ("AKIA", r"\bAKIA[0-9A-Z]{16}\b"),
    "a GitHub token": ("gh[pousr]_", r"\bgh[pousr]_[A-Za-z0-9]{36,}\b"),
    "a GitHub access token": ("github_pat_", r"\bgithub_pat_\w{60,}"),
    "a GitLab token": ("glpat-", r"\bglpat-[\w-]{20,}"),
    "a Hugging Face token": ("hf_", r"\bhf_[A-Za-z0-9]{30,}\b"),
    "an API key": ("sk-", r"\bsk-(?:[a-z]+-)*[A-Za-z0-9_-]{32,}"),
    "a Stripe key": ("_live_", r"\b[rs]k_live_[A-Za-z0-9]{20,}"),
    "a Slack token": ("xox", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "a Google API key": ("AIza", r"\bAIza[\w-]{35}\b"),
    "an Azure storage key": ("AccountKey=", r"AccountKey=[A-Za-z0-9+/]{80,}={0,2}"),
    "a JSON web token": ("eyJ", r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    "a password in an address": ("://", r"\b[a-z][a-z0-9+.-]*://[^\s/:@]{1,64}:[^\s/@]{3,64}@[\w.-]+"),
}
_PATTERNS = {name: (re.compile(anchor), re.compile(pattern)) for name, (anchor, pattern) in _SECRETS.items()}
_AT = re.compile("@")
_EMAIL = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
# These two begin with a set of characters: the engine then skips all others at several times the speed.
_DIGITS = re.compile(r"[0-9](?:[ ()./-]{0,2}\d){8,18}")
_PHONE = re.compile(r"\+\d[\d ()./-]{7,18}\d|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4}")
_SSN = re.compile(r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}")
_EXAMPLES = re.compile(r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|test|invalid|localhost|domain\.com)$", re.IGNORECASE)
_WINDOW_BEFORE, _WINDOW_AFTER = 80, 200
# Control characters that no text has, and what is left where a decoder gave up.
_DAMAGE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd\u00c3\u00e2]"
    r"(?:(?<=\u00c3)[\u0080-\u00bf]|(?<=\u00e2)\u20ac|(?<![\u00c3\u00e2]))"
)
# Where no tokenizer tells them: turns and ends of the common families.
COMMON_CONTROL = (
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>",
    "<|eot_id|>", "<|begin_of_text|>", "<s>", "</s>", "[INST]", "[/INST]", "<start_of_turn>", "<end_of_turn>",
)  # fmt: skip


class Scanner:
    """Looks through many texts at once.

    Args:
        control: The tokenizer's special tokens.
    """

    def __init__(self, control: Sequence[str] = COMMON_CONTROL) -> None:
        self._control = re.compile("|".join(re.escape(token) for token in sorted(control, key=len, reverse=True)))

    def scan(self, texts: Sequence[str], line_of: Callable[[int], int], findings: Findings) -> None:
        """Add what is found in the texts; `line_of` gives the line of the text with an index.

        Values are shown by their first characters alone.
        """
        # The separator keeps a pattern from matching across two texts.
        whole = "\n\x1e\n".join(texts)
        starts = [0, *accumulate(len(text) + 3 for text in texts)]

        def add(kind: str, what: str, position: int) -> None:
            findings.add(kind, what, line_of(bisect_right(starts, position) - 1))

        for name, value, position in _secret(whole):
            add("secret", f"looks like {name}: {_masked(value)}", position)
        for name, value, position in _personal(whole):
            add("personal", f"looks like {name}: {_masked(value)}", position)
        for match in self._control.finditer(whole):
            add("special-token", f"the text holds the special token {match[0]}", match.start())
        for match in _DAMAGE.finditer(whole.replace("\x1e", "\n")):
            add("characters", _damage(match[0]), match.start())


def secrets_of(text: str) -> Iterator[tuple[str, int]]:
    """Yield what in a text looks like a secret, as "a kind: first characters", with its line."""
    for name, value, position in _secret(text):
        yield f"{name}: {_masked(value)}", text.count("\n", 0, position) + 1


def _secret(whole: str) -> Iterator[tuple[str, str, int]]:
    for name, (anchor, pattern) in _PATTERNS.items():
        for match in _around(whole, anchor, pattern):
            yield name, match[0], match.start()


def _personal(whole: str) -> Iterator[tuple[str, str, int]]:
    for match in _around(whole, _AT, _EMAIL):
        if not _EXAMPLES.search(match[0]):
            yield "an e-mail address", match[0], match.start()
    end = 0
    for match in _DIGITS.finditer(whole):
        start = match.start()
        if start > end and whole[start - 1] in "+(":
            start -= 1
        end = match.end()
        value = whole[start:end]
        name = _number(value)
        if name:
            yield name, value, start
            continue
        # Letters before the digits make it an account number, if the check digits agree.
        account = _IBAN.search(whole, max(0, start - 4), end + 40)
        if account and _is_iban(account[0]):
            yield "an account number (IBAN)", account[0], account.start()


def _around(whole: str, anchor: re.Pattern[str], pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    end = 0
    for found in anchor.finditer(whole):
        at = found.start()
        if at < end:  # within what was found already
            continue
        begin = max(0, at - _WINDOW_BEFORE)
        match = next((m for m in pattern.finditer(whole, begin, at + _WINDOW_AFTER) if m.start() <= at < m.end()), None)
        if match:
            end = match.end()
            yield match


def _number(text: str) -> str:
    digits = re.sub(r"\D", "", text)
    if _SSN.fullmatch(text):
        return "a US social security number"
    if 13 <= len(digits) <= 19 and digits[0] in "3456" and len(set(digits)) > 3 and _luhn(digits):
        return "a card number"
    return "a telephone number" if _PHONE.fullmatch(text) else ""


def _luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + index % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _is_iban(text: str) -> bool:
    """ISO 13616: the rearranged number is 1 modulo 97."""
    code = text.replace(" ", "")
    return 15 <= len(code) <= 34 and int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1


def _masked(value: str) -> str:
    shown = value[: min(6, len(value) // 3)]
    return f"{shown}… ({len(value)} characters)"


def _damage(text: str) -> str:
    if text == "\ufffd":
        return "a replacement character (U+FFFD) where a decoder gave up"
    if len(text) > 1:
        return f"{text!r} looks like UTF-8 read in another encoding"
    return f"the control character U+{ord(text):04X}"


def surrogates(texts: Sequence[str]) -> Any:
    """Return the index of the first text with half a character, which no encoding can write, or None."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return next(index for index, text in enumerate(texts) if not _encodes(text))
    return None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
