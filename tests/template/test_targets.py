"""Olive alone builds from the configurations as they are: for targets not at hand, and with the repairs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from scaffolder.settings import child_environment

pytestmark = pytest.mark.olive
BUILT = [
    ("cuda", "onnx-fp16"),
    ("cuda", "onnx-fp32"),
    ("cuda", "base-onnx-int8"),
    ("dml", "onnx-fp16"),
    ("dml", "base-onnx-int4"),
    ("webgpu", "onnx-fp16"),
    ("webgpu", "base-onnx-int4"),
]
PROGRAM = """
import json, sys
from olive import run
for path in sys.argv[1:]:
    config = json.load(open(path))
    # The base model stands for the tuned one: the graph is the same.
    config["input_model"].pop("adapter_path", None)
    config["passes"].pop("merge", None)
    run(config)
"""


@pytest.mark.parametrize("target", ["cuda", "dml", "webgpu"])
def test_graph_is_built_for(target, make, put_tiny):
    project = make(export_target=target)
    put_tiny(project, "llama-chatml", "model-cache/HuggingFaceTB/SmolLM2-135M-Instruct")
    presets = [preset for to, preset in BUILT if to == target]
    files = [f"gen-model/{preset}.json" for preset in presets]
    command = [sys.executable, "-c", PROGRAM, *files]
    subprocess.run(command, cwd=project, env=child_environment(), check=True, capture_output=True)
    for preset in presets:
        settings = json.loads((project / "gen-model" / preset / "genai_config.json").read_text(encoding="utf-8"))
        options = settings["model"]["decoder"]["session_options"]["provider_options"]
        assert [name for entry in options for name in entry] == [target]
        assert (project / "gen-model" / preset / "model.onnx").is_file()


@pytest.mark.parametrize(("model", "recipe"), [("SmolLM3-3B", "smollm3"), ("gemma-3-1b-it", "gemma3_text")])
def test_plain_olive_exports_what_needs_a_repair(model, recipe, make, put_tiny):
    project = make(model=model, hardware="cpu")
    put_tiny(project, recipe, f"model-cache/{'HuggingFaceTB' if recipe == 'smollm3' else 'google'}/{model}")
    command = [sys.executable, "-m", "olive", "run", "--config", "gen-model/base-onnx-int8.json"]
    subprocess.run(command, cwd=project, env=child_environment(), check=True, capture_output=True)
    assert (project / "gen-model" / "base-onnx-int8" / "genai_config.json").is_file()
