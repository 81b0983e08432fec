"""Turns the old `eval_dataset_size` into a second data config that reads the held-out rows."""

from __future__ import annotations

from copy import deepcopy

from scaffolder.oliveconfig.upgrade.record import Ledger, Table, free_name, join

# What Olive reads when a data config says no split.
DEFAULT_SPLIT = "validation"


def hold_out(entry: Table, at: str, size: object, key: str, config: Table, ledger: Ledger) -> None:
    """Split a pass's training data in two, by slices of the same file.

    Args:
        entry: The pass; its size is taken out already and comes back when no slice can say it.
        at: Path of the pass.
        size: A share of the rows below 1, or a number of rows.
        key: Path of the key that gave the size.
        config: The whole configuration.
        ledger: Where to write what was done.
    """
    if entry.get("eval_data_config"):
        ledger.note("dropped", key, "", "`eval_data_config` is given, and counts")
        return
    section = config.get("data_configs")
    item = _named(entry.get("train_data_config"), section)
    kept = _slices(size)
    load = item.get("load_dataset_config") if item else None
    if item is None or kept is None or not isinstance(load, dict) or not isinstance(section, list):
        _give_back(entry, key, size, ledger, "the data it would be taken from cannot be told")
        return
    split = load.get("split", DEFAULT_SPLIT)
    train, held = (f"{split}[{part}]" for part in kept)
    if split_was_cut(item, section, train, held, entry):
        ledger.note("converted", key, join(at, "eval_data_config"), "another pass holds the same rows out")
        return
    if not isinstance(split, str) or not split.replace("_", "").replace("-", "").isalnum():
        _give_back(entry, key, size, ledger, f"`split` {split} is cut already")
        return
    second = deepcopy(item)
    second["name"] = free_name(f"{item['name']}_eval", section)
    second["load_dataset_config"]["split"] = held
    load["split"] = train
    section.insert(section.index(item) + 1, second)
    _refer(entry, second["name"])
    reason = f"a pass evaluates on data of its own: `{train}` to train, `{held}` to evaluate"
    ledger.note("converted", key, join(at, "eval_data_config"), reason)


def split_was_cut(item: Table, section: list[Table], train: str, held: str, entry: Table) -> bool:
    """Use the cut that an earlier pass made of the same data, if it is the same one."""
    split = item["load_dataset_config"].get("split", "")
    base, mark, rest = str(split).partition("[")
    wanted = f"{base}[{held.rpartition('[')[2]}"
    if not mark or rest != train.rpartition("[")[2]:
        return False
    for other in section:
        load = other.get("load_dataset_config")
        if (
            isinstance(load, dict)
            and load.get("split") == wanted
            and load.get("data_files") == item["load_dataset_config"].get("data_files")
        ):
            _refer(entry, other["name"])
            return True
    return False


def _slices(size: object) -> tuple[str, str] | None:
    """The slices for training and for evaluation, as the datasets library writes them."""
    if isinstance(size, bool) or not isinstance(size, (int, float)) or size <= 0:
        return None
    if size < 1:
        # Slices are in whole percent.
        percent = min(99, max(1, round(size * 100)))
        return f":{100 - percent}%", f"{100 - percent}%:"
    return f":-{int(size)}", f"-{int(size)}:"


def _named(name: object, section: object) -> Table | None:
    items = section if isinstance(section, list) else []
    return next((item for item in items if isinstance(item, dict) and item.get("name") == name and name), None)


def _refer(entry: Table, name: str) -> None:
    """Name the data for evaluation, right after that for training."""
    laid: Table = {}
    for key, value in entry.items():
        if key == "eval_data_config":
            continue
        laid[key] = value
        if key == "train_data_config":
            laid["eval_data_config"] = name
    entry.clear()
    entry.update(laid)


def _give_back(entry: Table, key: str, size: object, ledger: Ledger, reason: str) -> None:
    table = entry["training_args"] if ".training_args." in key else entry
    table["eval_dataset_size"] = size
    ledger.leave(key, f"no equivalent could be made: {reason}; add an `eval_data_config` by hand")
