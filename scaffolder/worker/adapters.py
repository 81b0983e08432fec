"""PEFT adapters as inputs of an exported graph: which fit, and their files."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .explain import TaskError
from .onnx_model import OWN_ADAPTER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .channel import Channel

# The dimension of the graph's inputs that stands for the rank.
_RANK = "lora_r"
# What ONNX Runtime calls its element types.
_FLOAT16 = 10
# What one layer of the model is in a graph that keeps its parts apart.
_PARTS = {
    "attn.qkv_proj": ("attn.q_proj", "attn.k_proj", "attn.v_proj"),
    "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"),
}


def fit_adapters(job: dict[str, Any], channel: Channel) -> None:
    """Say for each of `job["adapters"]` (folders by name) whether the graph in `job["export"]` has inputs for it.

    One `fit` event each: `problems` (empty where it fits), `rank`, `modules`, and `empty`, the number of
    inputs that the adapter says nothing of. With `job["output"]`, a folder, those that fit are written there
    as `NAME.onnx_adapter`, but for those in `job["refused"]`; each is then put on and has to answer.
    """
    inputs = adapter_inputs(Path(job["export"]) / "model.onnx")
    written: dict[str, str] = {}
    for name, folder in job["adapters"].items():
        found = describe(Path(folder), inputs)
        if job.get("output") and not found["problems"] and name not in job["refused"]:
            written[name] = str(Path(job["output"]) / f"{name}.onnx_adapter")
            write_adapter(fill(read_adapter(Path(folder), inputs), inputs), inputs, Path(written[name]))
        channel.emit("fit", name=name, **found)
    if written:
        _prove(job["export"], written, channel)


def exchange_adapter(job: dict[str, Any], channel: Channel) -> bool:
    """Make `job["output"]` of a base exported before and another adapter, where the graph has just its inputs.

    Args:
        job: `output` (a folder that does not exist yet) and `kept_base`: `export` (the folder), `files` (those of
            the base in it) and `adapter` (a PEFT folder).
        channel: Told that it was done.

    Returns:
        Whether it was; an adapter of other layers needs another graph.
    """
    kept = job["kept_base"]
    export, adapter, output = Path(kept["export"]), Path(kept["adapter"]), Path(job["output"])
    inputs = adapter_inputs(export / "model.onnx")
    found = describe(adapter, inputs)
    if found["problems"] or found["empty"]:
        return False
    started = time.monotonic()
    for name in kept["files"]:
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(export / name, output / name)
    write_adapter(read_adapter(adapter, inputs), inputs, output / OWN_ADAPTER)
    seconds = round(time.monotonic() - started, 2)
    channel.emit("stage", name="base kept, adapter exchanged", state="done", seconds=seconds)
    return True


def adapter_inputs(model: Path) -> dict[str, tuple[list[int | None], int]]:
    """Return the inputs that adapters go into, by name: the shape (None for the rank) and ONNX's element type."""
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    found: dict[str, tuple[list[int | None], int]] = {}
    for entry in graph.input:
        kind = entry.type.tensor_type
        if any(size.dim_param == _RANK for size in kind.shape.dim):
            shape = [None if size.dim_param == _RANK else size.dim_value for size in kind.shape.dim]
            found[entry.name] = (shape, kind.elem_type)
    return found


def describe(folder: Path, inputs: Mapping[str, tuple[list[int | None], int]]) -> dict[str, Any]:
    """Return rank, modules, the inputs it leaves empty, and every reason why an adapter does not fit."""
    from safetensors import safe_open

    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    figures = {"rank": settings.get("r"), "modules": sorted(settings.get("target_modules") or []), "empty": 0}
    problems = _not_plain(settings)
    if problems:
        return {**figures, "problems": problems}
    with safe_open(folder / "adapter_model.safetensors", framework="np") as weights:
        shapes = {
            part: [rows, end - begin]
            for name in weights.keys()  # noqa: SIM118 - no dictionary
            for rows, columns in [weights.get_slice(name).get_shape()[::-1]]
            for part, begin, end in _shares(graph_name(name), columns, inputs)
        }
    problems = [
        f"the graph has no input for {_module(name)}" for name in shapes if name not in inputs and ".lora_A." in name
    ]
    for name in shapes.keys() & inputs.keys():
        wanted = inputs[name][0]
        if any(size is not None and size != ours for size, ours in zip(wanted, shapes[name], strict=True)):
            problems.append(f"{_module(name)} is {shapes[name]} where the graph takes {wanted}")
    return {**figures, "empty": len(inputs.keys() - shapes.keys()), "problems": sorted(problems)[:4]}


def _not_plain(settings: dict[str, Any]) -> list[str]:
    if settings.get("peft_type") != "LORA":
        return [f"it is {settings.get('peft_type')}; only LoRA can be an input, others are merged"]
    asked = {
        "use_dora": "DoRA scales the weights themselves",
        "modules_to_save": "it holds whole layers (modules_to_save)",
        "layer_replication": "it repeats layers (layer_replication)",
    }
    found = [f"{text}; that can only be merged" for key, text in asked.items() if settings.get(key)]
    if settings.get("bias", "none") != "none":
        found.append("it holds biases; that can only be merged")
    return found


def graph_name(name: str) -> str:
    """Return a PEFT tensor's name in graphs that Olive or `adapter_inputs.py` gave inputs."""
    name = name.removeprefix("base_model.model.").replace(".self_attn.", ".attn.")
    return re.sub(r"\.lora_([AB])\.weight$", r".lora_\1.MatMul.weight", name)


def _module(name: str) -> str:
    return name.split(".lora_")[0]


def _shares(name: str, columns: int, inputs: Mapping[str, tuple[list[int | None], int]]) -> list[tuple[str, int, int]]:
    """Return the graph's inputs that a tensor goes into, and from which of its columns to which.

    One that the graph knows, or does not know at all, goes as it is. Of a fused layer that the graph has in parts,
    each part gets the same A, and its columns of B.
    """
    layer, matrix = name.split(".lora_") if ".lora_" in name else (name, "")
    fused = next((fused for fused in _PARTS if layer.endswith(f".{fused}")), "")
    parts = [f"{layer.removesuffix(fused)}{part}.lora_{matrix}" for part in _PARTS.get(fused, ())]
    if name in inputs or not parts or any(part not in inputs for part in parts):
        return [(name, 0, columns)]
    if not matrix.startswith("B"):
        return [(part, 0, columns) for part in parts]
    ends = list(itertools.accumulate(inputs[part][0][1] or 0 for part in parts))
    if ends[-1] != columns:
        return [(name, 0, columns)]
    return list(zip(parts, [0, *ends], ends, strict=False))


def read_adapter(folder: Path, inputs: Mapping[str, tuple[list[int | None], int]]) -> dict[str, Any]:
    """Return an adapter's arrays by the graph's names: (in, rank), and (rank, out) times alpha / rank."""
    from safetensors.torch import load_file

    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    found = {}
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        array = tensor.float().numpy().T.copy()
        if ".lora_B." in name:
            module = _module(name.removeprefix("base_model.model."))
            rank = array.shape[0]
            alpha = _matching(settings.get("alpha_pattern"), module) or settings["lora_alpha"]
            array *= alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
        for part, begin, end in _shares(graph_name(name), array.shape[1], inputs):
            found[part] = array[:, begin:end].copy()
    return found


def _matching(patterns: dict[str, Any] | None, module: str) -> Any:
    """Return the value whose pattern names this module, as PEFT looks it up."""
    return next((value for key, value in (patterns or {}).items() if re.match(rf"(.*\.)?({key})$", module)), None)


def fill(parameters: Mapping[str, Any], inputs: Mapping[str, tuple[list[int | None], int]]) -> dict[str, Any]:
    """Return arrays for every input, all of one rank: what an adapter leaves out is zero and changes nothing.

    The runtime allocates one buffer for all inputs that share the rank's dimension, so none may be left out.
    """
    import numpy as np

    rank = max(array.shape[1] for name, array in parameters.items() if ".lora_A." in name)
    filled = {}
    for name, (shape, _) in inputs.items():
        whole = np.zeros([rank if size is None else size for size in shape], np.float32)
        part = parameters.get(name)
        if part is not None:
            whole[tuple(slice(size) for size in part.shape)] = part
        filled[name] = whole
    return filled


def write_adapter(
    parameters: Mapping[str, Any], inputs: Mapping[str, tuple[list[int | None], int]], file: Path
) -> None:
    """Write an adapter in ONNX Runtime's format, in the precision of the graph's inputs."""
    import numpy as np
    import onnxruntime as ort

    adapter = ort.AdapterFormat()
    adapter.set_adapter_version(1)
    adapter.set_model_version(1)
    adapter.set_parameters(
        {
            name: ort.OrtValue.ortvalue_from_numpy(array.astype(np.float16) if inputs[name][1] == _FLOAT16 else array)
            for name, array in parameters.items()
        }
    )
    adapter.export_adapter(str(file))


def _prove(export: str, written: dict[str, str], channel: Channel) -> None:
    from .models import load_model
    from .verify import check_answer

    model = load_model({"kind": "onnx", "path": export, "adapters": written})
    for name in written:
        model.use(name)
        try:
            check_answer(model)
        except TaskError as error:
            raise TaskError(f"adapter {name}: {error}", error.hint) from error
        channel.emit("works", name=name)
