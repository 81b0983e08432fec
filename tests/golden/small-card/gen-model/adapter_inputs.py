"""Lets ModelBuilder export a quantised model with LoRA adapters as optional inputs of its graph.

A configuration names this file as `user_script` of any entry of `data_configs`, used or not, and gives the
ModelBuilder pass the folder of a PEFT adapter: `"extra_options": {"lora_inputs": "fine-tuning/adapters/…"}`.
The adapter's layers get inputs whose default has rank 0, so the model runs without any adapter too; the adapter
itself is written beside the model as `adapter_weights.onnx_adapter`. Others of the same layers fit as well.
"""

from __future__ import annotations

import functools
import json
import math
import re
from pathlib import Path
from typing import Any

LAYER = re.compile(r"^/model/layers\.(\d+)/(.+?)/MatMul(?:NBits|_Q4|_Q8)?$")
ADAPTER = "adapter_weights.onnx_adapter"
# What one layer of the model is in a graph that keeps its parts apart.
PARTS = {
    "attn.qkv_proj": ("attn.q_proj", "attn.k_proj", "attn.v_proj"),
    "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"),
}


def apply() -> None:
    """Make `create_model` understand `lora_inputs`; harmless when called twice."""
    from onnxruntime_genai.models import builder

    if hasattr(builder.create_model, "knows_adapters"):
        return
    original = builder.create_model

    @functools.wraps(original)
    def create_model(*args: Any, lora_inputs: str | None = None, **options: Any) -> Any:
        if lora_inputs is None:
            return original(*args, **options)
        # Adapters sit on separate layers; fused ones have no place for theirs.
        result = original(*args, **{**options, "disable_qkv_fusion": True})
        folder = Path(options["output_dir"])
        parameters = add_inputs(folder / options.get("filename", "model.onnx"), read_adapter(Path(lora_inputs)))
        write_adapter(parameters, folder / ADAPTER)
        return result

    create_model.knows_adapters = True
    builder.create_model = create_model


def read_adapter(folder: Path) -> dict[str, Any]:
    """Return a PEFT LoRA adapter as float32 arrays by the graph's names, scaled by alpha / rank.

    Raises:
        ValueError: It is no plain LoRA.
    """
    from safetensors.torch import load_file

    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if settings["peft_type"] != "LORA" or settings.get("use_dora"):
        raise ValueError(f"{folder}: only plain LoRA adapters can be inputs")
    rank = settings["r"]
    scale = settings["lora_alpha"] / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    found = {}
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        name = name.replace("base_model.model.model.", "model.").replace(".self_attn.", ".attn.")
        name = re.sub(r"\.lora_([AB])\.weight$", r".lora_\1.MatMul.weight", name)
        array = tensor.float().numpy().T.copy()
        found[name] = array * scale if ".lora_B." in name else array
    return found


def add_inputs(model_file: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Add inputs for `parameters` to a graph, each with a default of rank 0.

    Returns:
        The parameters by the names of their inputs and in the graph's own format: those of a layer that the graph
        has in parts are shared out.

    Raises:
        ValueError: The graph has no layer for one of them.
    """
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(model_file, load_external_data=False)
    graph, nodes, placed = model.graph, [], {}
    layers = {name: node for node in graph.node if (name := layer_of(node))}
    results = {entry.name: entry.type.tensor_type for entry in (*graph.value_info, *graph.output)}
    widths = {name: results[node.output[0]].shape.dim[-1].dim_value for name, node in layers.items()}
    parameters = in_parts(parameters, widths)
    for node in graph.node:
        nodes.append(node)
        base = layer_of(node)
        first, second = f"{base}.lora_A.MatMul.weight", f"{base}.lora_B.MatMul.weight"
        if first not in parameters:
            continue
        kind = results[node.output[0]].elem_type
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        placed |= {name: parameters[name].astype(dtype) for name in (first, second)}
        rows, columns = placed[first].shape[0], placed[second].shape[1]
        for name, shape, empty in ((first, [rows, "lora_r"], (rows, 0)), (second, ["lora_r", columns], (0, columns))):
            graph.input.append(helper.make_tensor_value_info(name, kind, shape))
            graph.initializer.append(numpy_helper.from_array(np.zeros(empty, dtype), name))
        path, result = node.name.rpartition("/")[0], node.output[0]
        node.output[0] = f"{result}_base"
        inner, outer = f"{path}/lora_A/MatMul", f"{path}/lora_B/MatMul"
        nodes += [
            helper.make_node("MatMul", [node.input[0], first], [f"{inner}/output_0"], inner),
            helper.make_node("MatMul", [f"{inner}/output_0", second], [f"{outer}/output_0"], outer),
            helper.make_node("Add", [f"{result}_base", f"{outer}/output_0"], [result], f"{path}/lora/Add"),
        ]
    missing = sorted(parameters.keys() - placed.keys())
    if missing:
        raise ValueError(f"the graph has no layer for {missing[0]} and {len(missing) - 1} more of the adapter")
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, model_file)
    return placed


def layer_of(node: Any) -> str:
    """Return the name of the model's layer that a node multiplies with, or an empty text."""
    found = LAYER.match(node.name)
    return f"model.layers.{found[1]}.{found[2].replace('/', '.')}" if found else ""


def in_parts(parameters: dict[str, Any], widths: dict[str, int]) -> dict[str, Any]:
    """Share a fused layer's adapter out to its parts: each gets the same A, and its columns of B."""
    import numpy as np

    found = {}
    for name, array in parameters.items():
        layer, matrix = name.split(".lora_")
        fused = next((fused for fused in PARTS if layer.endswith(f".{fused}")), "")
        parts = [layer.removesuffix(fused) + part for part in PARTS.get(fused, ())]
        if layer in widths or not parts or any(part not in widths for part in parts):
            found[name] = array
            continue
        ends = np.cumsum([widths[part] for part in parts])[:-1]
        pieces = np.split(array, ends, axis=1) if matrix.startswith("B") else [array] * len(parts)
        found |= {f"{part}.lora_{matrix}": piece.copy() for part, piece in zip(parts, pieces, strict=True)}
    return found


def write_adapter(parameters: dict[str, Any], file: Path) -> None:
    """Write an adapter in ONNX Runtime's format."""
    import onnxruntime as ort

    adapter = ort.AdapterFormat()
    adapter.set_adapter_version(1)
    adapter.set_model_version(1)
    adapter.set_parameters({name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in parameters.items()})
    adapter.export_adapter(str(file))


apply()
