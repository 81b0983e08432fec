"""Schema of the passes: every entry of Olive's own list, and the arguments of training."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from typing import Any

import transformers
from olive.common.config_utils import ParamCategory
from olive.hardware.accelerator import DEFAULT_CPU_ACCELERATOR
from olive.package_config import OlivePackageConfig
from olive.passes.pytorch.train_utils import BaseHFTrainingArguments

from .convert import REFERENCES, Converter, Schema, by_type, closed, described, nested_key, nullable, shorten
from .refinements import refine

SEARCH: Schema = {
    "description": "A value to search for, or the word for Olive's default.",
    "anyOf": [
        {"enum": ["DEFAULT_VALUE", "SEARCHABLE_VALUES"]},
        {
            "type": "object",
            "required": ["olive_parameter_type"],
            "properties": {"olive_parameter_type": {"const": "SearchParameter"}},
        },
    ],
}
REMOVED_ARGUMENTS = {
    "warmup_ratio": "transformers 5 has no such argument and Olive drops it in silence; use `warmup_steps`, "
    "which takes a fraction below 1 too.",
    "fp16": "Olive drops it; use the pass's `torch_dtype`.",
}


def any_pass(converter: Converter) -> Schema:
    """Schema of one entry of `passes`."""
    package = OlivePackageConfig.load_default_config()
    converter.defs["search"] = SEARCH
    branches = {}
    for entry in package.passes.values():
        name = entry.module_path.rsplit(".", 1)[1]
        cls = package.import_pass_module(name)
        target = f"pass.{name}"
        converter.defs[target] = one_pass(converter, name, cls)
        branches[name] = target
    return by_type(dict(sorted(branches.items(), key=lambda item: item[0].lower())), title="pass")


def one_pass(converter: Converter, name: str, cls: Any) -> Schema:
    """Schema of one type of pass."""
    properties: dict[str, Schema] = {
        "type": {"type": "string"},
        "host": nullable(REFERENCES_BY_NAME["host"]),
        "evaluator": nullable(REFERENCES_BY_NAME["evaluator"]),
        "config": nested_key(),
    }
    required = []
    for key, param in cls.default_config(DEFAULT_CPU_ACCELERATOR).items():
        properties[key] = parameter(converter, name, key, param)
        if param.required:
            required.append(key)
    schema = closed(properties, required, title=f"{name} pass", nested="config")
    return described(schema, inspect.getdoc(cls))


def parameter(converter: Converter, owner: str, key: str, param: Any) -> Schema:
    """Schema of one parameter of a pass."""
    if key == "training_args":
        schema: Schema = {"$ref": f"#/$defs/{training(converter, param.type_)}"}
    elif key == "surgeries":
        schema = {"type": "array", "items": {"$ref": f"#/$defs/{surgery(converter)}"}}
    else:
        schema = converter.of(param.type_)
        if schema.get("x-ref") == "data_configs" and not key.endswith("data_config"):
            # Olive looks names up only under keys that end so.
            schema = {"type": "object"}
    if schema and not param.required:
        schema = nullable(schema)
    schema = refine(owner, key, schema)
    if param.category == ParamCategory.PATH and "x-path" not in schema:
        schema = {**schema, "x-path": "file"}
    if schema and not {"x-ref", "x-path", "$ref"} & set(schema) and key not in ("training_args", "surgeries"):
        schema = {"anyOf": [schema, {"$ref": "#/$defs/search"}]}
    return described(schema, param.description, param.default_value)


def training(converter: Converter, annotation: Any) -> str:
    """Define the training arguments that a pass takes and return the definition's name."""
    cls = next(kind for kind in typing.get_args(annotation) or (annotation,) if kind is not dict)
    if not issubclass(cls, BaseHFTrainingArguments):
        return own_arguments(converter, cls)
    # Two passes have a class of the same name; only the module tells them apart.
    name = f"training.{cls.__module__.rsplit('.', 1)[1]}.{cls.__name__}"
    if name in converter.defs:
        return name
    properties = transformers_arguments(converter)
    for key, field in cls.model_fields.items():
        if key == "extra_args":
            properties[key] = nested_key()
            continue
        schema = properties.get(key) or converter.of(field.annotation)
        if "enum" not in schema:
            schema = refine("training_args", key, converter.of(field.annotation))
        properties[key] = described(schema, field.description, field.default)
    for key, note in REMOVED_ARGUMENTS.items():
        properties[key] = {**properties.get(key, {}), "deprecated": True, "deprecationMessage": note}
    converter.defs[name] = closed(properties, [], title="training_args", nested="extra_args")
    return name


def own_arguments(converter: Converter, cls: Any) -> str:
    """Define training arguments that are a plain class of Olive's."""
    hints = typing.get_type_hints(cls.__init__)
    properties = {}
    for param in list(inspect.signature(cls.__init__).parameters.values())[1:]:
        schema = refine("training_args", param.name, nullable(converter.of(hints[param.name])))
        properties[param.name] = described(schema, None, param.default)
    converter.defs[cls.__name__] = closed(properties, [], title="training_args")
    return str(cls.__name__)


def transformers_arguments(converter: Converter) -> dict[str, Schema]:
    """Every field of transformers.TrainingArguments."""
    hints = typing.get_type_hints(transformers.TrainingArguments)
    properties = {}
    for field in dataclasses.fields(transformers.TrainingArguments):
        if not field.init:
            continue
        schema = converter.of(hints[field.name])
        if choices := field.metadata.get("choices"):
            schema = {"enum": list(choices)}
        schema = refine("training_args", field.name, schema)
        properties[field.name] = described(schema, field.metadata.get("help"), field.default)
    return properties


def surgery(converter: Converter) -> str:
    """Define the surgeries of GraphSurgeries and return the definition's name."""
    from olive.passes.onnx.graph_surgeries import ProtoSurgeon, Surgeon

    names = []
    schema: Schema = {"title": "surgery", "type": "object", "required": ["surgeon"], "allOf": []}
    for cls in sorted(Surgeon.registry.values(), key=lambda item: item.__name__.lower()):
        if cls is ProtoSurgeon:
            continue
        names.append(cls.__name__)
        properties: dict[str, Schema] = {"surgeon": {"type": "string"}}
        required = []
        for param in list(inspect.signature(cls.__init__).parameters.values())[1:]:
            if param.kind in (param.VAR_KEYWORD, param.VAR_POSITIONAL):
                continue
            has_default = param.default is not param.empty
            properties[param.name] = described({}, None, param.default if has_default else None)
            if not has_default:
                required.append(param.name)
        target = f"surgery.{cls.__name__}"
        converter.defs[target] = described(
            closed(properties, required, title=f"{cls.__name__} surgery"), shorten(inspect.getdoc(cls))
        )
        condition = {"properties": {"surgeon": {"const": cls.__name__}}, "required": ["surgeon"]}
        schema["allOf"].append({"if": condition, "then": {"$ref": f"#/$defs/{target}"}})
    schema["properties"] = {"surgeon": {"enum": names, "x-any-case": True}}
    converter.defs["surgery"] = schema
    return "surgery"


REFERENCES_BY_NAME = {
    "host": next(schema for cls, schema in REFERENCES.items() if cls.__name__ == "SystemConfig"),
    "evaluator": next(schema for cls, schema in REFERENCES.items() if cls.__name__ == "OliveEvaluatorConfig"),
}
