"""The table of what fits where, made again from the memory estimate."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict
from typing import Any, Literal

from scaffolder.memory import Shape, fit

Targets = Literal["all", "attention"]

HEAD = """\
# What training settings fit which device, by model, hardware and line of the memory estimate. Made from
# models.yml, hardware.yml and scaffolder/memory.py; do not edit: a test makes it again and compares, and
# `pytest tests/template --update-golden` writes it. null: nothing fits. attention: what changes with adapters there
# alone. Data only, read by copier.yml, as one
# text of JSON because Copier's YAML reader would take a quarter of a second for it.
catalog_fits:
  type: str
  when: false
  default: |
"""


def table(models: dict[str, Any], hardware: dict[str, Any]) -> str:
    cards = {device: card for device, card in hardware.items() if card["device"] == "gpu"}
    blocks = []
    for name, model in models.items():
        lines = ",\n".join(f'      "{device}": {_flow(model, card)}' for device, card in cards.items())
        blocks.append(f'    "{name}": {{\n{lines}}}')
    return HEAD + "    {\n" + ",\n".join(blocks) + "}\n"


def _flow(model: dict[str, Any], card: dict[str, Any]) -> str:
    layers: dict[Targets, tuple[str, ...]] = {"all": tuple(model["lora_targets"]), "attention": tuple(model["attention_targets"])}
    settings: dict[str, Any] = {"usable_bytes": card["usable_gb"] * 1e9, "batch": card["batch"], "fused_kernels": card["fused_kernels"]}
    found: dict[str, Any] = {}
    for method in ("lora", "qlora"):
        known = functools.partial(fit, Shape(**model["shape"]), method=method, **settings)
        best = known(layers, sequence=card["sequence"])
        found[method] = asdict(best) if best else None
        if best and best.targets == "all":
            less = known({"attention": layers["attention"]}, sequence=best.sequence)
            found[method]["attention"] = {"batch": less.batch, "checkpointing": less.checkpointing}
    return json.dumps(found)
