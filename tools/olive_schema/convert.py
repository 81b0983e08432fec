"""Turns Python annotations, as Olive and transformers write them, into JSON schema."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from olive.common.config_utils import CaseInsensitiveEnum, NestedConfig
from olive.data.config import DataConfig
from olive.evaluator.metric import Metric
from olive.evaluator.olive_evaluator import OliveEvaluatorConfig
from olive.model.config.hf_config import HfLoadKwargs
from olive.model.config.kv_cache_config import KVCacheConfig
from olive.systems.system_config import SystemConfig
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from .refinements import LOADING, refine

Schema = dict[str, Any]
NESTED_NOTE = "Write these keys flat, beside `type`; the nested form is that of old versions."
PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "string", dict: "object"}
UNIONS = (Union, types.UnionType)
REFERENCES: dict[type, Schema] = {
    DataConfig: {"type": "string", "x-ref": "data_configs"},
    SystemConfig: {"anyOf": [{"type": "string", "x-ref": "systems"}, {"$ref": "#/$defs/system"}]},
    OliveEvaluatorConfig: {"anyOf": [{"type": "string", "x-ref": "evaluators"}, {"$ref": "#/$defs/evaluator"}]},
    Metric: {"$ref": "#/$defs/metric"},
}
# Olive hands every other key of these on to another library, which has many more.
OPEN_MODELS = (HfLoadKwargs,)
# Olive fills what is required here from the model.
FILLED_MODELS = (KVCacheConfig,)


def shorten(text: str | None, limit: int = 200) -> str:
    """First sentences of a description, at most `limit` characters."""
    flat = " ".join((text or "").split())
    if len(flat) <= limit:
        return flat
    head = flat[:limit]
    stop = max(head.rfind(". "), head.rfind("; "))
    return head[: stop + 1] if stop > limit // 3 else head.rsplit(" ", 1)[0] + " …"


def plain(value: object) -> Any:
    """A default as JSON, or None where it has no JSON form."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if isinstance(value, (bool, int, float, str, dict)) else None


def described(schema: Schema, description: str | None, default: object = None) -> Schema:
    """Add description and default, where there are any."""
    out = dict(schema)
    if text := shorten(description):
        out["description"] = text
    if (value := plain(default)) is not None:
        out["default"] = value
    return out


def nullable(schema: Schema) -> Schema:
    """Let a schema also accept null."""
    if not schema or "$ref" in schema or "anyOf" in schema:
        options = schema.get("anyOf", [schema])
        if {"type": "null"} in options:
            return schema
        return {"anyOf": [*options, {"type": "null"}]} if schema else {}
    if "enum" in schema:
        return schema if None in schema["enum"] else {**schema, "enum": [*schema["enum"], None]}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return schema if "null" in kinds else {**schema, "type": [*kinds, "null"]}


class Converter:
    """Collects the definitions that converted annotations refer to."""

    def __init__(self) -> None:
        self.defs: dict[str, Schema] = {}

    def of(self, annotation: Any) -> Schema:
        """Schema of one annotation; `{}` accepts anything."""
        if isinstance(annotation, type) and annotation in REFERENCES:
            return dict(REFERENCES[annotation])
        if annotation in PLAIN:
            return {"type": PLAIN[annotation]}
        origin = get_origin(annotation)
        if origin in UNIONS:
            return self._union(get_args(annotation))
        if origin is Literal:
            return {"enum": list(get_args(annotation))}
        if annotation is Callable or origin is Callable or annotation is inspect.Parameter.empty:
            return {"type": "string"} if annotation is Callable or origin else {}
        if isinstance(origin or annotation, type):
            return self._of_class(origin or annotation, get_args(annotation))
        return {"type": "string"} if "Callable" in str(annotation) else {}

    def _of_class(self, cls: type, arguments: tuple[Any, ...]) -> Schema:
        if issubclass(cls, Enum):
            schema: Schema = {"enum": [member.value for member in cls]}
            return {**schema, "x-any-case": True} if issubclass(cls, CaseInsensitiveEnum) else schema
        if issubclass(cls, BaseModel):
            return {"$ref": f"#/$defs/{self.model(cls)}"}
        if issubclass(cls, (dict, Mapping)):
            values = self.of(arguments[1]) if arguments else {}
            return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
        if issubclass(cls, (list, tuple, set, Sequence)) and not issubclass(cls, str):
            items = self.of(arguments[0]) if arguments else {}
            return {"type": "array", "items": items} if items else {"type": "array"}
        return {}

    def _union(self, members: tuple[Any, ...]) -> Schema:
        optional = type(None) in members
        kinds = [member for member in members if member is not type(None)]
        if any(isinstance(kind, type) and issubclass(kind, (DataConfig, SystemConfig)) for kind in kinds):
            # Olive takes such a value by its name; an inline one is refused at run time.
            kinds = [kind for kind in kinds if kind not in (dict, str)]
        schemas = [self.of(kind) for kind in kinds]
        if any("enum" in schema for schema in schemas):
            schemas = [schema for schema in schemas if schema != {"type": "string"}]
        if any("$ref" in schema for schema in schemas):
            schemas = [schema for schema in schemas if schema.get("type") != "object"]
        merged = self._merge(schemas)
        return nullable(merged) if optional else merged

    @staticmethod
    def _merge(schemas: list[Schema]) -> Schema:
        unique = [schema for at, schema in enumerate(schemas) if schema not in schemas[:at]]
        # `typing` keeps one object for equal unions, so their order depends on who was imported first.
        unique.sort(key=json.dumps)
        if not unique or {} in unique:
            return {}
        if len(unique) == 1:
            return unique[0]
        if all(set(schema) == {"type"} and isinstance(schema["type"], str) for schema in unique):
            return {"type": [schema["type"] for schema in unique]}
        return {"anyOf": unique}

    def model(self, cls: type[BaseModel]) -> str:
        """Define a pydantic model and return the name of its definition."""
        name = cls.__name__
        if name not in self.defs:
            self.defs[name] = {}
            self.defs[name] = self.model_schema(cls)
        return name

    def model_schema(self, cls: type[BaseModel]) -> Schema:
        """Schema of a pydantic model: closed, as Olive ignores or refuses what it doesn't know."""
        nested: str | None = getattr(cls, "_nested_field_name", None) if issubclass(cls, NestedConfig) else None
        properties: dict[str, Schema] = {}
        required = []
        for name, field in cls.model_fields.items():
            if name == nested:
                properties[name] = {
                    "type": ["object", "null"],
                    "deprecated": True,
                    "deprecationMessage": NESTED_NOTE,
                }
                continue
            default = None if field.default is PydanticUndefined else field.default
            schema = described(self.of(field.annotation), field.description, default)
            properties[name] = refine(cls.__name__, name, schema)
            if field.is_required() and cls not in FILLED_MODELS:
                required.append(name)
        is_open = issubclass(cls, OPEN_MODELS)
        if is_open:
            properties.update({name: {} for name in LOADING})
        return closed(properties, required, title=cls.__name__, nested=nested, is_open=is_open)


def closed(
    properties: dict[str, Schema],
    required: list[str],
    *,
    title: str,
    nested: str | None = None,
    is_open: bool = False,
) -> Schema:
    """An object schema. Where `nested` names the key of the old nested form, `required` bends to it."""
    schema: Schema = {"title": title, "type": "object", "properties": properties}
    schema["additionalProperties"] = is_open
    if nested:
        schema["x-nested"] = nested
    if required and nested:
        schema["if"] = {"not": {"required": [nested]}}
        schema["then"] = {"required": required}
    elif required:
        schema["required"] = required
    return schema


def nested_key() -> Schema:
    """The old nested form of a part: accepted by Olive, discouraged here."""
    return {"type": ["object", "null"], "deprecated": True, "deprecationMessage": NESTED_NOTE}


def by_type(branches: dict[str, str], *, title: str, required: bool = True, any_case: bool = True) -> Schema:
    """An object whose `type` says which definition the rest of it follows.

    Args:
        branches: Canonical spelling of a type to the name of its definition.
        title: What an unknown value is called in messages.
        required: Whether `type` must be there.
        any_case: Whether Olive takes any spelling of the case.
    """
    names: Schema = {"enum": list(branches), "description": f"Type of {title}."}
    if any_case:
        names["x-any-case"] = True
    schema: Schema = {"title": title, "type": "object", "properties": {"type": names}}
    if required:
        schema["required"] = ["type"]
    schema["allOf"] = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"$ref": f"#/$defs/{target}"},
        }
        for name, target in branches.items()
    ]
    return schema
