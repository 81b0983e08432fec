"""Says, before a run, what a model's architecture, a method or a pass cannot do on the locked stack."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from scaffolder import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REPAIR = "genai_fixes.py"
# Passes of Olive that the locked stack cannot run, with the quantiser that their place in the catalogue names.
_DEAD_PASSES = {"autoawqquantizer": "awq", "gptqquantizer": "gptq", "gptqmodel": "gptq"}
# Where training may report to (`report_to`), with the distributions that make it possible; others are not looked for.
_TRACKERS: dict[str, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
    **dict.fromkeys(
        (
            "azure_ml",
            "clearml",
            "codecarbon",
            "comet_ml",
            "dagshub",
            "dvclive",
            "flyte",
            "kubeflow",
            "neptune",
            "swanlab",
        ),
        (),
    ),
    "all": (),
    "none": (),
}
# Training arguments that need a package beside the lock, by the values that do.
_OPTIONS = (
    ("use_liger_kernel", "True", "liger-kernel"),
    ("optim", r".*bnb.*|paged_.*|(ademamix|lion|adamw)_(8|32)bit.*|ademamix", "bitsandbytes"),
    ("optim", r"adamw_torch_(4|8)bit", "torchao"),
    ("optim", r"galore_.*", "galore-torch"),
    ("optim", r"apollo_.*", "apollo-torch"),
    ("optim", r"schedule_free_.*", "schedulefree"),
    ("optim", r"lomo|adalomo", "lomo-optim"),
    ("optim", r"grokadamw", "grokadamw"),
    ("deepspeed", r".+(?<!None)(?<!False)", "deepspeed"),
)
_CARD_PRECISIONS = {"fp16", "bf16"}
_Passes = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something in a configuration that cannot work.

    Attributes:
        key: Dotted path of the key that asks for it.
        message: What cannot work, and why.
        hint: What to do instead.
    """

    key: str
    message: str
    hint: str


def obstacles(
    config: dict[str, Any], root: Path, hub_id: str, installed: Callable[[str], str | None]
) -> list[Obstacle]:
    """Return what in an Olive configuration cannot work, each with what to do instead.

    Args:
        config: The configuration, resolved.
        root: The project's folder, which paths are relative to.
        hub_id: Of the base model.
        installed: Gives a distribution's version in the project's environment, or None.
    """
    passes = {name: settings for name, settings in config.get("passes", {}).items() if isinstance(settings, dict)}
    source = config.get("input_model", {})
    found = list(_dead_passes(passes))
    found += _missing_packages(passes, installed)
    found += _missing_trackers(passes, installed)
    if any(_kind(settings) == "modelbuilder" for settings in passes.values()):
        found += _builder(config, root, hub_id, passes)
    if isinstance(source.get("adapter_path"), str):
        found += _adapter(source["adapter_path"], root, {_kind(settings) for settings in passes.values()})
    return found


def _kind(settings: dict[str, Any]) -> str:
    return str(settings.get("type", "")).lower()


def _dead_passes(passes: _Passes) -> Iterator[Obstacle]:
    for name, settings in passes.items():
        quantiser = _DEAD_PASSES.get(_kind(settings))
        if quantiser is not None:
            yield Obstacle(
                f"passes.{name}.type",
                f"the pass {settings['type']} cannot run: {catalogue.quantisers()[quantiser].because}",
                "use the pass Gptq with `bits`, `group_size` and a `data_config`"
                + ("; for AWQ answer base_quantiser with awq" if quantiser == "awq" else ""),
            )


def _missing_packages(passes: _Passes, installed: Callable[[str], str | None]) -> Iterator[Obstacle]:
    for name, settings in passes.items():
        for method in catalogue.methods().values():
            if method.pass_ is None or method.pass_.lower() != _kind(settings):
                continue
            for package in method.packages:
                if installed(package) is None:
                    yield Obstacle(
                        f"passes.{name}.type",
                        f"{method.pass_} needs {package}, which this project's environment lacks",
                        f"install {package}, or use another method: --preset lora",
                    )
        arguments = settings.get("training_args") or {}
        for key, values, package in _OPTIONS:
            if re.fullmatch(values, str(arguments.get(key, ""))) and installed(package) is None:
                yield Obstacle(
                    f"passes.{name}.training_args.{key}",
                    f"`{key}` needs {package}, which this project's environment lacks",
                    f"install {package} there, or leave `{key}` out",
                )


def _missing_trackers(passes: _Passes, installed: Callable[[str], str | None]) -> Iterator[Obstacle]:
    for name, settings in passes.items():
        wanted = (settings.get("training_args") or {}).get("report_to") or []
        for tracker in [wanted] if isinstance(wanted, str) else wanted:
            key, distributions = f"passes.{name}.training_args.report_to", _TRACKERS.get(tracker)
            if distributions is None:
                yield Obstacle(key, f"`report_to` names {tracker}, which transformers does not know", _nearest(tracker))
            elif distributions and not any(installed(name) for name in distributions):
                yield Obstacle(
                    key,
                    f"`report_to` names {tracker}, which this project's environment lacks",
                    f"install {distributions[0]} there, or set report_to to none",
                )


def _nearest(tracker: str) -> str:
    near = difflib.get_close_matches(tracker, _TRACKERS, n=1)
    return f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(_TRACKERS)}"


def _builder(config: dict[str, Any], root: Path, hub_id: str, passes: _Passes) -> Iterator[Obstacle]:
    model = catalogue.model_for(hub_id, architecture_of(root, config))
    providers = json.dumps(config.get("systems", {}))
    for name, settings in passes.items():
        key, precision = f"passes.{name}.precision", settings.get("precision")
        if _kind(settings) == "modelbuilder" and precision == "int8":
            put = "put a Rtn pass with `bits: 8` before it, as onnx-int8 does"
            yield Obstacle(key, "ModelBuilder has no precision int8", put)
        if _kind(settings) == "modelbuilder" and precision in _CARD_PRECISIONS and "CPUExecutionProvider" in providers:
            yield Obstacle(
                key, f"ModelBuilder has no {precision} for processors", "use int4 or fp32, or another target"
            )
    if model is None:
        return
    if model.export.builder != "direct" and not _names_repair(config):
        yield Obstacle(
            "data_configs",
            f"ModelBuilder cannot export {model.architecture} without its repair ({model.export.notes})",
            f'add {{"name": "repair", "user_script": "gen-model/{REPAIR}"}} to data_configs',
        )
    if _sees_images(root, config):
        yield Obstacle(
            "input_model.model_path",
            "ModelBuilder exports the text model alone, and this one also holds an image tower",
            f"python model-cache/text_model.py {config['input_model']['model_path']}",
        )


def architecture_of(root: Path, config: dict[str, Any]) -> str | None:
    """Return the `model_type` of the configuration's model folder, or None where it cannot be read."""
    return cast("str | None", _model_settings(root, config).get("model_type"))


def _model_settings(root: Path, config: dict[str, Any]) -> dict[str, Any]:
    folder = config.get("input_model", {}).get("model_path")
    try:
        found = json.loads((root / str(folder) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _sees_images(root: Path, config: dict[str, Any]) -> bool:
    return "vision_config" in _model_settings(root, config)


def _names_repair(config: dict[str, Any]) -> bool:
    scripts = (entry.get("user_script") for entry in config.get("data_configs", []) if isinstance(entry, dict))
    return any(PurePosixPath(script).name == REPAIR for script in scripts if isinstance(script, str))


def _adapter(path: str, root: Path, kinds: set[str]) -> Iterator[Obstacle]:
    """What the trained adapter's own kind does not allow."""
    method = _method_of(root / path)
    if method is None:
        return
    way = catalogue.methods()[method]
    if "mergeadapterweights" in kinds and not way.merge:
        yield Obstacle(
            "input_model.adapter_path",
            f"a {method} adapter cannot be merged: {way.because}",
            "scaffolder run gen-model --preset quantised-adapters",
        )
    if "extractadapters" in kinds and not way.adapter_input:
        yield Obstacle(
            "input_model.adapter_path",
            f"a {method} adapter cannot be an input of the graph: {way.because}",
            "merge it (--preset onnx-int8), or train with --preset lora",
        )


def can_be_merged(adapter: Path) -> bool:
    """Return whether the adapter in this folder can become part of its base's weights."""
    method = _method_of(adapter)
    return method is None or catalogue.methods()[method].merge


def _method_of(folder: Path) -> str | None:
    """Return the method that trained an adapter, from its own settings and the folder's name."""
    try:
        settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if settings.get("use_dora"):
        return "dora"
    kind = str(settings.get("peft_type", "")).lower()
    if kind == "lora" and folder.parent.name == "quantise-then-lora":
        return "quantise-then-lora"
    return kind if kind in catalogue.methods() else None
