"""Estimates before a run: near the measured truth, and settings that fit when it does not."""

import json

import pytest

from scaffolder.estimate import estimate_training, expected_rate, smaller, too_few_steps

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def config(*, batch=8, length=512, checkpointing=False, padding="max_length", files="train.jsonl", **arguments):
    return {
        "input_model": {"type": "HfModel", "model_path": f"model-cache/{SMOLLM2}"},
        "systems": {"local": {"type": "LocalSystem", "accelerators": [{"device": "cpu"}]}},
        "data_configs": [
            {
                "name": "train",
                "load_dataset_config": {"data_files": files},
                "pre_process_data_config": {"max_seq_len": length, "padding": padding},
            }
        ],
        "passes": {
            "lora": {
                "type": "LoRA",
                "r": 16,
                "lora_dropout": 0.0,
                "target_modules": LINEAR,
                "torch_dtype": "float32",
                "train_data_config": "train",
                "training_args": {
                    "per_device_train_batch_size": batch,
                    "gradient_checkpointing": checkpointing,
                    "max_steps": 10,
                    **arguments,
                },
            }
        },
    }


def rows(path, count, characters):
    path.write_text("".join(json.dumps({"text": "a" * characters}) + "\n" for _ in range(count)))


# Resident size at the end of the second step, in MB, on a processor; rows x tokens.
@pytest.mark.parametrize(
    ("batch", "length", "checkpointing", "measured"),
    [(1, 128, False, 1644), (8, 128, False, 4296), (8, 256, False, 7385), (4, 512, False, 7496), (8, 256, True, 4475)],
)
def test_memory_is_near_the_measured_peak(tmp_path, batch, length, checkpointing, measured):
    found = estimate_training(config(batch=batch, length=length, checkpointing=checkpointing), tmp_path, SMOLLM2)
    assert found.memory / 1e6 == pytest.approx(measured, rel=0.05)


def test_shape_is_that_of_the_model_on_disk(tmp_path):
    folder = tmp_path / "model-cache" / SMOLLM2
    folder.mkdir(parents=True)
    shape = {
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "vocab_size": 100,
    }
    (folder / "config.json").write_text(json.dumps(shape))
    assert estimate_training(config(), tmp_path, SMOLLM2).memory < 0.7e9
    assert estimate_training(config(), tmp_path, "someone/unknown") is not None
    (folder / "config.json").write_text("{}")
    assert estimate_training(config(), tmp_path, "someone/unknown") is None


def test_short_rows_need_less_than_the_longest_allowed(tmp_path):
    rows(tmp_path / "train.jsonl", 20, 200)
    short = estimate_training(config(padding="longest"), tmp_path, SMOLLM2)
    assert short.training.sequence < 200
    assert short.memory < estimate_training(config(), tmp_path, SMOLLM2).memory / 2


def test_tokens_follow_rows_and_epochs(tmp_path):
    rows(tmp_path / "train.jsonl", 64, 360)
    found = estimate_training(config(max_steps=-1, num_train_epochs=2), tmp_path, SMOLLM2).training
    assert found.steps == 16
    assert found.tokens == pytest.approx(2 * 64 * 95, rel=0.1)


@pytest.mark.parametrize(
    ("count", "arguments", "advice"),
    [
        (
            64,
            {"batch": 8, "num_train_epochs": 1},
            "the data makes 8 steps, which teach little; 21 with "
            "--set passes.lora.training_args.per_device_train_batch_size=3",
        ),
        (64, {"batch": 8, "num_train_epochs": 3}, ""),
        (
            16,
            {"batch": 4, "num_train_epochs": 2, "gradient_accumulation_steps": 2},
            "the data makes 4 steps, which teach little; 32 with "
            "--set passes.lora.training_args.per_device_train_batch_size=1 "
            "--set passes.lora.training_args.gradient_accumulation_steps=1",
        ),
        (4, {"batch": 1, "num_train_epochs": 1}, ""),
        (64, {"batch": 8, "max_steps": 2}, ""),
    ],
)
def test_few_large_steps_are_told(tmp_path, count, arguments, advice):
    rows(tmp_path / "train.jsonl", count, 360)
    estimate = estimate_training(config(**{"max_steps": -1, **arguments}), tmp_path, SMOLLM2)
    assert too_few_steps(estimate.training) == advice


def test_nothing_to_train_means_no_estimate(tmp_path):
    export = config()
    export["passes"] = {"builder": {"type": "ModelBuilder", "precision": "int4"}}
    assert estimate_training(export, tmp_path, SMOLLM2) is None


def test_fewer_rows_come_first_and_keep_the_global_batch(tmp_path):
    settings, memory = smaller(config(), tmp_path, SMOLLM2, available=4_000_000_000)
    assert settings == (
        "--set passes.lora.training_args.per_device_train_batch_size=1 "
        "--set passes.lora.training_args.gradient_accumulation_steps=8"
    )
    assert memory <= 4_000_000_000
    settings, _ = smaller(config(batch=1, length=2048), tmp_path, SMOLLM2, available=5_000_000_000)
    assert settings == "--set passes.lora.training_args.gradient_checkpointing=true"
    settings, _ = smaller(config(batch=1, length=4096), tmp_path, SMOLLM2, available=2_000_000_000)
    assert "data_configs.train.pre_process_data_config.max_seq_len=" in settings
    assert smaller(config(), tmp_path, SMOLLM2, available=500_000_000) is None


def test_cards_are_found_by_the_longest_name():
    rate = expected_rate("gpu", processors=2, card="NVIDIA H100 PCIe")
    assert rate == pytest.approx(0.35 * 756e12)
    assert expected_rate("gpu", processors=2, card="NVIDIA H200") > rate
    assert expected_rate("gpu", processors=2, card="Some Other Card") is None
    assert expected_rate("cpu", processors=4, card=None) == 2 * expected_rate("cpu", processors=2, card=None)
