"""A configuration in the words of years ago trains with the values its author wrote."""

import json

import pytest

from tests.conftest import MODEL

pytestmark = pytest.mark.olive

STEPS, ACCUMULATION, LENGTH = 3, 4, 48
OLD = {
    "azureml_client": {"subscription_id": "s", "resource_group": "g", "workspace_name": "w"},
    "input_model": {
        "type": "PyTorchModel",
        "config": {"hf_config": {"model_name": MODEL, "task": "text-generation"}},
    },
    "systems": {
        "aml": {
            "type": "AzureML",
            "config": {
                "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
                "aml_compute": "cluster",
            },
        }
    },
    "data_configs": [
        {
            "name": "dataset_default_train",
            "type": "HuggingfaceContainer",
            "load_dataset_config": {
                "params": {"data_name": "json", "data_files": "datasets/train.jsonl", "split": "train"}
            },
            "pre_process_data_config": {
                "params": {
                    "dataset_type": "corpus",
                    "text_cols": ["prompt", "response"],
                    "text_template": "{prompt}\n{response}",
                    "corpus_strategy": "join",
                    "source_max_len": LENGTH,
                    "pad_to_max_len": False,
                    "use_attention_mask": False,
                }
            },
        }
    ],
    "passes": {
        "lora": {
            "type": "LoRA",
            "config": {
                "target_modules": ["q_proj", "v_proj"],
                "lora_r": 6,
                "lora_alpha": 20,
                "lora_dropout": 0.1,
                "train_data_config": "dataset_default_train",
                "eval_dataset_size": 0.25,
                "training_args": {
                    "seed": 0,
                    "per_device_train_batch_size": 1,
                    "per_device_eval_batch_size": 1,
                    "gradient_accumulation_steps": ACCUMULATION,
                    "gradient_checkpointing": False,
                    "max_steps": STEPS,
                    "logging_steps": 1,
                    "evaluation_strategy": "steps",
                    "eval_steps": STEPS,
                    "group_by_length": True,
                },
            },
        }
    },
    "engine": {
        "host": "aml",
        "target": "aml",
        "search_strategy": False,
        "cache_dir": "cache",
        "output_dir": "fine-tuning/adapters/old",
    },
}


def test_upgraded_configuration_trains_with_its_authors_values(cli, tiny_project):
    path = tiny_project / "fine-tuning" / "old.json"
    path.write_text(json.dumps(OLD, indent=4))
    upgraded = cli("upgrade-config", path)
    assert upgraded.code == 0, upgraded.err
    assert "[targets.aml]" in upgraded.err
    assert cli("validate", path).code == 0
    result = cli("run", "fine-tuning", "--preset", "old", "--json")
    assert result.code == 0, result.err
    [run] = json.loads(result.out)
    # As trained, not as written: every step saw ACCUMULATION blocks of LENGTH tokens.
    assert run["training"]["steps"] == STEPS
    assert run["training"]["tokens"] == STEPS * ACCUMULATION * LENGTH
    adapter = tiny_project / "fine-tuning" / "adapters" / "old" / "adapter"
    settings = json.loads((adapter / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["lora_dropout"]) == (6, 20, 0.1)
    assert settings["target_modules"] == ["q_proj", "v_proj"]
    log = next((tiny_project / "fine-tuning" / "runs").glob("fine-tuning-old-*/run.log")).read_text()
    assert "Ignoring" not in log
