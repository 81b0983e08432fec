"""Upgrades `passes`: flat keys, today's names, and data that is named rather than written in place."""

from __future__ import annotations

from scaffolder.oliveconfig.explain import OLD_PASSES, nearest
from scaffolder.oliveconfig.schema import canonical, names, parameters
from scaffolder.oliveconfig.upgrade.data import upgrade_one
from scaffolder.oliveconfig.upgrade.holdout import hold_out
from scaffolder.oliveconfig.upgrade.record import Ledger, Table, free_name, join, tables
from scaffolder.oliveconfig.upgrade.training import evaluation_size, upgrade_training

TRAINS = frozenset({"lora", "qlora", "loftq", "dora", "loha", "lokr"})
RENAMED = {"lora_r": "r", "lora_alpha": "alpha"}
# Dropped from any pass that does not take them today.
GONE = {
    "disable_search": "Olive has no such key today; leaving `search_strategy` out disables the search",
    "clean_run_cache": "Olive has no such key today; `clean_cache` is the whole run's",
    "output_name": "Olive has no such key today",
    "use_ort_trainer": "training with ONNX Runtime was removed from Olive",
    "ortmodule_onnx_opset_version": "training with ONNX Runtime was removed from Olive",
    "pack_inputs": "Olive has no such key today",
    "double_quant": "quantises the base, which only QLoRA does; this pass ignored it",
    "quant_type": "quantises the base, which only QLoRA does; this pass ignored it",
    "compute_dtype": "is that of a quantised base, which only QLoRA has; this pass ignored it",
}


def upgrade_passes(config: Table, ledger: Ledger) -> None:
    """Bring every pass to today's form."""
    for name, value in list((config.get("passes") or {}).items()):
        at = join("passes", name)
        if isinstance(value, dict):
            _one(value, at, config, ledger)
        elif isinstance(value, list):
            for number, entry in tables(value):
                _one(entry, join(at, number), config, ledger)


def _one(entry: Table, at: str, config: Table, ledger: Ledger) -> None:
    ledger.lift(entry, "config", at)
    known = _type(entry, at, ledger)
    taken = parameters(f"pass.{known}")
    for key, reason in GONE.items():
        if known and key not in taken:
            ledger.drop(entry, key, at, reason)
    _inline_data(entry, at, config, ledger)
    if known.casefold() not in TRAINS:
        return
    for old, new in RENAMED.items():
        if old not in taken and new in taken:
            ledger.rename(entry, old, new, at, "Olive renamed it; it ignores the old name")
    if isinstance(entry.get("training_args"), dict):
        upgrade_training(entry["training_args"], join(at, "training_args"), ledger)
    size, key = evaluation_size(entry, at, ledger)
    if size is not None:
        hold_out(entry, at, size, key, config, ledger)


def _type(entry: Table, at: str, ledger: Ledger) -> str:
    given = str(entry.get("type", ""))
    if new := OLD_PASSES.get(given.casefold()):
        entry["type"] = new
        ledger.note("converted", join(at, "type"), join(at, "type"), f"Olive renamed {given} to {new}")
        return new
    known = canonical("pass", given)
    if given and not known:
        near = nearest(given, names("pass"))
        reason = f"no pass of this name in today's Olive{f'; {near} is spelt like it' if near else ''}"
        ledger.leave(join(at, "type"), f"no equivalent: {reason}")
    return known


def _inline_data(entry: Table, at: str, config: Table, ledger: Ledger) -> None:
    for key in [key for key in entry if key.endswith("data_config")]:
        inline = entry[key]
        if not isinstance(inline, dict):
            continue
        section = config.setdefault("data_configs", [])
        if not isinstance(section, list):
            continue
        name = free_name(str(inline.get("name") or f"{at.split('.')[1]}_{key.removesuffix('_data_config')}"), section)
        item = {**inline, "name": name}
        section.append(item)
        entry[key] = name
        ledger.note(
            "moved",
            join(at, key),
            f"data_configs.{len(section) - 1}",
            "a pass names its data, it does not hold it",
        )
        upgrade_one(item, f"data_configs.{len(section) - 1}", ledger)
