"""A model's own Python code runs only where it was trusted at its locked commit."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from scaffolder import modellock
from scaffolder.content import Hashes
from tests.conftest import MODEL

ID = MODEL.removeprefix("model-cache/")
COMMIT = "c" * 40
CODE = """\
from pathlib import Path
from transformers import LlamaConfig

Path({marker!r}).touch()


class OwnConfig(LlamaConfig):
    model_type = "own"
"""


@pytest.fixture
def with_code(tiny_project):
    """A project whose model brings a configuration class of its own; returns the file that it touches when run."""
    marker = tiny_project / "code-ran"
    folder = tiny_project / MODEL
    (folder / "own.py").write_text(CODE.format(marker=str(marker)))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoConfig": "own.OwnConfig"}}))
    return marker


def without_own_class(root):
    """Make the model one that transformers does not know without that code."""
    path = root / MODEL / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "own"}))


def lock(root, commit=COMMIT):
    model = modellock.of_folder(root / MODEL, Hashes(root / "memory.json"), source=f"hf://{ID}")
    modellock.put(root, ID, modellock.LockedModel(model.source, model.files, commit))


def trust(root, commit=COMMIT):
    with (root / "scaffolder.toml").open("a") as manifest:
        manifest.write(f'\n[trust]\n"{ID}" = "{commit}"\n')


def switch_on(root):
    path = root / "fine-tuning" / "lora.json"
    config = json.loads(path.read_text())
    config["input_model"]["load_kwargs"] = {"trust_remote_code": True}
    path.write_text(json.dumps(config, indent=4))


def answer(cli):
    return cli("generate", "Hello", "--model", "base", "--max-new-tokens", "2", "--quiet")


def test_configuration_that_switches_code_on_is_refused(cli, tiny_project):
    switch_on(tiny_project)
    result = cli("validate", "fine-tuning")
    assert result.code == 2
    assert "would let Python code of the model run with your rights" in result.err + result.out
    assert "not named under [trust]" in result.err + result.out


def test_trust_counts_at_the_locked_commit_alone(cli, tiny_project):
    switch_on(tiny_project)
    lock(tiny_project)
    trust(tiny_project, "d" * 40)
    result = cli("validate", "fine-tuning")
    assert result.code == 2
    assert f"trusts {ID} at commit {'d' * 40}" in result.err + result.out


def test_trusted_code_is_a_warning(cli, tiny_project):
    switch_on(tiny_project)
    lock(tiny_project)
    trust(tiny_project)
    result = cli("validate", "fine-tuning")
    assert result.code == 0
    assert "lets Python code" in result.err + result.out


def test_trust_takes_full_commits_only(cli, tiny_project):
    trust(tiny_project, "main")
    result = cli("validate")
    assert result.code == 2
    assert f"trust.{ID}" in result.err


def test_missing_model_file_stops_a_run_and_a_changed_one_is_told(cli, tiny_project):
    lock(tiny_project)
    (tiny_project / MODEL / "tokenizer_config.json").write_text("{}")
    result = cli("validate", "fine-tuning")
    assert result.code == 0
    assert f"{MODEL}/tokenizer_config.json has 2 bytes instead of" in result.err + result.out
    (tiny_project / MODEL / "tokenizer_config.json").unlink()
    result = cli("validate", "fine-tuning")
    assert result.code == 2
    assert f"{MODEL}/tokenizer_config.json is missing" in result.err + result.out


@pytest.mark.olive
def test_code_beside_a_known_architecture_is_passed_over(cli, tiny_project, with_code):
    assert answer(cli).code == 0
    assert not with_code.exists()


@pytest.mark.olive
def test_model_that_needs_its_code_is_refused(cli, tiny_project, with_code):
    without_own_class(tiny_project)
    lock(tiny_project)
    result = answer(cli)
    assert result.code == 1
    assert "Python code of its own" in result.err
    assert "[trust]" in result.err
    assert not with_code.exists()


@pytest.mark.olive
def test_model_builder_does_not_run_code_either(cli, tiny_project, with_code):
    # It trusts every model where nothing else is said.
    result = cli("run", "gen-model", "--preset", "base-onnx-int8", "--quiet")
    assert result.code == 0, result.err
    assert not with_code.exists()


@pytest.mark.olive
def test_trusted_file_that_changed_is_refused(cli, tiny_project, with_code):
    lock(tiny_project)
    trust(tiny_project)
    code = tiny_project / MODEL / "own.py"
    code.write_text(code.read_text() + "\n# changed\n")
    result = answer(cli)
    assert result.code == 1
    assert "own.py is not the file that was trusted" in result.err
    assert not with_code.exists()


def loaded(root, name):
    """Load a configuration with code switched on, behind the worker's guard, in a process of its own."""
    script = (
        "import sys; from pathlib import Path; from scaffolder.worker.trust import guard; guard(Path(sys.argv[1]));"
        "from transformers import AutoConfig; AutoConfig.from_pretrained(sys.argv[2], trust_remote_code=True)"
    )
    command = [sys.executable, "-c", script, str(root), str(root / name)]
    environment = {**os.environ, "HF_MODULES_CACHE": str(root / "modules"), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.olive
def test_trusted_code_runs_from_its_folder_and_unchanged_copies_alone(tiny_project, with_code):
    without_own_class(tiny_project)
    lock(tiny_project)
    trust(tiny_project)
    elsewhere = tiny_project / "gen-model" / "merged"
    shutil.copytree(tiny_project / MODEL, elsewhere)
    code = (elsewhere / "own.py").read_text()

    def refused():
        result = loaded(tiny_project, "gen-model/merged")
        return "Python code of its own" in result.stderr and not with_code.exists()

    (elsewhere / "own.py").write_text(code + "\n# changed\n")
    assert refused()
    (elsewhere / "own.py").unlink()
    assert refused()
    (elsewhere / "own.py").write_text(code)
    (elsewhere / "more.py").write_text("")
    assert refused()
    (elsewhere / "more.py").unlink()
    for name in (MODEL, "gen-model/merged"):
        result = loaded(tiny_project, name)
        assert result.returncode == 0, result.stderr
        assert with_code.exists()
        with_code.unlink()


OWN_CLASS = """

from transformers import models


class LlamaForCausalLM(models.llama.LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.mark.olive
def test_trusted_model_is_tuned_exported_and_compared(cli, tiny_project, with_code, monkeypatch):
    """A merged model is a folder of its own, with a copy of the code."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tiny_project / "modules"))
    without_own_class(tiny_project)
    code = tiny_project / MODEL / "own.py"
    code.write_text(code.read_text() + OWN_CLASS)
    path = tiny_project / MODEL / "config.json"
    classes = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.LlamaForCausalLM"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": classes}))
    lock(tiny_project)
    trust(tiny_project)
    for name in ("fine-tuning/lora.json", "gen-model/onnx-int8.json"):
        config = json.loads((tiny_project / name).read_text())
        config["input_model"]["load_kwargs"] = {"trust_remote_code": True}
        (tiny_project / name).write_text(json.dumps(config, indent=4))
    result = cli("run", "all", "--quiet")
    assert result.code == 0, result.err
    assert with_code.exists()
    compared = cli("evaluate", "-m", "merged", "-m", "onnx", "--quiet")
    assert compared.code == 0, compared.err
