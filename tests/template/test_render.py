"""Every kind of project is born clean: parsed, plain, legal everywhere."""

from __future__ import annotations

import ast
import itertools
import json
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from scaffolder.errors import UsageError
from scaffolder.presets import models

MODELS = list(models())
# What interacts: method, hardware, kind of export and builder; the rest goes round.
METHODS = ("lora", "qlora", "dora", "loha", "lokr", "quantise-then-lora", "none")
HARDWARE = ("cpu", "cuda-24gb")
TARGETS = ("cpu", "cuda", "dml", "webgpu")
REST = itertools.cycle(
    [
        {},
        {"data_format": "messages", "messages_column": "turns", "system_prompt": 'Say "yes".\n', "packing": "none",
         "padding": "max_length"},
        {"eval_share": 0.1, "epochs": 2, "r": 8, "lora_dropout": 0.05, "train_on": "all"},
        {"text_template": "Translate: {prompt} {oddly 'quoted'} \u00e9 \U0001f30d", "targets": "attention", "split": "train"},
        {"prompt_template": "llama3", "packing": "pack"},
        {"train_file": "datasets/my examples.jsonl", "gradient_accumulation_steps": 4, "dtype": "bfloat16"},
    ]
)
CASES = [
    {"method": method, "hardware": hardware, "export_target": target, "model": MODELS[index % len(MODELS)], **next(REST)}
    for index, (method, hardware, target) in enumerate(itertools.product(METHODS, HARDWARE, TARGETS))
    if (method, hardware) != ("qlora", "cpu")
]
# What is not asked where nothing is trained.
TRAINING = {
    "packing", "padding", "eval_share", "epochs", "r", "lora_dropout", "train_on", "targets", "dtype",
    "gradient_accumulation_steps",
}  # fmt: skip
RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{i}" for name in ("com", "lpt") for i in range(1, 10))}
# A chat template is Jinja itself, for the tokenizer.
TEXT = {".jinja", ".json", ".jsonl", ".md", ".py", ".toml", ".txt", ".yml", ".gitignore", "Dockerfile", ".yaml"}


def named(case):
    return "-".join(str(case[key]) for key in ("method", "hardware", "export_target", "model"))


def files_of(project):
    return sorted(path for path in project.rglob("*") if path.is_file())


@pytest.mark.parametrize("case", CASES, ids=named)
def test_project_is_born_clean(case, make):
    if models()[case["model"]]["parameters"] > 5e9:
        case = {**case, "hardware": case["hardware"].replace("24", "48")}
    if case["method"] == "none":
        case = {key: value for key, value in case.items() if key not in TRAINING}
    started = time.perf_counter()
    project = make(**case)
    print(f"rendered in {time.perf_counter() - started:.2f} s")
    assert len(files_of(project)) >= (28 if case["method"] != "none" else 22)
    for path in files_of(project):
        check_name(path.relative_to(project))
        check_text(path)
    for config in [*project.glob("fine-tuning/*.json"), *project.glob("gen-model/*.json")]:
        check_config(config, project)
    check_manifest(project, case)


def check_name(path):
    for part in path.parts:
        assert re.fullmatch(r"[A-Za-z0-9._-]+", part), path
        assert part.split(".")[0].lower() not in RESERVED
        assert not part.endswith(".")


def check_text(path):
    assert path.suffix in TEXT or path.name in TEXT, path
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n"), path
    assert not text.endswith("\n\n"), path
    if path.suffix != ".jinja":
        assert "{{" not in text, path
        assert "{%" not in text, path
    # The answers say where the template is; the Dockerfile's paths are those of its image.
    if path.name not in {".copier-answers.yml", "Dockerfile"}:
        assert not re.search(r"(^|[\"' ])/(tmp|home|root|usr|work|Users)/", text), path
    if path.suffix == ".py":
        ast.parse(text)


def check_config(path, project):
    config = json.loads(path.read_text(encoding="utf-8"))
    names = {entry["name"] for entry in config.get("data_configs", [])}
    for settings in config["passes"].values():
        for key in ("train_data_config", "eval_data_config", "data_config"):
            assert settings.get(key) is None or settings[key] in names, path
    for entry in config.get("data_configs", []):
        assert (project / entry["user_script"]).is_file(), path
    assert config["host"] == config["target"] == "local"
    assert config["output_dir"].endswith(path.stem)


def check_manifest(project, case):
    manifest = tomllib.loads((project / "scaffolder.toml").read_text(encoding="utf-8"))
    for workflow in manifest["workflows"].values():
        assert (project / workflow["config"]).is_file()
    # The question's choices are the catalogue's: its names need no `other`.
    assert manifest["model"]["id"] == models()[case["model"]]["repo"]
    assert "model_id" not in yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    assert manifest["dataset"].get("text_template") == case.get("text_template")
    assert manifest["dataset"].get("system_prompt") == case.get("system_prompt")
    from scaffolder.project import read_manifest

    read_manifest(project / "scaffolder.toml")


def test_the_matrix_is_large():
    assert len(CASES) == 52
    assert {case["model"] for case in CASES} == set(MODELS)


def test_every_question_is_asked_or_computed(template):
    documents = list(yaml.safe_load_all(re.sub(r"(?m)^!include .*$", "{}", (template / "copier.yml").read_text())))
    questions = {k: v for document in documents for k, v in document.items() if not k.startswith("_")}
    asked = {name: q for name, q in questions.items() if q.get("when") is not False}
    newcomers = [n for n, q in asked.items() if "advanced" not in str(q.get("when", "")) and n != "model_id"]
    assert newcomers == ["project_name", "model", "hardware", "method", "data_format", "advanced"]
    assert len(asked) == 50
    assert all(q.get("help") for q in asked.values())


def test_expert_answers_reach_the_configuration(make):
    answers = {
        "r": 5, "alpha": 7, "lora_dropout": 0.1, "seed": 3, "data_seed": 4, "batch_size": 2, "eval_batch_size": 6,
        "gradient_accumulation_steps": 3, "gradient_checkpointing": True, "learning_rate": 0.01, "max_steps": 9,
        "dtype": "bfloat16", "eval_share": 0.25, "max_seq_len": 99, "train_on": "all", "targets": "attention",
        "prompt_column": "q", "response_column": "a",
    }  # fmt: skip
    config = json.loads((make(**answers) / "fine-tuning" / "lora.json").read_text(encoding="utf-8"))
    settings, (train, watched) = config["passes"]["lora"], config["data_configs"]
    arguments = settings["training_args"]
    assert (settings["r"], settings["alpha"], settings["lora_dropout"]) == (5, 7, 0.1)
    assert (settings["torch_dtype"], settings["eval_data_config"]) == ("bfloat16", "eval")
    assert settings["target_modules"] == ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert (arguments["seed"], arguments["data_seed"], arguments["max_steps"]) == (3, 4, 9)
    assert (arguments["per_device_train_batch_size"], arguments["per_device_eval_batch_size"]) == (2, 6)
    assert (arguments["gradient_accumulation_steps"], arguments["gradient_checkpointing"]) == (3, True)
    assert arguments["learning_rate"] == 0.01
    assert train["load_dataset_config"]["split"] == "train[:75%]"
    assert watched["load_dataset_config"]["split"] == "train[75%:]"
    process = train["pre_process_data_config"]
    assert (process["max_seq_len"], process["train_on"]) == (99, "all")
    assert (process["prompt_column"], process["response_column"]) == ("q", "a")


def test_expert_answers_are_remembered_for_updates(make):
    answers = yaml.safe_load((make(r=5) / ".copier-answers.yml").read_text(encoding="utf-8"))
    assert (answers["r"], answers["advanced"]) == (5, True)


@pytest.mark.parametrize(
    ("answers", "lesson"),
    [
        ({"project_name": "-x"}, "Start with a letter"),
        ({"model": "other", "model_id": "x"}, "organisation/name"),
        ({"hardware": "cuda-8gb", "model": "Llama-3.1-8B-Instruct", "method": "lora"}, "take qlora"),
        ({"method": "qlora"}, "not in the cpu stack"),
        ({"method": "dora", "export_preset": "adapters"}, "magnitudes"),
        ({"device": "cuda", "hardware": "cpu"}, "contradicts"),
        ({"train_file": "/etc/x.jsonl"}, "below the project"),
        ({"train_file": "../x.jsonl"}, "below the project"),
        ({"train_file": "C:\\x.jsonl"}, "below the project"),
        ({"eval_file": "datasets/train.jsonl"}, "Another path"),
        ({"split": "train[:5%]"}, "name such as train"),
        ({"eval_share": 0.9}, "0.1 is usual"),
        ({"response_column": "prompt"}, "other than the prompt"),
        ({"text_template": "plain"}, "column in braces"),
        ({"prompt_template": "custom", "prompt_text": "Q: {prompt}"}, "end with {response}"),
        ({"prompt_template": "custom", "prompt_text": "{prompt}{response}"}, "a text between"),
        ({"packing": "pack", "padding": "max_length"}, "full already"),
        ({"max_seq_len": 99999999}, "context"),
        ({"r": 0}, "8 to 64"),
        ({"alpha": 0}, "twice the rank"),
        ({"lora_dropout": 1.0}, "0 to 0.9"),
        ({"seed": -1}, "From 0"),
        ({"batch_size": 0}, "memory grows"),
        ({"learning_rate": 2}, "usual for adapters"),
        ({"epochs": -1}, "1 to 3"),
        ({"max_steps": 0}, "At least 1"),
        ({"export_preset": "onnx-fp16"}, "not on cpu"),
        ({"method": "none", "export_preset": "adapters"}, "Invalid choice"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_impossible_answer_teaches(answers, lesson, make):
    with pytest.raises(UsageError, match=re.escape(lesson)):
        make(**answers)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, ("cpu", "cpu", "lora")),
        ({"device": "cuda"}, ("cuda-24gb", "cuda", "lora")),
        ({"hardware": "cuda-8gb", "model": "Llama-3.1-8B-Instruct"}, ("cuda-8gb", "cuda", "qlora")),
    ],
)
def test_stack_and_method_follow_from_the_hardware(answers, expected, make):
    project = make(**answers)
    told = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    stack = (project / "setup" / "requirements.txt").read_text(encoding="utf-8")
    assert (told["hardware"], "cuda" if "liger" in stack else "cpu", told["method"]) == expected


def test_steps_given_beforehand_take_the_place_of_epochs(make):
    project = make(hardware="cuda-24gb", max_steps=7)
    config = json.loads((project / "fine-tuning" / "lora.json").read_text(encoding="utf-8"))
    arguments = config["passes"]["lora"]["training_args"]
    assert (arguments["max_steps"], "num_train_epochs" in arguments) == (7, False)


@pytest.mark.parametrize(
    ("hardware", "step"),
    [
        ("cpu", {"max_steps": 16, "per_device_train_batch_size": 8, "train_sampling_strategy": "group_by_length"}),
        ("cuda-8gb", {"num_train_epochs": 3, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}),
        ("cuda-80gb", {"num_train_epochs": 3, "per_device_train_batch_size": 8, "train_sampling_strategy": "random"}),
    ],
)
def test_cards_pack_and_a_step_fills_them(hardware, step, make):
    config = json.loads((make(hardware=hardware) / "fine-tuning" / "lora.json").read_text(encoding="utf-8"))
    assert config["passes"]["lora"]["training_args"].items() >= step.items()
    packing = config["data_configs"][0]["pre_process_data_config"]["packing"]
    assert packing == ("none" if hardware == "cpu" else "pack")


@pytest.mark.parametrize("name", ["SmolLM2-135M-Instruct", "smollm2-135m-instruct", "some-org/some-model"])
def test_model_is_a_name_or_any_hub_id(name, make):
    manifest = tomllib.loads((make(model=name) / "scaffolder.toml").read_text(encoding="utf-8"))
    assert manifest["model"]["id"].lower().endswith(name.lower())


def test_copier_without_trust_makes_the_same_project(template, make, tmp_path):
    ours = make("project", r=4, advanced=True)
    theirs = tmp_path / "theirs" / "project"
    command = [sys.executable, "-m", "copier", "copy", "--quiet", "--defaults", "-d", "r=4", "-d", "advanced=true"]
    subprocess.run([*command, str(template), str(theirs)], check=True)
    assert contents(theirs) == contents(ours)


def contents(project):
    found = {path.relative_to(project).as_posix(): path.read_bytes() for path in files_of(project)}
    # Where the template came from is recorded in another way: `new` names no folder of this machine.
    lines = found[".copier-answers.yml"].splitlines()
    found[".copier-answers.yml"] = [line for line in lines if not line.startswith(b"_")]
    return found


def test_rendered_python_is_clean(make):
    texts = {"system_prompt": 'Say "yes", it\'s "so".', "text_template": 'The "{prompt}"'}
    answers = {"method": "quantise-then-lora", "base_quantiser": "awq", "prompt_template": "alpaca", **texts}
    project = make(model="gemma-3-4b-it", hardware="cuda-24gb", **answers)
    ruff = str(Path(sys.executable).with_name("ruff"))
    scripts = [str(path) for path in project.rglob("*.py")]
    assert len(scripts) == 11
    options = ["--isolated", "--line-length=120"]
    subprocess.run([ruff, "check", *options, *scripts], check=True)
    subprocess.run([ruff, "format", "--check", *options, *scripts], check=True)
