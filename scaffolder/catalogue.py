"""Strict models of the catalogue's files, read where a command shows or judges them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Method = Literal["lora", "qlora", "dora", "loha", "lokr", "quantise-then-lora", "none"]
Target = Literal["cpu", "cuda", "dml", "webgpu"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "int4"]
_Entry = TypeVar("_Entry", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ChatEntry(_Strict):
    """How a model writes a conversation."""

    kind: str
    user: str
    assistant: str
    end: str
    stop: list[str]
    system: Literal["role", "folded"]
    system_default: bool
    thinking: Literal["none", "switch", "always"]


class ShapeEntry(_Strict):
    """What of an architecture decides its memory."""

    layers: int = Field(gt=0)
    hidden: int = Field(gt=0)
    intermediate: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    vocab: int = Field(gt=0)
    tied: bool


class ExportEntry(_Strict):
    """What ModelBuilder can do for a model."""

    builder: Literal["direct", "repaired", "text"]
    tiny: str
    precisions: list[Precision]
    cuda: list[Precision]
    adapter_inputs: list[Method]
    merge: list[Method]
    tie: bool
    notes: str = ""


class ModelEntry(_Strict):
    """A model that a project can start from."""

    repo: str = Field(pattern=r"^[^/]+/[^/]+$")
    family: str
    architecture: str
    parameters: int = Field(gt=0)
    context: int = Field(gt=0)
    licence: str
    gated: bool
    chat: ChatEntry
    lora_targets: list[str]
    attention_targets: list[str]
    shape: ShapeEntry
    export: ExportEntry
    minimum: dict[str, str]


class MethodEntry(_Strict):
    """A way to fine-tune; `pass_` is None where nothing is trained."""

    title: str
    pass_: str | None = Field(alias="pass")
    packages: list[str]
    memory: Literal["lora", "qlora"]
    rank: int = Field(gt=0)
    alpha: int = Field(gt=0)
    merge: bool
    adapter_input: bool
    because: str


class HardwareEntry(_Strict):
    """What a project can train on."""

    device: Literal["cpu", "gpu"]
    memory_gb: int | None
    usable_gb: float | None
    dtype: Literal["float32", "bfloat16", "float16"]
    batch: int = Field(gt=0)
    sequence: int = Field(gt=0)
    packing: Literal["none", "pack"]
    checkpointing: bool
    fused_kernels: bool
    qlora: bool
    limits: dict[Literal["lora", "qlora"], float | None]


class ExportKind(_Strict):
    """What can be built from a tuned model."""

    title: str
    precision: Precision
    targets: list[Target]
    adapter: Literal["merged", "input"]


class QuantiserEntry(_Strict):
    """A way to quantise, with the pass of Olive that rounds."""

    title: str
    pass_: str = Field(alias="pass")
    data: bool
    seconds: int
    because: str


class PromptEntry(_Strict):
    """A way to write a conversation; texts with {system}, {prompt} and {response}."""

    title: str
    system: str = Field(pattern=r"\{system\}")
    turn: str = Field(pattern=r"(?s)\{prompt\}.*\{response\}$")
    between: str
    bos: bool


class PresetEntry(_Strict):
    """A set of answers under one name."""

    title: str
    answers: dict[str, bool | int | float | str]


def models() -> dict[str, ModelEntry]:
    """Return the models by name, the last part of their hub id."""
    return _read("models", "catalog_models", ModelEntry)


def methods() -> dict[str, MethodEntry]:
    """Return the ways to fine-tune by name."""
    return _read("methods", "catalog_methods", MethodEntry)


def hardware() -> dict[str, HardwareEntry]:
    """Return what can train, by name."""
    return _read("hardware", "catalog_hardware", HardwareEntry)


def exports() -> dict[str, ExportKind]:
    """Return what can be built, by preset."""
    return _read("exports", "catalog_exports", ExportKind)


def quantisers() -> dict[str, QuantiserEntry]:
    """Return the ways to quantise by name."""
    return _read("exports", "catalog_quantisers", QuantiserEntry)


def prompts() -> dict[str, PromptEntry]:
    """Return the formats of a conversation by name."""
    return _read("prompts", "catalog_prompts", PromptEntry)


def answer_sets() -> dict[str, PresetEntry]:
    """Return the sets of answers by name, as `scaffolder new --preset` takes them."""
    return _read("presets", "catalog_presets", PresetEntry)


def cards() -> dict[str, float]:
    """Return what GPUs compute in dense bfloat16 by a part of their names, in TFLOP/s."""
    return TypeAdapter(dict[str, float]).validate_python(_questions("cards"))


def model_for(hub_id: str, architecture: str | None = None) -> ModelEntry | None:
    """Return the entry of a hub id, else the first of the same architecture, else None."""
    entries = list(models().values())
    exact = (entry for entry in entries if entry.repo.lower() == hub_id.lower())
    same = (entry for entry in entries if entry.architecture == architecture)
    return next(exact, None) or next(same, None)


def _read(file: str, question: str, entry: type[_Entry]) -> dict[str, _Entry]:
    return TypeAdapter(dict[str, entry]).validate_python(_questions(file)[question]["default"])  # type: ignore[valid-type]


@cache
def _questions(file: str) -> dict[str, Any]:
    import yaml

    text = files("scaffolder.catalog").joinpath(f"{file}.yml").read_text(encoding="utf-8")
    # The parser in C takes a fifth of the time: every run asks.
    found: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found
