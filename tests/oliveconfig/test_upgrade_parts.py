from __future__ import annotations

from copy import deepcopy

import pytest

from scaffolder.oliveconfig import upgrade

from .configurations import DATA, config, errors, kinds

LORA = {"type": "LoRA", "train_data_config": "train"}


def with_pass(entry, **parts):
    return config(data_configs=[deepcopy(DATA)], passes={"lora": {**LORA, **entry}}, **parts)


def lora_of(result):
    return result.config["passes"]["lora"]


def args_of(**arguments):
    result = upgrade(with_pass({"training_args": arguments}))
    return lora_of(result)["training_args"], result


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"evaluation_strategy": "epoch"}, {"eval_strategy": "epoch"}),
        ({"group_by_length": True}, {"train_sampling_strategy": "group_by_length"}),
        ({"group_by_length": False}, {}),
        ({"warmup_ratio": 0.03}, {"warmup_steps": 0.03}),
        ({"warmup_ratio": 0.03, "warmup_steps": 10}, {"warmup_steps": 10}),
        ({"warmup_ratio": 0.03, "warmup_steps": 0}, {"warmup_steps": 0.03}),
        ({"warmup_ratio": 2}, {}),
        ({"fp16": True, "seed": 1}, {"seed": 1}),
        ({"no_cuda": True}, {"use_cpu": True}),
        ({"adafactor": True}, {"optim": "adafactor"}),
        ({"logging_dir": "logs", "save_safetensors": True}, {}),
        ({"extra_args": {"seed": 1}}, {"seed": 1}),
        ({"evaluation_strategy": "epoch", "eval_strategy": "steps"}, {"eval_strategy": "steps"}),
        ({"overwrite_output_dir": True}, {"overwrite_output_dir": True}),
    ],
)
def test_arguments_of_transformers_4_become_those_of_5(project, old, new):
    args, result = args_of(**old)
    assert args == new
    assert errors(result, project) == []
    assert bool(result.changes) is (old != new)


@pytest.mark.parametrize("kind", ["PyTorchModel", "HfModel", "pytorchmodel"])
@pytest.mark.parametrize("is_nested", [True, False])
def test_a_hugging_face_model_of_old_becomes_hfmodel(kind, is_nested):
    old = {"hf_config": {"model_name": "org/model", "task": "text-generation", "model_class": "X"}}
    model = {"type": kind, **({"config": old} if is_nested else old)}
    result = upgrade({"input_model": model})
    assert result.config["input_model"] == {
        "type": "HfModel",
        "model_path": "org/model",
        "task": "text-generation",
    }
    assert ("dropped", "model_class") in kinds(result)


def test_a_local_copy_counts_more_than_the_models_name():
    model = {"type": "PyTorchModel", "model_path": "model-cache/x", "hf_config": {"model_name": "org/x"}}
    assert upgrade({"input_model": model}).config["input_model"]["model_path"] == "model-cache/x"


def test_a_model_made_by_a_script_stays_one():
    model = {"type": "PyTorchModel", "model_loader": "load", "model_script": "load.py"}
    result = upgrade({"input_model": model})
    assert result.config["input_model"] == model
    assert result.changes == ()


def test_a_resource_that_meant_a_path_becomes_one():
    resource = {"type": "local_folder", "config": {"path": "model-cache/x"}}
    result = upgrade({"input_model": {"type": "HfModel", "model_path": resource}})
    assert result.config["input_model"]["model_path"] == "model-cache/x"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["cpu"], [{"device": "cpu"}]),
        (["GPU", "cpu"], [{"device": "gpu"}]),
        ([{"device": "GPU"}], [{"device": "gpu"}]),
        (
            [{"device": "gpu", "execution_providers": ["CUDAExecutionProvider", "CPUExecutionProvider"]}],
            [{"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}],
        ),
    ],
)
def test_accelerators_become_one_table_with_one_provider(project, old, new):
    systems = {"local": {"type": "LocalSystem", "config": {"accelerators": old}}}
    result = upgrade(config(systems=systems, host="local"))
    assert result.config["systems"]["local"] == {"type": "LocalSystem", "accelerators": new}
    assert errors(result, project) == []


def test_engine_keys_move_up_and_those_of_the_engine_count():
    result = upgrade(config(engine={"output_dir": "a", "search_strategy": False}, output_dir="b"))
    assert result.config["output_dir"] == "a"
    assert result.config["search_strategy"] is False
    assert ("dropped", "output_dir") in kinds(result)


@pytest.mark.parametrize("key", ["hf_token", "output_name", "$schema"])
def test_keys_that_olive_refuses_at_the_top_are_dropped(project, key):
    result = upgrade(config(**{key: "x"}))
    assert kinds(result) == {("dropped", key)}
    assert errors(result, project) == []


def test_passes_run_in_the_order_of_the_old_flow(project):
    passes = {"merge": {"type": "MergeAdapterWeights"}, "unused": {"type": "KQuant"}, "lora": LORA}
    result = upgrade(config(data_configs=[DATA], passes=passes, pass_flows=[["lora", "merge"]]))
    assert list(result.config["passes"]) == ["lora", "merge"]
    assert errors(result, project) == []


def test_several_flows_have_no_equivalent():
    result = upgrade(config(passes={"a": {"type": "Rtn"}}, pass_flows=[["a"], ["a"]]))
    assert result.unresolved[0].key == "pass_flows"


@pytest.mark.parametrize(
    ("old", "new"),
    [("OnnxModelOptimizer", "OnnxPeepholeOptimizer"), ("OrtPerfTuning", "OrtSessionParamsTuning")],
)
def test_a_renamed_pass_gets_its_name(old, new):
    assert upgrade(config(passes={"x": {"type": old}})).config["passes"]["x"]["type"] == new


def test_a_pass_that_is_gone_is_told_and_not_guessed_at():
    result = upgrade(config(passes={"x": {"type": "OnnxMatMul4Quantizer", "lora_r": 1}}))
    assert result.config["passes"]["x"]["type"] == "OnnxMatMul4Quantizer"
    assert result.changes == ()
    assert result.unresolved[0].reason.startswith("no equivalent")


def test_keys_without_use_are_dropped_from_passes(project):
    entry = {
        "type": "ExtractAdapters",
        "config": {"make_inputs": True, "pack_inputs": True},
        "disable_search": True,
    }
    result = upgrade(config(passes={"e": entry}))
    assert result.config["passes"]["e"] == {"type": "ExtractAdapters", "make_inputs": True}
    assert errors(result, project) == []


def test_old_words_for_a_search_become_todays():
    old = {"search_algorithm": "exhaustive", "search_algorithm_config": {"num_samples": 3}}
    result = upgrade(config(search_strategy=old))
    assert result.config["search_strategy"] == {"sampler": "sequential", "max_samples": 3}


def test_metrics_are_laid_flat(project):
    metric = {
        "name": "speed",
        "type": "latency",
        "sub_types": [{"name": "avg"}],
        "user_config": {"io_bind": True},
        "data_config": deepcopy(DATA),
    }
    result = upgrade(config(evaluators={"e": {"metrics": [metric]}}))
    (flat,) = result.config["evaluators"]["e"]["metrics"]
    assert flat["io_bind"] is True
    assert flat["data_config"] == "train"
    assert errors(result, project) == []


def test_a_system_in_docker_is_laid_flat():
    settings = {"local_docker_config": {"dockerfile": "D", "build_context_path": "."}, "is_dev": True}
    docker = {"type": "Docker", "config": settings}
    result = upgrade(config(systems={"d": docker}))
    assert result.config["systems"]["d"] == {"type": "Docker", "dockerfile": "D", "build_context_path": "."}


def test_an_environment_is_no_longer_managed_by_olive():
    system = {"type": "PythonEnvironment", "olive_managed_env": True, "python_environment_path": "env"}
    result = upgrade(config(systems={"p": system}))
    assert kinds(result) == {("dropped", "olive_managed_env")}


def test_a_system_that_is_gone_has_no_equivalent():
    assert "no equivalent" in upgrade(config(systems={"o": {"type": "IsolatedORT"}})).unresolved[0].reason


def test_a_system_written_in_place_is_upgraded_too(project):
    result = upgrade(config(host={"type": "LocalSystem", "config": {"accelerators": ["CPU"]}}))
    assert result.config["host"] == {"type": "LocalSystem", "accelerators": [{"device": "cpu"}]}
    assert errors(result, project) == []


def test_providers_of_the_engine_move_to_the_accelerator(project):
    systems = {"local": {"type": "LocalSystem", "config": {"accelerators": ["gpu"]}}}
    engine = {"target": "local", "execution_providers": ["CUDAExecutionProvider", "CPUExecutionProvider"]}
    result = upgrade(config(systems=systems, engine=engine))
    (accelerator,) = result.config["systems"]["local"]["accelerators"]
    assert accelerator == {"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}
    assert errors(result, project) == []


def test_a_device_of_old_becomes_an_accelerator():
    result = upgrade(config(systems={"local": {"type": "LocalSystem", "config": {"device": "cpu"}}}))
    assert result.config["systems"]["local"]["accelerators"] == [{"device": "cpu"}]


def test_passes_in_a_list_are_upgraded_one_by_one(project):
    entries = [{**LORA, "config": {"lora_r": 4}}, {**LORA, "lora_r": 8}]
    result = upgrade(config(data_configs=[DATA], passes={"lora": entries}))
    assert [entry["r"] for entry in result.config["passes"]["lora"]] == [4, 8]
    assert errors(result, project) == []
