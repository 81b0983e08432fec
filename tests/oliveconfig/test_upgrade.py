from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaffolder.oliveconfig import dumps, upgrade

from .configurations import HERE, config, errors, kinds, load, valid_configs

SEEDS = {path.stem: load(path) for path in (HERE / "seeds").glob("*.json")}


@pytest.mark.parametrize("name", SEEDS)
def test_the_seeds_become_valid(project, name):
    result = upgrade(SEEDS[name])
    assert errors(result, project) == []
    assert result.unresolved == ()
    assert upgrade(result.config).changes == ()


def test_the_seeds_keep_every_value_of_their_author():
    result = upgrade(SEEDS["qlora"])
    entry = result.config["passes"]["qlora"]
    before = SEEDS["qlora"]["passes"]["qlora"]["config"]
    assert (entry["r"], entry["alpha"]) == (before["lora_r"], before["lora_alpha"]) == (64, 64)
    for key in ("double_quant", "quant_type", "compute_dtype", "lora_dropout"):
        assert entry[key] == before[key]
    same = set(before["training_args"]) & set(entry["training_args"])
    assert len(same) == 13
    assert all(entry["training_args"][key] == before["training_args"][key] for key in same)
    assert entry["training_args"]["eval_strategy"] == "steps"
    assert entry["training_args"]["eval_steps"] == 187
    assert entry["training_args"]["train_sampling_strategy"] == "group_by_length"
    text = result.config["data_configs"][0]["pre_process_data_config"]
    assert (text["strategy"], text["max_seq_len"], text["pad_to_max_len"]) == ("join", 2048, False)
    assert result.config["input_model"] == {
        "type": "HfModel",
        "model_path": "microsoft/Phi-3-mini-4k-instruct",
        "task": "text-generation",
        "load_kwargs": {"trust_remote_code": True},
    }


def test_lora_loses_what_only_qlora_quantises():
    result = upgrade(SEEDS["lora"])
    assert "double_quant" not in result.config["passes"]["lora"]
    assert ("dropped", "double_quant") in kinds(result)


def test_azure_ml_becomes_targets_with_the_same_accelerators():
    result = upgrade(SEEDS["lora"])
    old = SEEDS["lora"]["systems"]["aml"]["config"]
    assert result.config["systems"]["aml"] == {"type": "LocalSystem", "accelerators": old["accelerators"]}
    assert set(result.targets) == {"aml", "azure_arc"}
    target = result.targets["aml"]
    assert target["kind"] == "azureml"
    assert target["compute"] == old["aml_compute"]
    assert target["image"] == old["aml_docker_config"]["base_image"]
    assert target["conda_file"] == "conda.yaml"
    assert target["workspace_name"] == SEEDS["lora"]["azureml_client"]["workspace_name"]
    assert target["hf_token"] is True
    assert "hf_token" not in result.targets["azure_arc"]
    assert "azureml_client" not in result.config


@pytest.mark.parametrize("name", valid_configs())
def test_a_configuration_of_today_is_left_as_it_is(name):
    today = valid_configs()[name]
    result = upgrade(today)
    assert dumps(result.config) == dumps(today)
    assert (result.changes, result.targets, result.unresolved) == ((), {}, ())


@pytest.mark.parametrize("name", SEEDS)
def test_the_configuration_handed_in_is_not_changed(name):
    before = deepcopy(SEEDS[name])
    upgrade(SEEDS[name])
    assert SEEDS[name] == before


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"input_model": None, "passes": None, "systems": None, "data_configs": None, "engine": None},
        {"passes": {"a": None, "b": {"type": None, "config": 1}}, "engine": 3, "pass_flows": 1},
        {"data_configs": [None, {"name": None, "params_config": 1}], "systems": {"a": {"accelerators": 1}}},
        {"input_model": {"hf_config": {}, "config": None}, "evaluators": {"e": {"metrics": [None, {}]}}},
        {"passes": {"l": {"type": "LoRA", "eval_dataset_size": "x", "training_args": {"eval_dataset_size": True}}}},
    ],
)
def test_nonsense_is_passed_through(nonsense):
    once = upgrade(nonsense)
    assert upgrade(once.config).changes == ()


OLD_ARGS = {
    "evaluation_strategy": "steps",
    "group_by_length": True,
    "warmup_ratio": 0.1,
    "warmup_steps": 3,
    "fp16": True,
    "eval_dataset_size": 10,
    "no_cuda": False,
    "adafactor": True,
    "optim": "adamw_torch",
    "logging_dir": "x",
    "max_steps": 10,
    "extra_args": {"seed": 1},
}
OLD_PASS = {
    "lora_r": 8,
    "r": 16,
    "lora_alpha": 8.0,
    "double_quant": True,
    "quant_type": "nf4",
    "compute_dtype": "bfloat16",
    "eval_dataset_size": 0.25,
    "use_ort_trainer": False,
    "disable_search": True,
    "eval_data_config": "other",
}
OLD_TEXT = {
    "corpus_strategy": "line-by-line",
    "strategy": "join",
    "source_max_len": 512,
    "dataset_type": "corpus",
    "text_cols": ["a"],
    "text_template": "{a}",
    "use_attention_mask": False,
    "pad_to_max_len": False,
    "params": {"joiner": "x"},
}
OLD_TOP = {
    "hf_token": True,
    "output_name": "x",
    "azureml_client": {"workspace_name": "w"},
    "pass_flows": [["lora"]],
    "engine": {"host": "local", "log_severity_level": 0},
    "evaluate_input_model": False,
    "search_strategy": False,
}


def some_of(table):
    return st.sets(st.sampled_from(sorted(table))).map(lambda keys: {key: table[key] for key in sorted(keys)})


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(["LoRA", "QLoRA", "lora", "LoftQ"]),
    is_nested=st.booleans(),
    entry=some_of(OLD_PASS),
    args=some_of(OLD_ARGS),
    text=some_of(OLD_TEXT),
    top=some_of(OLD_TOP),
    system=st.sampled_from(["AzureML", "LocalSystem"]),
    split=st.sampled_from(["train", "train[:50%]", None]),
)
def test_any_mixture_of_old_keys_becomes_valid_and_stays_so(
    tmp_path_factory, kind, is_nested, entry, args, text, top, system, split
):
    keys = {"train_data_config": "train", "training_args": args, **entry}
    load_dataset = {"data_name": "org/data", **({"split": split} if split else {})}
    old = config(
        systems={"local": {"type": system, "config": {"accelerators": ["gpu"]}}},
        data_configs=[
            {
                "name": "train",
                "type": "HuggingfaceContainer",
                "load_dataset_config": {"params": load_dataset},
                "pre_process_data_config": text,
            },
            {"name": "other", "type": "HuggingfaceContainer", "load_dataset_config": {"data_name": "org/o"}},
        ],
        passes={"lora": {"type": kind, "config": keys} if is_nested else {"type": kind, **keys}},
        **deepcopy(top),
    )
    result = upgrade(old)
    again = upgrade(result.config)
    assert again.changes == ()
    assert again.config == result.config
    left = {item.key.rpartition(".")[2] for item in result.unresolved}
    wrong = {found.key.rpartition(".")[2] for found in errors(result, tmp_path_factory.getbasetemp())}
    assert wrong == left
    assert left <= {"eval_dataset_size"}
