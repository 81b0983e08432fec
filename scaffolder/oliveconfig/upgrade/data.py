"""Upgrades `data_configs`: today's components, today's names, and files that are local."""

from __future__ import annotations

import re
from posixpath import basename

from scaffolder.oliveconfig.schema import parameters
from scaffolder.oliveconfig.upgrade.record import Ledger, Table, free_name, join, put, tables
from scaffolder.oliveconfig.upgrade.systems import workspace

COMPONENTS = ("load_dataset", "pre_process_data", "post_process_data", "dataloader")
NESTING = ("params_config", "components", "component_kwargs")
OF_DATALOADER = ("batch_size", "shuffle", "num_workers")
RENAMED = {
    "corpus_strategy": "strategy",
    "source_max_len": "max_seq_len",
    "use_chat_template": "chat_template",
}


def upgrade_data(config: Table, ledger: Ledger) -> None:
    """Bring every data config to today's form."""
    section = config.get("data_configs")
    if isinstance(section, dict):
        for name, item in tables(section):
            put(item, {"name": name, **item})
        config["data_configs"] = list(section.values())
        ledger.note("converted", "data_configs", "data_configs", "it is a list today, each entry with its `name`")
    for number, item in tables(config.get("data_configs")):
        at = join("data_configs", number)
        _name(item, at, config, ledger)
        upgrade_one(item, at, ledger)


def upgrade_one(item: Table, at: str, ledger: Ledger) -> None:
    """Bring one data config to today's form."""
    for nesting in NESTING:
        _spread(item, nesting, at, ledger)
    for component in COMPONENTS:
        key = f"{component}_config"
        ledger.rename(item, component, key, at, "Olive renamed it")
        if isinstance(item.get(key), dict):
            ledger.lift(item[key], "params", join(at, key))
    load = item.get("load_dataset_config")
    if isinstance(load, dict) and "data_files" in load:
        load["data_files"] = _local(load["data_files"], join(at, "load_dataset_config.data_files"), ledger)
    text = item.get("pre_process_data_config")
    if isinstance(text, dict):
        _text(text, join(at, "pre_process_data_config"), ledger)


def _name(item: Table, at: str, config: Table, ledger: Ledger) -> None:
    """Give a data config a name that Olive takes, here and wherever it is referred to."""
    old = item.get("name")
    if not isinstance(old, str) or not old or re.fullmatch(r"[A-Za-z0-9_]+", old):
        return
    new = free_name(old, config["data_configs"])
    item["name"] = new
    for section in ("passes", "evaluators", "evaluator"):
        _rename_uses(config.get(section), old, new)
    ledger.note("converted", join(at, "name"), join(at, "name"), "a name has letters, digits and underscores only")


def _rename_uses(value: object, old: str, new: str) -> None:
    if isinstance(value, dict):
        for key, part in value.items():
            if part == old and key.endswith("data_config"):
                value[key] = new
            else:
                _rename_uses(part, old, new)
    elif isinstance(value, list):
        for part in value:
            _rename_uses(part, old, new)


def _spread(item: Table, nesting: str, at: str, ledger: Ledger) -> None:
    """Deal the keys of a nested part out to the components that read them."""
    part = item.get(nesting)
    if not isinstance(part, dict):
        return
    del item[nesting]
    given = part.pop("component_kwargs", None)
    component_parts = dict(given) if isinstance(given, dict) else {}
    for key, value in part.items():
        component = key.removesuffix("_config")
        if component in COMPONENTS and isinstance(value, dict):
            component_parts[component] = {**component_parts.get(component, {}), **value}
        else:
            component_parts.setdefault(_reader_of(key), {})[key] = value
    for component, values in component_parts.items():
        if component not in COMPONENTS or not isinstance(values, dict):
            ledger.note("dropped", join(at, nesting, component), "", "Olive has no such component")
            continue
        key = f"{component}_config"
        before = item.get(key)
        inner = values.pop("params", None)
        flat = {**values, **(inner if isinstance(inner, dict) else {})}
        item[key] = {**flat, **(before if isinstance(before, dict) else {})}
        ledger.note("moved", join(at, nesting), join(at, key), f"each component has its own key: {', '.join(flat)}")


def _reader_of(key: str) -> str:
    """The component that reads a key of the old `params_config`."""
    if key in OF_DATALOADER:
        return "dataloader"
    ours = {"task", "model_name", "kwargs", "trust_remote_code"}
    return "load_dataset" if key in set(parameters("load_dataset.huggingface_dataset")) - ours else "pre_process_data"


def _text(text: Table, at: str, ledger: Ledger) -> None:
    if text.get("dataset_type") == "pair":
        ledger.leave(join(at, "dataset_type"), "no equivalent: pairs are written as one `text_template` today")
    else:
        ledger.drop(text, "dataset_type", at, "Olive knows no other kind than text today")
    for old, new in RENAMED.items():
        ledger.rename(text, old, new, at, "Olive renamed it")
    if "text_cols" in text and (text.get("text_template") or text.get("text_formatting_func")):
        ledger.drop(
            text,
            "text_cols",
            at,
            "the template says which columns are used; Olive does not read this beside it",
        )
    lines = "join" not in str(text.get("strategy", "join"))
    if text.get("use_attention_mask") is False and lines and text.get("pad_to_max_len", True):
        ledger.drop(text, "use_attention_mask", at, "Olive refuses padding without the attention mask")


def _local(value: object, at: str, ledger: Ledger) -> object:
    """Replace files that Olive was to fetch by local ones, and note in the targets where they lie."""
    if isinstance(value, list):
        return [_local(part, join(at, number), ledger) for number, part in enumerate(value)]
    if not isinstance(value, dict):
        return value
    kind = str(value.get("type", ""))
    inner = value.get("config")
    settings: Table = inner if isinstance(inner, dict) else value
    if kind == "azureml_datastore":
        return _datastore(settings, at, ledger)
    if kind in ("local_file", "local_folder", "string_name"):
        ledger.note("converted", at, at, "a path is written as plain text")
        return settings.get("path") or settings.get("name")
    if kind.startswith("azureml"):
        ledger.leave(at, f"no equivalent: Olive no longer reads `{kind}`")
        return value
    return {key: _local(part, join(at, key), ledger) for key, part in value.items()}


def _datastore(settings: Table, at: str, ledger: Ledger) -> str:
    place = str(settings.get("relative_path") or settings.get("path") or "").lstrip("/")
    name = f"datasets/{basename(place) or 'data'}"
    uri = f"azureml://datastores/{settings.get('datastore_name', 'workspaceblobstore')}/paths/{place}"
    client = settings.get("azureml_client")
    own = workspace(client if isinstance(client, dict) else {})
    if not ledger.targets:
        ledger.targets["azureml"] = own
    elif any(target.get(key, value) != value for target in ledger.targets.values() for key, value in own.items()):
        ledger.note(
            "dropped",
            join(at, "azureml_client"),
            "",
            "another workspace than the target's; the target counts",
        )
    for target in ledger.targets.values():
        target.setdefault("data", {})[name] = uri
    ledger.note("converted", at, at, f"Olive reads local files; {uri} is kept in the targets, fetch it to `{name}`")
    return name
