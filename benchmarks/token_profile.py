"""Where the time of a token goes: ONNX Runtime's own profile of an exported model, by what the nodes are for."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LAYER = re.compile(r"layers\.\d+/")
_PROMPT = range(1000, 1020)  # any tokens will do: the work does not depend on them


@dataclass(frozen=True, slots=True)
class Share:
    """One kind of node.

    Attributes:
        name: What it is for, such as `mlp/down_proj`, with its bits and block where it multiplies weights.
        seconds: Of one token.
        weights: Bytes of weights that it reads for one token; 0 where it has none.
    """

    name: str
    seconds: float
    weights: int


def show_profile(folder: Path, tokens: int) -> None:
    """Print what a token takes, from the largest share down."""
    whole, shares = profile(folder, tokens)
    print(f"{folder.name}: {1e3 * whole:.2f} ms a token, profiled over {tokens}")
    print(f"{'':<34}{'ms':>8}{'share':>8}{'MB':>8}{'GB/s':>8}")
    products = [share for share in shares if share.weights]
    rest = Share("between the nodes", whole - sum(share.seconds for share in shares), 0)
    total = Share("all that multiply weights", sum(s.seconds for s in products), sum(s.weights for s in products))
    for share in (*shares, rest, total):
        rate = f"{share.weights / 1e6:>8.1f}{share.weights / share.seconds / 1e9:>8.1f}" if share.weights else ""
        print(f"{share.name:<34}{1e3 * share.seconds:>8.2f}{100 * share.seconds / whole:>6.1f} %{rate}")


def profile(folder: Path, tokens: int) -> tuple[float, list[Share]]:
    """Return the seconds of a token after the first, and what they are spent on."""
    import onnxruntime_genai as og

    with tempfile.TemporaryDirectory() as aside:
        config = og.Config(str(folder))
        options = {"enable_profiling": f"{aside}/profile"}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
        model = og.Model(config)
        whole = _write(og, model, tokens)
        del model  # writes the file
        [file] = Path(aside).iterdir()
        events = json.loads(file.read_text(encoding="utf-8"))
    # The first pass reads the prompt.
    passes = sorted(event["ts"] for event in events if event["name"] == "model_run")
    nodes = [event for event in events if event["cat"] == "Node" and event["ts"] >= passes[1]]
    kinds = _kinds(folder)
    spent, read = Counter[str](), Counter[str]()
    for event in nodes:
        if event["name"].endswith("_kernel_time"):
            node = event["name"].removesuffix("_kernel_time")
            name, weights = kinds.get(node, (event["args"]["op_name"], 0))
            spent[name] += event["dur"]
            read[name] += weights
    count = len(passes) - 1
    return whole, [Share(name, spent[name] / 1e6 / count, read[name] // count) for name, _ in spent.most_common()]


def _write(og: Any, model: Any, tokens: int) -> float:
    params = og.GeneratorParams(model)
    length = len(_PROMPT) + tokens + 1
    params.set_search_options(max_length=length, min_length=length, do_sample=False)
    generator = og.Generator(model, params)
    generator.append_tokens(list(_PROMPT))
    generator.generate_next_token()
    started = time.perf_counter()
    for _ in range(tokens):
        generator.generate_next_token()
    return (time.perf_counter() - started) / tokens


def _kinds(folder: Path) -> dict[str, tuple[str, int]]:
    """Return what each node with quantised weights is for, and their bytes, scales and zero points counted."""
    import onnx

    found = {}
    for node in onnx.load(folder / "model.onnx", load_external_data=False).graph.node:
        if node.op_type == "MatMulNBits":
            has = {attribute.name: attribute.i for attribute in node.attribute}
            place = _LAYER.split(node.name.removeprefix("/model/"))[-1].removesuffix("/MatMul").strip("/")
            blocks = has["N"] * -(-has["K"] // has["block_size"])
            zeros = blocks * has["bits"] // 8 if len(node.input) > 3 and node.input[3] else 0
            weights = has["N"] * has["K"] * has["bits"] // 8 + 4 * blocks + zeros
            found[node.name] = f"{place}, {has['bits']} bits in {has['block_size']}", weights
    return found
