"""The schema of Olive configurations, read once and only when something asks for it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, cast

Schema = dict[str, Any]
PATH = Path(__file__).resolve().parents[1] / "catalog" / "schemas" / "olive-config.schema.json"


@cache
def schema() -> Schema:
    """The whole schema, made by `tools/generate_olive_schema.py`."""
    return cast("Schema", json.loads(PATH.read_text(encoding="utf-8")))


def definition(name: str) -> Schema:
    """One definition by its name, such as `pass.LoRA`; empty when there is none."""
    return cast("Schema", schema()["$defs"].get(name, {}))


def resolve(part: Schema) -> Schema:
    """Follow a reference to its definition."""
    while "$ref" in part:
        part = definition(part["$ref"].removeprefix("#/$defs/"))
    return part


@cache
def names(prefix: str) -> tuple[str, ...]:
    """Every type that a part knows, in canonical spelling, by the name of its definition."""
    start = f"{prefix}."
    return tuple(name.removeprefix(start) for name in schema()["$defs"] if name.startswith(start))


def canonical(prefix: str, name: object) -> str:
    """Canonical spelling of a type whose case Olive does not mind; empty when there is no such type."""
    wanted = str(name).casefold()
    return next((known for known in names(prefix) if known.casefold() == wanted), "")


def parameters(name: str) -> dict[str, Schema]:
    """The keys that a definition takes."""
    return cast("dict[str, Schema]", definition(name).get("properties", {}))
