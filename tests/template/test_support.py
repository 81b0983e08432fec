"""What cannot work is refused before the run, with the way out."""

from __future__ import annotations

import json

import pytest

from scaffolder import catalogue
from scaffolder.support import obstacles, refuse_export

LLAMA = catalogue.models()["Llama-3.2-1B-Instruct"]
GEMMA = catalogue.models()["gemma-3-1b-it"]


@pytest.mark.parametrize(
    ("method", "export", "target", "reason"),
    [
        ("lora", "onnx-int8", "cpu", None),
        ("lora", "adapters", "cpu", None),
        ("dora", "onnx-int4", "cuda", None),
        ("dora", "adapters", "cpu", "magnitudes"),
        ("loha", "adapters", "cpu", "lora_A"),
        ("lokr", "adapters", "cpu", "lora_A"),
        ("quantise-then-lora", "onnx-int8", "cpu", "cannot be merged"),
        ("lora", "onnx-fp16", "cpu", "not on cpu"),
        ("lora", "onnx-int8", "webgpu", "not on webgpu"),
    ],
)
def test_combination_is_judged(method, export, target, reason):
    found = refuse_export(LLAMA, method, export, target)
    assert found is None if reason is None else reason in found


def test_sixteen_bits_of_gemma_are_bfloat():
    assert refuse_export(GEMMA, "lora", "onnx-fp16", "cuda") is None


def test_unknown_model_is_given_the_benefit_of_the_doubt():
    assert refuse_export(None, "lora", "onnx-int4", "cpu") is None


def builder(precision="int4", *, device="cpu", **more):
    provider = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}[device]
    return {
        "input_model": {"type": "HfModel", "model_path": "model"},
        "systems": {"local": {"accelerators": [{"device": device, "execution_providers": [provider]}]}},
        "passes": {"builder": {"type": "ModelBuilder", "precision": precision}},
        **more,
    }


def reasons(config, root, hub_id="some/model", packages=()):
    return [text for text, _ in obstacles(config, root, hub_id, lambda name: "1" if name in packages else None)]


def test_plain_export_has_no_obstacle(tmp_path):
    assert reasons(builder(), tmp_path) == []


def test_precision_that_the_builder_lacks(tmp_path):
    assert "no precision int8" in reasons(builder("int8"), tmp_path)[0]
    assert "for processors" in reasons(builder("fp16"), tmp_path)[0]
    assert reasons(builder("fp16", device="gpu"), tmp_path) == []


@pytest.mark.parametrize("model", ["HuggingFaceTB/SmolLM3-3B", "google/gemma-3-1b-it"])
def test_export_without_the_repair(model, tmp_path):
    assert "repair" in reasons(builder(), tmp_path, model)[0]
    entry = {"name": "repair", "user_script": "gen-model/genai_fixes.py"}
    assert reasons(builder(data_configs=[entry]), tmp_path, model) == []


def test_architecture_of_an_unknown_model_is_read_from_its_folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "smollm3"}')
    assert "smollm3" in reasons(builder(), tmp_path)[0]


def test_image_tower_is_named_with_the_script(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "gemma3", "vision_config": {}}')
    entry = {"name": "repair", "user_script": "gen-model/genai_fixes.py"}
    found = obstacles(builder(data_configs=[entry]), tmp_path, "google/gemma-3-4b-it", lambda _: None)
    assert found[0][1] == "python model-cache/text_model.py model"


@pytest.mark.parametrize("kind", ["AutoAWQQuantizer", "GptqQuantizer", "GptqModel"])
def test_pass_that_cannot_run_names_its_stand_in(kind, tmp_path):
    found = obstacles({"passes": {"q": {"type": kind}}}, tmp_path, "some/model", lambda _: None)
    assert "Gptq" in found[0][1]


def test_method_without_its_package(tmp_path):
    config = {"passes": {"q": {"type": "QLoRA"}}}
    assert "bitsandbytes" in reasons(config, tmp_path)[0]
    assert reasons(config, tmp_path, packages=["bitsandbytes"]) == []


@pytest.mark.parametrize(
    ("settings", "folder", "kind", "reason"),
    [
        ({"peft_type": "LORA"}, "lora", "ExtractAdapters", None),
        ({"peft_type": "LORA", "use_dora": True}, "dora", "ExtractAdapters", "magnitudes"),
        ({"peft_type": "LOHA"}, "loha", "ExtractAdapters", "lora_A"),
        ({"peft_type": "LOKR"}, "lokr", "MergeAdapterWeights", None),
        ({"peft_type": "LORA"}, "quantise-then-lora", "MergeAdapterWeights", "4-bit"),
    ],
)
def test_adapter_that_does_not_fit_the_export(settings, folder, kind, reason, tmp_path):
    adapter = tmp_path / folder / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    config = {"input_model": {"adapter_path": f"{folder}/adapter"}, "passes": {"p": {"type": kind}}}
    found = reasons(config, tmp_path)
    assert found == [] if reason is None else reason in found[0]
