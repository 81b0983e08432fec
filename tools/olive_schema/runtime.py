"""Schema of everything around data and passes: top level, engine, models, systems, evaluators."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import olive.model  # noqa: F401  (fills the registry of models)
from olive.evaluator import accuracy, metric
from olive.evaluator.metric_backend import MetricBackend
from olive.evaluator.metric_config import LatencyMetricConfig, ThroughputMetricConfig, get_user_config_class
from olive.evaluator.olive_evaluator import OliveEvaluatorConfig
from olive.evaluator.registry import Registry as EvaluatorRegistry
from olive.model.config.registry import REGISTRY as MODELS
from olive.search.samplers import REGISTRY as SAMPLERS
from olive.systems.common import SystemType
from olive.systems.system_config import _type_to_config
from olive.workflows.run.config import RunConfig, RunEngineConfig

from .convert import Converter, Schema, by_type, closed, described, nested_key, nullable
from .refinements import refine

MODEL_TITLES = {
    "hfmodel": "HfModel",
    "onnxmodel": "ONNXModel",
    "pytorchmodel": "PyTorchModel",
    "compositemodel": "CompositeModel",
    "diffusersmodel": "DiffusersModel",
    "distributedhfmodel": "DistributedHfModel",
    "distributedonnxmodel": "DistributedOnnxModel",
    "openvinomodel": "OpenVINOModel",
    "qairtmodel": "QairtModel",
    "qairtpreparedmodel": "QairtPreparedModel",
    "qnnmodel": "QNNModel",
    "tensorflowmodel": "TensorFlowModel",
}


def root(converter: Converter) -> Schema:
    """Top level: RunConfig with the engine's keys beside it, as they are written today."""
    properties: dict[str, Schema] = {}
    for name, field in RunConfig.model_fields.items():
        properties[name] = described({}, field.description, field.default)
    properties["input_model"] |= {"$ref": "#/$defs/model"}
    properties["systems"] |= {"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/system"}}
    properties["evaluators"] |= {
        "type": ["object", "null"],
        "additionalProperties": {"$ref": "#/$defs/evaluator"},
    }
    properties["data_configs"] |= {"type": "array", "items": {"$ref": "#/$defs/data"}}
    properties["workflow_id"] |= {"type": "string"}
    properties["engine"] = nested_key()
    entry = {"$ref": "#/$defs/pass"}
    properties["passes"] |= {
        "type": "object",
        "additionalProperties": {
            "if": {"type": "array"},
            "then": {"type": "array", "items": entry},
            "else": entry,
        },
    }
    engine = converter.model_schema(RunEngineConfig)
    # Strategy and packaging are tables of their own, with a nested key that Olive also takes flat.
    properties.update(engine["properties"])
    schema = closed(properties, ["input_model"], title="Olive configuration")
    sampler = converter.defs["SearchStrategyConfig"]["properties"]
    sampler["sampler"] = nullable({"enum": sorted(SAMPLERS)})
    for cls in SAMPLERS.values():
        sampler.update(converter.model_schema(cls.get_config_class())["properties"])
    packaging = converter.defs["PackagingConfig"]["properties"]
    packaging.update({name: {} for name in ("export_in_mlflow_format", "base_image", "requirements_file")})
    schema["x-nested"] = "engine"
    return schema


def model(converter: Converter) -> Schema:
    """Schema of `input_model`."""
    branches = {}
    for key in sorted(MODELS, key=lambda name: (name != "hfmodel", name)):
        cls = MODELS[key]
        name = MODEL_TITLES.get(key, cls.__name__.removesuffix("Handler"))
        branches[name] = f"model.{name}"
        converter.defs[f"model.{name}"] = one_model(converter, name, cls)
    return by_type(branches, title="input_model")


def one_model(converter: Converter, name: str, cls: Any) -> Schema:
    """Schema of one type of model, from the arguments of its handler."""
    hints = typing.get_type_hints(cls.__init__)
    properties: dict[str, Schema] = {"type": {"type": "string"}, "config": nested_key()}
    required = []
    for param in list(inspect.signature(cls.__init__).parameters.values())[1:]:
        hint = hints.get(param.name, Any)
        is_resource = "ResourcePath" in str(hint)
        schema = {"type": ["string", "object"]} if is_resource else converter.of(hint)
        if param.default is param.empty and param.name != "model_file_format":
            required.append(param.name)
        elif schema and "null" not in str(schema):
            schema = nullable(schema)
        default = None if param.default is param.empty else param.default
        properties[param.name] = described(refine(name, param.name, schema), None, default)
    if name == "CompositeModel":
        properties["model_components"] = {"type": "array", "items": {"$ref": "#/$defs/model"}}
    return closed(properties, required, title=f"{name} input_model", nested="config")


def system(converter: Converter) -> Schema:
    """Schema of one entry of `systems`."""
    branches = {}
    for kind in (SystemType.Local, SystemType.PythonEnvironment, SystemType.Docker):
        schema = converter.model_schema(_type_to_config[kind])
        properties = {key: refine(kind.value, key, value) for key, value in schema["properties"].items()}
        properties = {"type": {"type": "string"}, **properties, "config": nested_key()}
        title = f"{kind.value} system"
        required = schema.get("required", [])
        if kind is SystemType.PythonEnvironment:
            required = ["python_environment_path"]
        converter.defs[f"system.{kind.value}"] = closed(properties, required, title=title, nested="config")
        branches[kind.value] = f"system.{kind.value}"
    accelerator = converter.defs["AcceleratorConfig"]
    providers = accelerator["properties"]["execution_providers"]
    providers["items"] = {
        "anyOf": [
            {"type": "string", "pattern": "ExecutionProvider$"},
            {"type": "array", "items": {"type": "string"}},
        ]
    }
    accelerator["properties"]["execution_providers"] = providers
    return by_type(branches, title="system")


def evaluator(converter: Converter) -> Schema:
    """Schema of one entry of `evaluators`."""
    converter.defs["metric"] = any_metric(converter)
    schema = converter.model_schema(OliveEvaluatorConfig)
    schema["additionalProperties"] = True
    schema["properties"]["type"] = nullable({"enum": sorted(EvaluatorRegistry._REGISTRY)})
    schema["properties"]["metrics"] = {"type": "array", "items": {"$ref": "#/$defs/metric"}}
    schema["title"] = "evaluator"
    # Another evaluator may come from a user script.
    del schema["properties"]["type"]["enum"]
    schema["properties"]["type"] = {
        "type": ["string", "null"],
        "examples": sorted(EvaluatorRegistry._REGISTRY),
    }
    return schema


def backend_rule(sub: dict[str, Schema]) -> Schema:
    """What a metric measures: one of a list with Olive's own backend, anything with Hugging Face's."""
    foreign = {"properties": {"backend": {"const": "huggingface_metrics"}}, "required": ["backend"]}
    anything: dict[str, Schema] = {"name": {"type": "string"}, "metric_config": {"type": ["object", "null"]}}
    listed, others = (closed(keys, ["name"], title="sub_type") for keys in (sub, {**sub, **anything}))
    return {
        "if": foreign,
        "then": {"properties": {"sub_types": {"items": others}}},
        "else": {"properties": {"sub_types": {"items": listed}}},
    }


def any_metric(converter: Converter) -> Schema:
    """Schema of a metric, by its type."""
    converter.model(metric.MetricGoal)
    subtypes = {
        "accuracy": metric.AccuracySubType,
        "latency": metric.LatencySubType,
        "throughput": metric.ThroughputSubType,
        "size_on_disk": metric.SizeOnDiskSubType,
    }
    branches = {}
    for kind in metric.MetricType:
        user = converter.model_schema(get_user_config_class(kind.value))["properties"]
        names = converter.of(subtypes[kind.value]) if kind.value in subtypes else {"type": "string"}
        sub = {
            "name": names,
            "metric_config": {"type": ["object", "null"]},
            "priority": {"type": "integer", "minimum": -1, "default": -1},
            "higher_is_better": {"type": "boolean"},
            "goal": nullable({"$ref": "#/$defs/MetricGoal"}),
        }
        if kind.value in ("latency", "throughput"):
            config = LatencyMetricConfig if kind.value == "latency" else ThroughputMetricConfig
            sub["metric_config"] = nullable({"$ref": f"#/$defs/{converter.model(config)}"})
        properties: dict[str, Schema] = {
            "name": {"type": "string"},
            "type": {"type": "string"},
            "backend": nullable({"enum": list(MetricBackend.registry)}),
            "sub_types": {"type": "array"},
            "data_config": {"type": ["string", "null"], "x-ref": "data_configs"},
            **user,
            "user_config": nested_key(),
        }
        title = f"{kind.value} metric"
        schema = closed(properties, ["name"], title=title, nested="user_config")
        schema["allOf"] = [backend_rule(sub)]
        converter.defs[f"metric.{kind.value}"] = schema
        branches[kind.value] = f"metric.{kind.value}"
    assert accuracy.AccuracyBase.registry, "Olive's metrics are registered on import"
    return by_type(branches, title="metric", any_case=False)
