"""Every architecture of the catalogue, tiny: tune, merge, export with the default preset, answer."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tiny_models import RECIPES

from scaffolder.errors import ConfigError
from scaffolder.evaluation import candidates
from scaffolder.generator import new_project
from scaffolder.presets import models
from scaffolder.project import find_project
from scaffolder.workflow.execute import run_workflows

pytestmark = pytest.mark.olive
# Apart from the others: `make venv` says why.
QLORA = Path(sys.prefix) / "qlora"
SETTINGS = {"max_steps": 2, "r": 4, "max_seq_len": 128}


def catalogue_name(recipe):
    return next(name for name, entry in models().items() if entry["export"]["tiny"] == recipe)


def project_of(make, put_tiny, recipe, **answers):
    settings = {"max_seq_len": SETTINGS["max_seq_len"]} if answers.get("method") == "none" else SETTINGS
    project = make(model=catalogue_name(recipe), hardware="cpu", **settings, **answers)
    folder = tomllib.loads((project / "scaffolder.toml").read_text(encoding="utf-8"))["model"]["path"]
    if models()[catalogue_name(recipe)]["export"]["builder"] == "text":
        put_tiny(project, recipe, folder.removesuffix("-text"))
        (project / folder.removesuffix("-text") / "training_args.bin").touch()  # as many models on the hub have
        script = [sys.executable, "model-cache/text_model.py", folder.removesuffix("-text")]
        subprocess.run(script, cwd=project, check=True, capture_output=True)
    else:
        put_tiny(project, recipe, folder)
    return project


def test_no_architecture_is_left_out():
    assert len(RECIPES) == 11
    assert {entry["export"]["tiny"] for entry in models().values()} == set(RECIPES)
    assert {entry["architecture"] for entry in models().values()} <= {r.model_type for r in RECIPES.values()}


@pytest.fixture(scope="module")
def finished(put_tiny, run_scaffolder, tmp_path_factory):
    """Return a recipe's project after `run all` with the default presets, and what that said; run once a recipe."""

    @functools.cache
    def finish(recipe):
        def make(**answers):
            folder = tmp_path_factory.mktemp(recipe) / "project"
            new_project(folder, answers=answers, defaults=True, git=False)
            return folder

        project = project_of(make, put_tiny, recipe)
        return project, *run_scaffolder(project, "run", "all", "--json")

    return finish


@pytest.mark.parametrize("recipe", RECIPES)
def test_architecture_runs_from_examples_to_answers(recipe, finished):
    _, tuned, exported = finished(recipe)
    assert tuned["metrics"]["kind"] == "adapter"
    assert exported["metrics"]["kind"] == "onnx"
    # The export answers as the adapter does: eight or four bits of a random model stay near.
    assert exported["metrics"]["after"]["loss"] == pytest.approx(tuned["metrics"]["after"]["loss"], rel=0.2)
    # The worker opened it with ONNX Runtime GenAI and let it answer.
    assert exported["metrics"]["tokens_per_second"] > 0


def test_generate_answers_with_the_export(finished, run_scaffolder):
    project, *_ = finished("llama-chatml")
    assert run_scaffolder(project, "generate", "What is rain?", "--max-new-tokens", "4", "--json")


@pytest.mark.parametrize("method", ["dora", "loha", "lokr"])
def test_method_trains_merges_and_exports(method, make, put_tiny, run_scaffolder):
    project = project_of(make, put_tiny, "llama", method=method, export_preset="onnx-fp32")
    tuned, exported = run_scaffolder(project, "run", "all", "--json")
    # Merged and in 32 bits nothing is lost.
    assert exported["metrics"]["after"]["loss"] == pytest.approx(tuned["metrics"]["after"]["loss"], rel=1e-3)


def test_model_as_it_is_is_exported_and_evaluated(make, put_tiny, run_scaffolder):
    project = project_of(make, put_tiny, "llama", method="none", export_preset="onnx-fp32")
    assert list((project / "fine-tuning").glob("*.json")) == []
    (exported,) = run_scaffolder(project, "run", "all", "--json")
    base, onnx = run_scaffolder(project, "evaluate", "--json")["scores"]
    assert exported["metrics"]["after"]["loss"] == pytest.approx(base["loss"], rel=1e-3)
    assert onnx["loss"] == exported["metrics"]["after"]["loss"]


def test_qlora_trains_the_named_layers_and_merges_into_the_weights_as_they_were(make, put_tiny, run_scaffolder):
    if not QLORA.is_dir() and importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("QLoRA needs bitsandbytes: `make venv` installs it")
    project = project_of(make, put_tiny, "llama", targets="attention", export_preset="onnx-fp32")
    # The form offers QLoRA for cards alone; the processor can do it, too.
    for path in (project / "scaffolder.toml", project / "gen-model" / "onnx-fp32.json"):
        text = path.read_text(encoding="utf-8")
        path.write_text(
            text.replace("fine-tuning/lora.json", "fine-tuning/qlora.json").replace("adapters/lora", "adapters/qlora"),
            encoding="utf-8",
        )
    tuned, exported = run_scaffolder(project, "run", "all", "--json", packages=[QLORA])
    settings = json.loads((project / "fine-tuning/adapters/qlora/adapter/adapter_config.json").read_text("utf-8"))
    names = {name.rpartition(".")[2] for name in settings["target_modules"]}
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj"}
    # Merged in 32 bits nothing is lost: the rounding to 4 bits was for training alone.
    assert exported["metrics"]["after"]["loss"] == pytest.approx(tuned["metrics"]["after"]["loss"], rel=1e-3)


def test_adapter_stays_an_input(finished, run_scaffolder):
    project, tuned, _ = finished("llama")
    *_, exported = run_scaffolder(project, "run", "gen-model", "--preset", "adapters", "--json")
    assert (project / "gen-model" / "adapters" / "adapter_weights.onnx_adapter").is_file()
    assert exported["metrics"]["after"]["loss"] == pytest.approx(tuned["metrics"]["after"]["loss"], rel=1e-3)
    assert exported["metrics"]["before"]["loss"] == pytest.approx(tuned["metrics"]["before"]["loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("architecture", "preset"),
    # Phi-3's layers for queries, keys and values are one, and apart in the graph.
    [("llama-chatml", "adapters-int8"), ("llama-chatml", "adapters-int4"), ("phi3", "adapters-int8")],
)
def test_adapter_is_an_input_of_a_quantised_model(architecture, preset, finished, run_scaffolder):
    project, tuned, _ = finished(architecture)
    *_, exported = run_scaffolder(project, "run", "gen-model", "--preset", preset, "--json")
    assert exported["metrics"]["after"]["loss"] == pytest.approx(tuned["metrics"]["after"]["loss"], rel=0.1)


@pytest.mark.parametrize("quantiser", ["rtn", "kquant", "gptq"])
def test_quantised_base_is_tuned_and_served(quantiser, make, put_tiny, run_scaffolder):
    project = project_of(make, put_tiny, "llama", method="quantise-then-lora", base_quantiser=quantiser)
    tuned, exported = run_scaffolder(project, "run", "all", "--json")
    assert tuned["metrics"]["kind"] == "adapter"
    assert (project / "gen-model" / "quantised-adapters" / "adapter_weights.onnx_adapter").is_file()
    assert list(candidates(find_project(project))) == ["base", "adapter", "quantised-adapters"]
    shown = run_scaffolder(project, "upload", "hf", "--model", "adapter", "--dry-run", "--json")
    assert "trained over this base as a pass had quantised it" in shown["card"]
    assert not any(path.startswith("model") for path in shown["files"])
    # All were measured on the quantised base.
    names = [part for name in ("base", "quantised", "adapter") for part in ("--model", name)]
    told = run_scaffolder(project, "evaluate", *names, "--json")
    base, quantised, adapter = (score["loss"] for score in told["scores"])
    before, after = tuned["metrics"]["before"]["loss"], tuned["metrics"]["after"]["loss"]
    assert before == pytest.approx(quantised, rel=1e-4) != pytest.approx(base, rel=1e-4)
    assert after == pytest.approx(adapter, rel=1e-4) != pytest.approx(before, rel=1e-4)
    assert exported["metrics"]["before"]["loss"] == pytest.approx(before, rel=0.02)
    assert exported["metrics"]["after"]["loss"] == pytest.approx(after, rel=0.02)


def test_model_made_of_files_that_changed_is_refused(make, put_tiny, cli, monkeypatch):
    project = project_of(make, put_tiny, "gemma3")
    made = tomllib.loads((project / "scaffolder.toml").read_text(encoding="utf-8"))["model"]["path"]
    source = project / made.removesuffix("-text")
    monkeypatch.chdir(project)
    assert cli("run", "all", "--dry-run").code == 0
    config = source / "config.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    for options in ([], ["--dry-run"], ["--rehash"]):
        result = cli("run", "fine-tuning", *options)
        assert result.code == 2
        assert f"{made} was made from another {made.removesuffix('-text')} than is there now" in result.err
        assert f"python model-cache/text_model.py {made.removesuffix('-text')}" in result.err
    config.unlink()
    assert cli("run", "all", "--dry-run").code == 0
    (project / made / "made-from.json").write_text("{", encoding="utf-8")
    assert cli("run", "all", "--dry-run").code == 2


def rescale(project, *arguments):
    """Run the script that rescales a project's model, in the environment that it needs."""
    command = [os.environ["SCAFFOLDER_AWQ"], "model-cache/awq.py", "--grid", "4", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


@pytest.mark.awq
@pytest.mark.parametrize(
    ("recipe", "answers"),
    [
        ("llama", {"prompt_template": "alpaca", "system_prompt": "Be brief."}),
        ("phi3", {"text_template": "Tell: {prompt}"}),
        ("qwen3", {"data_format": "messages"}),
        ("gemma3_text", {}),
    ],
)
def test_rescaled_base_is_tuned_and_served(recipe, answers, make, put_tiny, run_scaffolder):
    from safetensors.torch import load_file

    project = make(model=catalogue_name(recipe), hardware="cpu", **SETTINGS, method="quantise-then-lora",
                   base_quantiser="awq", **answers)  # fmt: skip
    target = project / tomllib.loads((project / "scaffolder.toml").read_text(encoding="utf-8"))["model"]["path"]
    source = target.with_name(target.name.removesuffix("-awq"))
    put_tiny(project, recipe, source)
    if "data_format" in answers:
        for file in (project / "datasets").glob("*.jsonl"):
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            roles = {"user": "prompt", "assistant": "response"}
            turns = [[{"role": role, "content": row[key]} for role, key in roles.items()] for row in rows]
            file.write_text("".join(json.dumps({"messages": each}) + "\n" for each in turns), encoding="utf-8")
    result = rescale(project)
    assert result.returncode == 0, result.stderr[-3000:]
    before, after = (load_file(folder / "model.safetensors") for folder in (source, target))
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert any(name.endswith("down_proj.weight") for name in changed)
    assert not any("embed" in name or "lm_head" in name for name in changed)
    assert {after[name].dtype for name in after} == {before[name].dtype for name in before}
    tuned, exported = run_scaffolder(project, "run", "all", "--json")
    assert list(candidates(find_project(project))) == ["base", "adapter", "quantised-adapters"]
    assert exported["metrics"]["after"]["loss"] == pytest.approx(tuned["metrics"]["after"]["loss"], rel=0.2)
    with (source / "config.json").open("a", encoding="utf-8") as file:
        file.write("\n")
    with pytest.raises(ConfigError, match="-awq was made from another"):
        run_workflows(find_project(project), "fine-tuning", on_event=lambda _: None)


@pytest.mark.awq
def test_what_can_not_be_rescaled_is_said(make, tmp_path):
    project = make(method="quantise-then-lora", base_quantiser="awq")
    missing = rescale(project)
    assert missing.returncode == 1
    assert "`scaffolder download` brings it" in missing.stderr
    plain = make("plain", method="quantise-then-lora") / "fine-tuning" / "quantise-then-lora.json"
    other = rescale(project, str(plain))
    assert other.returncode == 1
    assert "answer base_quantiser with awq" in other.stderr
    mistakes = {"{": "no JSON", "{}": "it has no 'input_model'", "[]": "an object is needed"}
    for text, told in mistakes.items():
        (tmp_path / "broken.json").write_text(text)
        broken = rescale(project, str(tmp_path / "broken.json"))
        assert (broken.returncode, f"broken.json: {told}" in broken.stderr) == (1, True)


@pytest.mark.parametrize("preset", ["onnx-int4", "onnx-int4-small", "onnx-int4-fast", "quantise-rtn"])
def test_other_preset_builds(preset, finished, run_scaffolder):
    project, *_ = finished("qwen2")
    *_, exported = run_scaffolder(project, "run", "gen-model", "--preset", preset, "--json")
    assert exported["output"] == f"gen-model/{preset}"
    assert exported["metrics"]["after"]["loss"] == pytest.approx(10.5, rel=0.2)  # random weights make 40
    assert json.loads((project / exported["output"] / "run.json").read_text(encoding="utf-8"))["files"]
