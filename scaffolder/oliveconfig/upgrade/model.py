"""Upgrades `input_model`: the Hugging Face forms of old versions become HfModel."""

from __future__ import annotations

from typing import Any

from scaffolder.oliveconfig.upgrade.record import Ledger, Table, put

LOADING = ("from_pretrained_args", "model_loading_args")
MEANT_A_PATH = ("local_folder", "local_file", "string_name")
OWN_DATA = "__input_model_data_config__"
ORDER = ("type", "model_path", "task", "load_kwargs", "adapter_path")


def upgrade_model(config: Table, ledger: Ledger) -> None:
    """Bring `input_model` to today's form."""
    at = "input_model"
    model = config.get(at)
    if not isinstance(model, dict):
        return
    ledger.lift(model, "config", at)
    if isinstance(model.get("hf_config"), dict):
        _from_hf_config(model, config, ledger)
    if str(model.get("type", "")).casefold() == "hfmodel":
        ledger.rename(model, "model_name", "model_path", at, "Olive renamed it")
        for key in LOADING:
            ledger.rename(model, key, "load_kwargs", at, "Olive renamed it")
    ledger.drop(model, "is_file", at, "Olive sees for itself")
    if isinstance(model.get("load_kwargs"), dict):
        ledger.lift(model["load_kwargs"], "extra_args", f"{at}.load_kwargs")
    for key in ("model_path", "adapter_path"):
        _path(model, key, ledger)


def _from_hf_config(model: Table, config: Table, ledger: Ledger) -> None:
    at = "input_model.hf_config"
    hf = dict(model.pop("hf_config"))
    if str(model.get("type", "")).casefold() != "hfmodel":
        ledger.note(
            "converted",
            "input_model.type",
            "input_model.type",
            f"{model.get('type')} with `hf_config` is HfModel",
        )
    model["type"] = "HfModel"
    name = hf.pop("model_name", None)
    if name is not None and model.get("model_path") is None:
        model["model_path"] = name
        ledger.note("moved", f"{at}.model_name", "input_model.model_path", "HfModel says the model in `model_path`")
    elif name is not None:
        ledger.note("dropped", f"{at}.model_name", "", "`model_path` is where the model is loaded from")
    if "task" in hf:
        model.setdefault("task", hf.pop("task"))
        ledger.note("moved", f"{at}.task", "input_model.task", "HfModel takes it flat")
    for key in LOADING:
        if key in hf:
            model.setdefault("load_kwargs", hf.pop(key))
            ledger.note("moved", f"{at}.{key}", "input_model.load_kwargs", "HfModel calls it `load_kwargs`")
    if isinstance(hf.get("dataset"), dict):
        _dataset(hf.pop("dataset"), config, ledger)
    for key in hf:
        ledger.note("dropped", f"{at}.{key}", "", "HfModel has no such key")
    for key in ("model_file_format", "model_loader", "model_script", "script_dir", "dummy_inputs_func"):
        ledger.drop(model, key, "input_model", "HfModel has no such key")
    put(model, {**{key: model[key] for key in ORDER if key in model}, **model})


def _dataset(dataset: Table, config: Table, ledger: Ledger) -> None:
    """Make a data config of the data that old versions kept with the model, under the name they gave it."""
    section = config.setdefault("data_configs", [])
    item = {"name": OWN_DATA, "type": "HuggingfaceContainer", "params_config": dataset}
    if isinstance(section, dict):
        section[OWN_DATA] = item
    elif isinstance(section, list):
        section.append(item)
    note = f"data has a section of its own; old versions referred to it as {OWN_DATA}"
    ledger.note("moved", "input_model.hf_config.dataset", "data_configs", note)


def _path(model: Table, key: str, ledger: Ledger) -> None:
    resource: Any = model.get(key)
    if not isinstance(resource, dict):
        return
    kind = str(resource.get("type", ""))
    inner = resource.get("config")
    place = (inner if isinstance(inner, dict) else resource).get("path") or resource.get("name")
    if kind in MEANT_A_PATH and isinstance(place, str):
        model[key] = place
        ledger.note("converted", f"input_model.{key}", f"input_model.{key}", "a path is written as plain text")
    elif kind.startswith("azureml") and kind != "azureml_registry_model":
        ledger.leave(f"input_model.{key}", "no equivalent: Olive no longer reads models from an Azure ML workspace")
