"""`scaffolder presets` shows the catalogue, and what answers yield."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from scaffolder.catalogue import answer_sets
from scaffolder.cli import main


def test_list_names_everything(capsys):
    assert main(["presets"]) == 0
    shown = capsys.readouterr().out
    for name in ("SmolLM2-135M-Instruct", "quantise-then-lora", "cuda-48gb", "onnx-int4-small", "AutoAWQ"):
        assert name in shown


def test_list_is_data_too(capsys):
    assert main(["presets", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {kind: len(entries) for kind, entries in found.items()} == {
        "models": 27, "methods": 7, "hardware": 7, "exports": 7, "quantisers": 4, "prompts": 8, "presets": 1,
    }  # fmt: skip
    assert found["methods"]["qlora"]["pass"] == "QLoRA"


def test_show_resolves_defaults(capsys):
    answers = ["-d", "model=qwen3-4b", "-d", "method=qlora", "-d", "hardware=cuda-16gb"]
    assert main(["presets", "show", *answers, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answers"]["max_seq_len"] == 1024
    assert found["training"]["qlora"]["torch_dtype"] == "bfloat16"
    assert found["export"]["builder"]["precision"] == "int4"
    assert "fine-tuning/qlora.json" in found["files"]


@pytest.mark.parametrize("name", answer_sets())
def test_preset_is_a_set_of_answers_and_others_come_before_it(name, capsys):
    assert main(["presets", "show", "--preset", name, "-d", "max_steps=7", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["answers"]
    assert found.items() >= {**answer_sets()[name].answers, "epochs": 0.0, "max_steps": 7}.items()


def test_lab_quantises_first_and_keeps_adapters_apart(tmp_path):
    assert main(["new", str(tmp_path / "lab"), "--preset", "lab", "--defaults", "--no-git"]) == 0
    tuning = json.loads((tmp_path / "lab/fine-tuning/quantise-then-lora.json").read_text("utf-8"))
    assert [settings["type"] for settings in tuning["passes"].values()] == ["KQuant", "LoRA"]
    assert tuning["passes"]["lora"]["training_args"]["max_steps"] == 100
    assert 'config = "gen-model/quantised-adapters.json"' in (tmp_path / "lab/scaffolder.toml").read_text("utf-8")


def test_unknown_preset_names_those_there_are(tmp_path, capsys):
    assert main(["new", str(tmp_path / "lab"), "--preset", "labs"]) == 2
    assert "there is: lab" in capsys.readouterr().err


def test_show_is_readable(capsys):
    assert main(["presets", "show", "-d", "r=5"]) == 0
    shown = capsys.readouterr().out
    assert "lora.training_args.learning_rate" in shown
    assert "scaffolder.toml" in shown


def test_show_refuses_what_new_would_refuse(capsys):
    assert main(["presets", "show", "-d", "method=qlora"]) == 2
    assert "cpu stack" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    program = (
        "import sys; from scaffolder.cli import main; main(['--help']);"
        "print({'copier', 'yaml', 'scaffolder.catalogue'} & set(sys.modules), file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
    assert told.strip() == "set()"
