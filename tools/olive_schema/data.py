"""Schema of `data_configs`: containers, and the four components with the parameters of each type."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import re
import typing
from importlib import import_module
from typing import Any

import datasets
import datasets.packaged_modules
import olive.data.component
import olive.data.container  # noqa: F401  (fills the registry)
from olive.data.component import pre_process_data
from olive.data.component.text_generation import TextGenParams
from olive.data.config import DefaultDataComponentCombos
from olive.data.registry import Registry
from torch.utils.data import DataLoader

from .convert import Converter, Schema, closed, described, nested_key, nullable
from .refinements import refine

COMPONENTS = ("load_dataset", "pre_process_data", "post_process_data", "dataloader")
KEYS = {component: f"{component}_config" for component in COMPONENTS}
CONTAINERS = Registry._REGISTRY["data_container"]
GIVEN_BY_OLIVE = {"dataset", "output_data", "self"}
TEXT_GENERATION = "text_generation_huggingface_pre_process"
# Files that examples are read from; the settings of their readers may stand beside `data_files`.
READERS = (
    "json",
    "csv",
    "parquet",
    "text",
    "arrow",
    "pandas",
    "xml",
    "imagefolder",
    "audiofolder",
    "webdataset",
)
DEFAULT_TASK = "text-generation"


def data_config(converter: Converter) -> Schema:
    """Schema of one entry of `data_configs`."""
    for component in COMPONENTS:
        for name, function in Registry._REGISTRY[component].items():
            converter.defs[f"{component}.{name}"] = component_schema(converter, component, name, function)
        converter.defs[component] = any_component(component)
    properties: dict[str, Schema] = {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9_]+$", "description": "Other parts refer to it."},
        "type": {"type": "string", "default": "DataContainer", "description": "Container of the data."},
        "user_script": {"type": ["string", "null"], "x-path": "file"},
        "script_dir": {"type": ["string", "null"], "x-path": "folder"},
        **{key: nullable({"$ref": f"#/$defs/{component}"}) for component, key in KEYS.items()},
    }
    schema = closed(properties, ["name"], title="data_config")
    # A user script may register containers and components of its own.
    known = {"properties": {"type": {"enum": container_names(), "x-any-case": True}}}
    closed_list = {"if": {"not": {"required": ["user_script"]}}, "then": known}
    schema["allOf"] = [closed_list, *(fixed_defaults(name, cls) for name, cls in sorted(CONTAINERS.items()))]
    return schema


def container_names() -> list[str]:
    """Canonical spelling of every container."""
    return sorted(cls.__name__ for cls in CONTAINERS.values())


def any_component(component: str) -> Schema:
    """A component: its parameters follow its `type`; one from a user script may be anything."""
    names = sorted(Registry._REGISTRY[component])
    return {
        "title": KEYS[component],
        "type": "object",
        "properties": {"type": {"type": ["string", "null"], "examples": names}, "params": nested_key()},
        "x-nested": "params",
        "x-known": names,
        "allOf": [
            {
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/{component}.{name}"},
            }
            for name in names
        ],
    }


def untyped(component: str, target: str) -> Schema:
    """Apply a definition to a component that does not say its type."""
    key = KEYS[component]
    rule = {"if": {"not": {"required": ["type"]}}, "then": {"$ref": f"#/$defs/{component}.{target}"}}
    return {"properties": {key: {"if": {"type": "object"}, "then": rule}}}


def fixed_defaults(name: str, cls: Any) -> Schema:
    """The components a container uses whatever the model's task, so far as they are not said."""
    by_task = {part for parts in getattr(cls, "task_type_components_map", {}).values() for part in parts}
    chosen = {**DefaultDataComponentCombos, **cls.default_components_type}
    rules = [untyped(component, chosen[component]) for component in COMPONENTS if component not in by_task]
    condition: Schema = {"properties": {"type": {"const": cls.__name__}}, "required": ["type"]}
    if name == "datacontainer":
        condition = {"anyOf": [condition, {"not": {"required": ["type"]}}]}
    return {"if": condition, "then": {"allOf": rules}}


def defaults_by_task() -> list[Schema]:
    """Rules on the whole file: the components that the model's task chooses in a container."""
    rules = []
    for cls in CONTAINERS.values():
        tasks = getattr(cls, "task_type_components_map", None)
        if tasks:
            rules += [task_rule(cls, task, parts) for task, parts in tasks.items()]
    return rules


def task_rule(cls: Any, task: str, parts: dict[str, str]) -> Schema:
    """One task's components in one container."""
    names = [task, f"{task}-with-past"]
    model: Schema = {"properties": {"task": {"enum": names}}, "required": ["task"]}
    if task == DEFAULT_TASK:
        unsaid = {"not": {"anyOf": [{"required": ["task"]}, {"required": ["config"]}]}}
        is_hf = {"properties": {"type": {"enum": ["HfModel", "hfmodel", "HFModel"]}}, "required": ["type"]}
        # An old configuration says the model in `hf_config`; its data is to be explained too.
        model = {"anyOf": [model, {"allOf": [unsaid, is_hf]}, {"required": ["hf_config"]}]}
    rules = []
    for component in COMPONENTS:
        target = parts.get(component) or {**DefaultDataComponentCombos, **cls.default_components_type}[component]
        by_task = {part for other in cls.task_type_components_map.values() for part in other}
        if component in by_task:
            rules.append(untyped(component, target))
    uses = {"properties": {"type": {"const": cls.__name__}}, "required": ["type"]}
    own_task = {"properties": {"pre_process_data_config": {"type": "object", "required": ["task"]}}}
    own_task["required"] = ["pre_process_data_config"]  # type: ignore[assignment]
    item = {"if": {"allOf": [uses, {"not": own_task}]}, "then": {"allOf": rules}}
    return {
        "if": {"properties": {"input_model": model}, "required": ["input_model"]},
        "then": {"properties": {"data_configs": {"items": item}}},
    }


def component_schema(converter: Converter, component: str, name: str, function: Any) -> Schema:
    """Schema of one type of one component, from the function that Olive registered for it."""
    properties: dict[str, Schema] = {"type": {"type": ["string", "null"]}, "params": nested_key()}
    required = []
    takes_more = False
    hints = typing.get_type_hints(function)
    for param in inspect.signature(function).parameters.values():
        if param.kind is param.VAR_KEYWORD:
            takes_more = True
            continue
        if param.name in GIVEN_BY_OLIVE or param.kind is param.VAR_POSITIONAL:
            continue
        schema = converter.of(hints[param.name]) if param.name in hints else {}
        has_default = param.default is not param.empty
        default = param.default if has_default else None
        properties[param.name] = described(refine(name, param.name, schema), None, default)
        # Olive fills what is not said with None; only this one is then refused.
        if param.name == "data_name":
            required.append(param.name)
    extra = more_parameters(converter, component, name)
    properties = {**extra, **properties}
    is_open = takes_more and not extra
    title = f"{KEYS[component]} ({name})"
    return closed(properties, required, title=title, nested="params", is_open=is_open)


def more_parameters(converter: Converter, component: str, name: str) -> dict[str, Schema]:
    """What a component takes beyond its signature, where that is known; empty where it isn't."""
    if name == TEXT_GENERATION:
        fields = converter.model_schema(TextGenParams)["properties"]
        return {**fields, "task": {"type": ["string", "null"]}, "kwargs": {"type": ["object", "null"]}}
    if name == "huggingface_dataset":
        return dataset_arguments()
    if component == "dataloader" and name != "default_calibration_dataloader":
        return dataloader_arguments()
    if component == "pre_process_data" and name in {
        "huggingface_pre_process",
        "tokenizer_pre_process",
        "ner_huggingface_preprocess",
    }:
        found = re.findall(r'kwargs\.(?:get|pop)\("(\w+)"', inspect.getsource(pre_process_data))
        return {key: {} for key in sorted({*found, "task", "batch_size"} - {"max_duration", "labels_to_filter"})}
    return {}


def dataset_arguments() -> dict[str, Schema]:
    """Arguments of datasets.load_dataset and of the readers that it starts."""
    known: dict[str, Schema] = {}
    for param in inspect.signature(datasets.load_dataset).parameters.values():
        if param.kind is not param.VAR_KEYWORD and param.name not in ("path", "name"):
            known[param.name] = {}
    for reader in READERS:
        module = import_module(f"datasets.packaged_modules.{reader}.{reader}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, datasets.BuilderConfig):
                known.update({field.name: {} for field in dataclasses.fields(value)})
    assert list(pkgutil.iter_modules(datasets.packaged_modules.__path__)), "the readers are in datasets"
    # Olive hands the model's setting on; datasets takes it and ignores it.
    known |= {"trust_remote_code": {"type": ["boolean", "null"]}, "task": {}, "model_name": {}}
    for taken in ("name", "version", "data_dir", "data_files", "description"):
        known.pop(taken, None)
    return dict(sorted(known.items()))


def dataloader_arguments() -> dict[str, Schema]:
    """Arguments of torch's DataLoader."""
    names = list(inspect.signature(DataLoader.__init__).parameters)[2:]
    known: dict[str, Schema] = {name: {} for name in names}
    known["batch_size"] = {"type": ["integer", "null"], "minimum": 1, "default": 1}
    known["shuffle"] = {"type": ["boolean", "null"]}
    known["num_workers"] = {"type": "integer", "minimum": 0}
    return {**known, "task": {}, "model_name": {}}
