"""Writes a configuration as text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def dumps(config: Mapping[str, object]) -> str:
    """The configuration as plain JSON, which `olive run` reads too: two spaces, one line feed at the end."""
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"
