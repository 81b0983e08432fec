"""What cannot work is refused before the run, with the way out."""

from __future__ import annotations

import json

import pytest

from scaffolder import catalogue
from scaffolder.errors import UsageError
from scaffolder.support import obstacles

def builder(precision="int4", *, device="cpu", **more):
    provider = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}[device]
    return {
        "input_model": {"type": "HfModel", "model_path": "model"},
        "systems": {"local": {"accelerators": [{"device": device, "execution_providers": [provider]}]}},
        "passes": {"builder": {"type": "ModelBuilder", "precision": precision}},
        **more,
    }


def reasons(config, root, hub_id="some/model", packages=()):
    return [found.message for found in obstacles(config, root, hub_id, lambda name: "1" if name in packages else None)]


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
    assert found[0].hint == "python model-cache/text_model.py model"


@pytest.mark.parametrize("kind", ["AutoAWQQuantizer", "GptqQuantizer", "GptqModel"])
def test_pass_that_cannot_run_names_its_stand_in(kind, tmp_path):
    found = obstacles({"passes": {"q": {"type": kind}}}, tmp_path, "some/model", lambda _: None)
    assert "Gptq" in found[0].hint


def test_method_without_its_package(tmp_path):
    config = {"passes": {"q": {"type": "QLoRA"}}}
    assert "bitsandbytes" in reasons(config, tmp_path)[0]
    assert reasons(config, tmp_path, packages=["bitsandbytes"]) == []


@pytest.mark.parametrize(
    ("argument", "value", "package"),
    [
        ("use_liger_kernel", True, "liger-kernel"),
        ("optim", "paged_adamw_8bit", "bitsandbytes"),
        ("optim", "galore_adamw", "galore-torch"),
        ("deepspeed", "ds.json", "deepspeed"),
    ],
)
def test_option_without_its_package(argument, value, package, tmp_path):
    config = {"passes": {"l": {"type": "LoRA", "training_args": {argument: value}}}}
    (found,) = obstacles(config, tmp_path, "some/model", lambda _: None)
    assert (found.key, package in found.message) == (f"passes.l.training_args.{argument}", True)
    assert reasons(config, tmp_path, packages=[package]) == []


@pytest.mark.parametrize("settings", [{"optim": "adamw_torch_fused"}, {"use_liger_kernel": False}, {"deepspeed": None}])
def test_plain_options_need_nothing_more(settings, tmp_path):
    assert reasons({"passes": {"l": {"type": "LoRA", "training_args": settings}}}, tmp_path) == []


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


ADAPTERS = {
    "lora": {"peft_type": "LORA"},
    "qlora": {"peft_type": "LORA"},
    "dora": {"peft_type": "LORA", "use_dora": True},
    "loha": {"peft_type": "LOHA"},
    "lokr": {"peft_type": "LOKR"},
}


@pytest.mark.parametrize("method", ADAPTERS)
def test_questions_and_runs_refuse_the_same_exports(method, make, template):
    """What the questions let through, a run takes; what they refuse, a run refuses too, adapter in hand."""
    card = {"hardware": "cuda-24gb", "export_target": "cpu"}
    presets = make("presets", **card) / "gen-model"
    for export, kind in catalogue.exports().items():
        if "cpu" not in kind.targets:
            continue
        adapter = presets.parent / "fine-tuning" / "adapters" / "lora" / "adapter"
        adapter.mkdir(parents=True, exist_ok=True)
        (adapter / "adapter_config.json").write_text(json.dumps(ADAPTERS[method]))
        config = json.loads((presets / f"{export}.json").read_text(encoding="utf-8"))
        refused = obstacles(config, presets.parent, "HuggingFaceTB/SmolLM2-135M-Instruct", lambda _: "1") != []
        if refused:
            with pytest.raises(UsageError, match="must be merged"):
                make(f"refused-{export}", method=method, export_preset=export, **card)
        else:
            make(f"taken-{export}", method=method, export_preset=export, **card)


@pytest.mark.parametrize("target", ["cpu", "cuda", "dml", "webgpu"])
def test_questions_offer_what_runs_on_the_target(target, make):
    for export, kind in catalogue.exports().items():
        if target in kind.targets:
            assert (make(f"taken-{export}", export_target=target, export_preset=export) / "gen-model").is_dir()
        else:
            with pytest.raises(UsageError, match=f"not on {target}"):
                make(f"refused-{export}", export_target=target, export_preset=export)


@pytest.mark.olive
def test_every_tracker_of_the_locked_transformers_is_known():
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    from scaffolder.support import _TRACKERS

    assert _TRACKERS.keys() == {*INTEGRATION_TO_CALLBACK, "all", "none"}
