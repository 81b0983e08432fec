"""Nothing is lost on the way here from the forms and layouts that people know."""

from __future__ import annotations

import json
import re

import pytest
import yaml

# Every field of AI Toolkit's project form (`replaceToken` in its project-settings.json), and the question that asks it.
FORM = {
    "prompt_template": "prompt_template",
    "data_configs_data_files": "train_file",
    "data_configs_split": "split",
    "dataset_type": "data_format",
    "text_cols": "prompt_column",
    "text_template": "text_template",
    "line_by_line": "packing",
    "source_max_len": "max_seq_len",
    "pad_to_max_len": "padding",
    "compute_dtype": "dtype",
    "quant_type": "quant_type",
    "double_quant": "double_quant",
    "lora_r": "r",
    "lora_alpha": "alpha",
    "lora_dropout": "lora_dropout",
    "eval_dataset_size": "eval_share",
    "training_args_seed": "seed",
    "training_args_data_seed": "data_seed",
    "per_device_train_batch_size": "batch_size",
    "per_device_eval_batch_size": "eval_batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "gradient_checkpointing": "gradient_checkpointing",
    "learning_rate": "learning_rate",
    "num_train_epochs": "epochs",
    "max_steps": "max_steps",
}
# Fields that need no answer here, and what decides them.
DECIDED = {
    "conda_env_name": ("setup/environment.yml", "name: form"),
    "model-download-location": ("scaffolder.toml", 'path = "model-cache/'),
    # Each run keeps its checkpoints with its own inputs.
    "output_dir": (".gitignore", "fine-tuning/runs/"),
}
FOLDERS = {"datasets", "fine-tuning", "inferences", "model-cache", "gen-model", "setup"}


@pytest.fixture
def questions(template):
    text = re.sub(r"(?m)^!include .*$", "{}", (template / "copier.yml").read_text(encoding="utf-8"))
    return {name: question for document in yaml.safe_load_all(text) for name, question in document.items()}


def test_every_field_of_the_known_form_has_its_question(questions):
    assert len(FORM) + len(DECIDED) == 28
    assert {field: name for field, name in FORM.items() if questions[name].get("when") is False} == {}


def test_what_is_not_asked_is_decided(make):
    project = make("form")
    for file, text in DECIDED.values():
        assert text in (project / file).read_text(encoding="utf-8"), file


def test_form_answers_of_qlora_reach_the_configuration(make):
    answers = {"method": "qlora", "hardware": "cuda-24gb", "quant_type": "fp4", "double_quant": False, "packing": "none"}
    project = make(**answers, train_on="all", padding="max_length", split="mine", train_file="datasets/a.jsonl")
    config = json.loads((project / "fine-tuning" / "qlora.json").read_text(encoding="utf-8"))
    (data,) = config["data_configs"][:1]
    settings = config["passes"]["qlora"]
    assert (settings["quant_type"], settings["double_quant"]) == ("fp4", False)
    assert data["load_dataset_config"] == {"data_name": "json", "data_files": "datasets/a.jsonl", "split": "mine"}
    process = data["pre_process_data_config"]
    assert (process["packing"], process["padding"], process["train_on"]) == ("none", "max_length", "all")


def test_layout_is_the_known_one(make):
    assert {path.name for path in make().iterdir() if path.is_dir() and not path.name.startswith(".")} == FOLDERS
