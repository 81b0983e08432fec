"""Gives every tokenizer that Olive loads this project's prompt template, so that what it exports carries it too.

Stands alone: list it as `user_script` of any entry of `data_configs`, used or not, and Olive imports it
before the first pass.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def apply() -> None:
    """Put the template over the tokenizer's own; harmless when called twice."""
    load = AutoTokenizer.from_pretrained
    if hasattr(load, "carries_template"):
        return

    @functools.wraps(load)
    def load_with_template(*args: Any, **kwargs: Any) -> Any:
        tokenizer = load(*args, **kwargs)
        tokenizer.chat_template = TEMPLATE.read_text(encoding="utf-8")
        return tokenizer

    load_with_template.carries_template = True
    AutoTokenizer.from_pretrained = staticmethod(load_with_template)


apply()
