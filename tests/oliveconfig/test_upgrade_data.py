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


def test_data_of_a_datastore_becomes_a_local_file_and_its_address_is_kept():
    source = {
        "type": "azureml_datastore",
        "config": {"datastore_name": "blobs", "relative_path": "deep/folder/train.json"},
    }
    data = {**DATA, "load_dataset_config": {"data_name": "json", "data_files": [source]}}
    result = upgrade(config(data_configs=[data], azureml_client={"workspace_name": "w"}))
    assert result.config["data_configs"][0]["load_dataset_config"]["data_files"] == ["datasets/train.json"]
    assert result.targets == {
        "azureml": {
            "kind": "azureml",
            "workspace_name": "w",
            "data": {"datasets/train.json": "azureml://datastores/blobs/paths/deep/folder/train.json"},
        }
    }


@pytest.mark.parametrize(
    ("size", "train", "held"),
    [
        (0.1, "train[:90%]", "train[90%:]"),
        (0.3, "train[:70%]", "train[70%:]"),
        (0.001, "train[:99%]", "train[99%:]"),
        (100, "train[:-100]", "train[-100:]"),
        (1, "train[:-1]", "train[-1:]"),
    ],
)
@pytest.mark.parametrize("place", ["pass", "training_args"])
def test_held_out_rows_become_data_of_their_own(project, size, train, held, place):
    entry = {"eval_dataset_size": size} if place == "pass" else {"training_args": {"eval_dataset_size": size}}
    result = upgrade(with_pass(entry))
    first, second = result.config["data_configs"]
    assert first["load_dataset_config"]["split"] == train
    assert second["load_dataset_config"]["split"] == held
    assert second["name"] == lora_of(result)["eval_data_config"] == "train_eval"
    assert errors(result, project) == []


def test_two_passes_that_hold_out_the_same_rows_share_them():
    both = with_pass({"eval_dataset_size": 0.2})
    both["passes"]["again"] = {**LORA, "eval_dataset_size": 0.2}
    result = upgrade(both)
    assert len(result.config["data_configs"]) == 2
    assert result.config["passes"]["again"]["eval_data_config"] == "train_eval"


def test_held_out_rows_that_cannot_be_cut_are_left_to_a_person():
    cut = with_pass({"eval_dataset_size": 0.2})
    cut["data_configs"][0]["load_dataset_config"]["split"] = "train[:50%]+test"
    result = upgrade(cut)
    assert [item.key for item in result.unresolved] == ["passes.lora.eval_dataset_size"]
    assert lora_of(result)["eval_dataset_size"] == 0.2
    assert result.changes == ()


def test_given_evaluation_data_counts_more_than_a_size():
    result = upgrade(with_pass({"eval_data_config": "train", "eval_dataset_size": 0.2}))
    assert len(result.config["data_configs"]) == 1
    assert kinds(result) == {("dropped", "eval_dataset_size")}


@pytest.mark.parametrize(
    "old",
    [
        {"params_config": {"data_name": "json", "split": "train", "batch_size": 4, "text_cols": "text"}},
        {
            "params_config": {
                "data_name": "json",
                "split": "train",
                "component_kwargs": {
                    "pre_process_data": {"text_cols": "text"},
                    "dataloader": {"batch_size": 4},
                },
            }
        },
        {
            "load_dataset_config": {"params": {"data_name": "json", "split": "train"}},
            "pre_process_data_config": {"params": {"text_cols": "text"}},
            "dataloader_config": {"params": {"batch_size": 4}},
        },
        {
            "components": {
                "load_dataset": {"params": {"data_name": "json", "split": "train"}},
                "pre_process_data": {"params": {"text_cols": "text"}},
                "dataloader": {"params": {"batch_size": 4}},
            }
        },
    ],
    ids=["params_config", "component_kwargs", "params", "components"],
)
def test_every_old_nesting_of_data_becomes_components(project, old):
    result = upgrade(config(data_configs=[{"name": "train", "type": "HuggingfaceContainer", **old}]))
    (item,) = result.config["data_configs"]
    assert item["load_dataset_config"] == {"data_name": "json", "split": "train"}
    assert item["pre_process_data_config"] == {"text_cols": "text"}
    assert item["dataloader_config"] == {"batch_size": 4}
    assert errors(result, project) == []


def test_data_configs_by_name_become_a_list(project):
    item = {key: value for key, value in DATA.items() if key != "name"}
    result = upgrade(config(data_configs={"train": item}, passes={"lora": LORA}))
    assert result.config["data_configs"] == [DATA]
    assert errors(result, project) == []


def test_a_name_that_olive_refuses_is_changed_everywhere(project):
    data = {**DATA, "name": "my-train"}
    result = upgrade(config(data_configs=[data], passes={"lora": {**LORA, "train_data_config": "my-train"}}))
    assert result.config["data_configs"][0]["name"] == lora_of(result)["train_data_config"] == "my_train"
    assert errors(result, project) == []


def test_data_written_inside_a_pass_moves_to_its_section(project):
    result = upgrade(config(passes={"lora": {"type": "LoRA", "train_data_config": deepcopy(DATA)}}))
    assert result.config["data_configs"] == [DATA]
    assert lora_of(result)["train_data_config"] == "train"
    assert errors(result, project) == []


def test_the_template_makes_columns_needless():
    data = {**DATA, "pre_process_data_config": {"text_cols": ["a"], "text_template": "{a}"}}
    result = upgrade(config(data_configs=[data]))
    assert result.config["data_configs"][0]["pre_process_data_config"] == {"text_template": "{a}"}


def test_pairs_have_no_equivalent():
    data = {**DATA, "pre_process_data_config": {"dataset_type": "pair"}}
    result = upgrade(config(data_configs=[data]))
    assert "no equivalent" in result.unresolved[0].reason


def test_data_kept_with_the_model_gets_a_section(project):
    model = {"type": "PyTorchModel", "hf_config": {"model_name": "m", "dataset": {"data_name": "org/d"}}}
    passes = {"q": {"type": "Gptq", "data_config": "__input_model_data_config__"}}
    result = upgrade({"input_model": model, "passes": passes})
    assert result.config["data_configs"][0]["load_dataset_config"] == {"data_name": "org/d"}
    assert errors(result, project) == []


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"type": "local_file", "config": {"path": "a.json"}}, "a.json"),
        (
            {"train": "a.json", "test": {"type": "string_name", "config": {"name": "b"}}},
            {"train": "a.json", "test": "b"},
        ),
    ],
)
def test_files_that_were_resources_become_plain_paths(files, left):
    data = {**DATA, "load_dataset_config": {"data_name": "json", "data_files": files}}
    result = upgrade(config(data_configs=[data]))
    assert result.config["data_configs"][0]["load_dataset_config"]["data_files"] == left


def test_other_resources_of_azure_have_no_equivalent():
    resource = {"type": "azureml_job_output", "config": {"job_id": "x"}}
    data = {**DATA, "load_dataset_config": {"data_name": "json", "data_files": resource}}
    result = upgrade({"input_model": {"type": "HfModel", "model_path": resource}, "data_configs": [data]})
    assert [item.key.rpartition(".")[2] for item in result.unresolved] == ["model_path", "data_files"]
    assert result.changes == ()


def test_a_workspace_of_its_own_is_told_when_the_target_has_another():
    source = {
        "type": "azureml_datastore",
        "config": {"relative_path": "a", "azureml_client": {"workspace_name": "v"}},
    }
    data = {**DATA, "load_dataset_config": {"data_name": "json", "data_files": source}}
    result = upgrade(config(data_configs=[data], azureml_client={"workspace_name": "w"}))
    assert result.targets["azureml"]["workspace_name"] == "w"
    assert ("dropped", "azureml_client") in kinds(result)
