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
        parameters = read_adapter(Path(lora_inputs))
        folder = Path(options["output_dir"])
        add_inputs(folder / options.get("filename", "model.onnx"), parameters)
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


def add_inputs(model_file: Path, parameters: dict[str, Any]) -> None:
    """Add inputs for `parameters` to a graph, each with a default of rank 0.

    Raises:
        ValueError: The graph has no layer for one of them.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(model_file, load_external_data=False)
    graph, nodes, placed = model.graph, [], set()
    for node in graph.node:
        layer = LAYER.match(node.name)
        base = f"model.layers.{layer[1]}.{layer[2].replace('/', '.')}" if layer else ""
        first, second = f"{base}.lora_A.MatMul.weight", f"{base}.lora_B.MatMul.weight"
        nodes.append(node)
        if first not in parameters:
            continue
        placed |= {first, second}
        rows, columns = parameters[first].shape[0], parameters[second].shape[1]
        for name, shape, empty in ((first, [rows, "lora_r"], (rows, 0)), (second, ["lora_r", columns], (0, columns))):
            graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
            graph.initializer.append(numpy_helper.from_array(np.zeros(empty, np.float32), name))
        path, result = node.name.rpartition("/")[0], node.output[0]
        node.output[0] = f"{result}_base"
        inner, outer = f"{path}/lora_A/MatMul", f"{path}/lora_B/MatMul"
        nodes += [
            helper.make_node("MatMul", [node.input[0], first], [f"{inner}/output_0"], inner),
            helper.make_node("MatMul", [f"{inner}/output_0", second], [f"{outer}/output_0"], outer),
            helper.make_node("Add", [f"{result}_base", f"{outer}/output_0"], [result], f"{path}/lora/Add"),
        ]
    missing = sorted(parameters.keys() - placed)
    if missing:
        raise ValueError(f"the graph has no layer for {missing[0]} and {len(missing) - 1} more of the adapter")
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, model_file)


def write_adapter(parameters: dict[str, Any], file: Path) -> None:
    """Write an adapter in ONNX Runtime's format."""
    import onnxruntime as ort

    adapter = ort.AdapterFormat()
    adapter.set_adapter_version(1)
    adapter.set_model_version(1)
    adapter.set_parameters({name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in parameters.items()})
    adapter.export_adapter(str(file))


apply()
