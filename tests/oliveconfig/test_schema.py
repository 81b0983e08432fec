from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from scaffolder.oliveconfig import dumps
from scaffolder.oliveconfig.schema import PATH, canonical, definition, names, parameters, resolve, schema

from .configurations import HERE, load, valid_configs

ROOT = HERE.parents[1]
QUIET = {"CI": "1", "OLIVE_DISABLE_TELEMETRY": "1", "ORT_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
CANONICAL = ["e2e8", "kqm_share", "mixgptq_rtn8_tied", "ml_fp32", "qlora_adamw", "rtn_lora_hook", "seed_lora"]


def run(*command, cwd=ROOT):
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        check=False,
    )


def needs_olive():
    try:
        installed = (version("olive-ai"), version("transformers"))
    except PackageNotFoundError:
        pytest.skip("Olive is not installed")
    made_from = (schema()["x-olive-version"], schema()["x-transformers-version"])
    if installed != made_from:
        pytest.skip(f"the schema is of {made_from}, installed is {installed}")


def references(part):
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_the_schema_says_what_it_was_made_from():
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema()["x-olive-version"] == "0.13.0"
    assert schema()["x-transformers-version"]


def test_every_reference_leads_to_a_definition():
    found = set(references(schema()))
    assert len(found) > 100
    assert {reference.removeprefix("#/$defs/") for reference in found} <= set(schema()["$defs"])


def test_the_schema_holds_every_pass_and_every_training_argument():
    assert len(names("pass")) == 81
    training = resolve(parameters("pass.LoRA")["training_args"]["anyOf"][0])["properties"]
    assert len(training) > 100
    assert {"learning_rate", "eval_strategy", "train_sampling_strategy", "overwrite_output_dir"} <= set(training)
    assert "evaluation_strategy" not in training


def test_names_are_found_in_any_case():
    assert canonical("pass", "qlora") == "QLoRA"
    assert canonical("pass", "none") == ""
    assert definition("pass.None") == {}


def test_the_file_is_read_by_plain_json():
    assert json.loads(PATH.read_text(encoding="utf-8")) == schema()


@pytest.mark.parametrize("name", CANONICAL)
def test_another_validator_accepts_canonical_configurations(name):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema())
    assert [error.message for error in validator.iter_errors(valid_configs()[name])] == []


def test_another_validator_finds_slips_too():
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema())
    config = valid_configs()["e2e8"]
    config["passes"]["lora"]["lora_r"] = 8
    config["data_configs"][0]["pre_process_data_config"]["corpus_strategy"] = "join"
    found = {error.message for error in jsonschema.Draft202012Validator(schema()).iter_errors(config)}
    assert any("lora_r" in message for message in found)
    assert any("corpus_strategy" in message for message in found)


@pytest.mark.olive
def test_the_shipped_schema_is_that_of_the_installed_olive():
    needs_olive()
    done = run("tools/generate_olive_schema.py", "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.olive
def test_olive_takes_what_is_valid_and_ignores_nothing_in_it(project):
    needs_olive()
    old = {f"old_{path.stem}": load(path) for path in (HERE / "seeds").glob("*.json")}
    for name, config in {**valid_configs(), **old}.items():
        (project / f"{name}.json").write_text(dumps(config), encoding="utf-8")
    files = [f"{name}.json" for name in (*valid_configs(), *old)]
    done = run(HERE / "olive_opinion.py", *files, cwd=project)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    refused = {name for name, said in answers.items() if said}
    assert refused == {"old_lora.json", "old_qlora.json"}, answers
    assert len(answers) == 14
