"""Says, before a run, what a model's architecture, a method or a pass cannot do on the locked stack."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from scaffolder import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scaffolder.catalogue import ModelEntry

REPAIR = "genai_fixes.py"
# Passes of Olive that the locked stack cannot run, with the quantiser that their place in the catalogue names.
_DEAD_PASSES = {"autoawqquantizer": "awq", "gptqquantizer": "gptq", "gptqmodel": "gptq"}
# Where training may report to (`report_to`), and a distribution that makes it possible.
_TRACKERS = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
_CARD_PRECISIONS = {"fp16", "bf16"}


def refuse_export(model: ModelEntry | None, method: str, export: str, target: str) -> str | None:
    """Return why a combination cannot be built, or None where it can.

    Args:
        model: The catalogue's entry, or None for a model it does not know.
        method: How the adapter was trained; a name of the catalogue.
        export: What is to be built; a name of the catalogue.
        target: What runs it: "cpu", "cuda", "dml" or "webgpu".
    """
    kind, way = catalogue.exports()[export], catalogue.methods()[method]
    if target not in kind.targets:
        return f"{export} runs on {' and '.join(kind.targets)}, not on {target}"
    if kind.adapter == "merged" and not way.merge:
        return f"a {method} adapter cannot be merged: {way.because}"
    if kind.adapter == "input" and not way.adapter_input:
        return f"a {method} adapter cannot be an input of the graph: {way.because}"
    if model is None:
        return None
    # Sixteen bits on cards are written as bf16 where fp16 is not exact enough.
    able = model.export.precisions if target == "cpu" else [*model.export.cuda, "fp32", "int8"]
    wanted = {kind.precision} if kind.precision != "fp16" else _CARD_PRECISIONS
    if not wanted.intersection(able):
        return f"ModelBuilder has no {kind.precision} for {model.architecture}"
    return None


def obstacles(
    config: dict[str, Any], root: Path, hub_id: str, installed: Callable[[str], str | None]
) -> list[tuple[str, str]]:
    """Return what in an Olive configuration cannot work, each with what to do instead.

    Args:
        config: The configuration, resolved.
        root: The project's folder, which paths are relative to.
        hub_id: Of the base model.
        installed: Gives a distribution's version in the project's environment, or None.
    """
    passes = [settings for settings in config.get("passes", {}).values() if isinstance(settings, dict)]
    source = config.get("input_model", {})
    found = list(_dead_passes(passes))
    found += _missing_packages(passes, installed)
    found += _missing_trackers(passes, installed)
    builders = [settings for settings in passes if _kind(settings) == "modelbuilder"]
    if builders:
        found += _builder(config, root, hub_id, builders)
    if isinstance(source.get("adapter_path"), str):
        found += _adapter(source["adapter_path"], root, {_kind(settings) for settings in passes})
    return found


def _kind(settings: dict[str, Any]) -> str:
    return str(settings.get("type", "")).lower()


def _dead_passes(passes: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for settings in passes:
        name = _DEAD_PASSES.get(_kind(settings))
        if name is not None:
            yield (
                f"the pass {settings['type']} cannot run: {catalogue.quantisers()[name].because}",
                ("use the pass Gptq with `bits`, `group_size` and a `data_config`"),
            )


def _missing_packages(
    passes: list[dict[str, Any]], installed: Callable[[str], str | None]
) -> Iterator[tuple[str, str]]:
    for settings in passes:
        for method in catalogue.methods().values():
            if method.pass_ is None or method.pass_.lower() != _kind(settings):
                continue
            for package in method.packages:
                if installed(package) is None:
                    yield (
                        f"{method.pass_} needs {package}, which this project's environment lacks",
                        (f"install {package}, or use another method: --preset lora"),
                    )


def _missing_trackers(
    passes: list[dict[str, Any]], installed: Callable[[str], str | None]
) -> Iterator[tuple[str, str]]:
    for settings in passes:
        wanted = (settings.get("training_args") or {}).get("report_to") or []
        for tracker in [wanted] if isinstance(wanted, str) else wanted:
            distributions = _TRACKERS.get(tracker, ())
            if distributions and not any(installed(name) for name in distributions):
                yield (
                    f"`report_to` names {tracker}, which this project's environment lacks",
                    f"install {distributions[0]} there, or set report_to to none",
                )


def _builder(
    config: dict[str, Any], root: Path, hub_id: str, builders: list[dict[str, Any]]
) -> Iterator[tuple[str, str]]:
    model = catalogue.model_for(hub_id, architecture_of(root, config))
    providers = json.dumps(config.get("systems", {}))
    for settings in builders:
        precision = settings.get("precision")
        if precision == "int8":
            yield "ModelBuilder has no precision int8", "put a Rtn pass with `bits: 8` before it, as onnx-int8 does"
        if precision in _CARD_PRECISIONS and "CPUExecutionProvider" in providers:
            yield f"ModelBuilder has no {precision} for processors", "use int4 or fp32, or another target"
    if model is None:
        return
    if model.export.builder != "direct" and not _names_repair(config):
        yield (
            f"ModelBuilder cannot export {model.architecture} without its repair ({model.export.notes})",
            (f'add {{"name": "repair", "user_script": "gen-model/{REPAIR}"}} to data_configs'),
        )
    if _sees_images(root, config):
        yield (
            "ModelBuilder exports the text model alone, and this one also holds an image tower",
            (f"python model-cache/text_model.py {config['input_model']['model_path']}"),
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


def _adapter(path: str, root: Path, kinds: set[str]) -> Iterator[tuple[str, str]]:
    """What the trained adapter's own kind does not allow."""
    method = _method_of(root / path)
    if method is None:
        return
    way = catalogue.methods()[method]
    if "mergeadapterweights" in kinds and not way.merge:
        yield (
            f"a {method} adapter cannot be merged: {way.because}",
            "scaffolder run gen-model --preset quantised-adapters",
        )
    if "extractadapters" in kinds and not way.adapter_input:
        yield (
            f"a {method} adapter cannot be an input of the graph: {way.because}",
            ("merge it (--preset onnx-int8), or train with --preset lora"),
        )


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
