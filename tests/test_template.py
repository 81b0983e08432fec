import json
import re
import tomllib

import pytest

from scaffolder import oliveconfig
from tests.conftest import REPOSITORY

CASES = [
    {"model": "HuggingFaceTB/SmolLM2-135M-Instruct", "device": "cpu"},
    {"model": "microsoft/Phi-3.5-mini-instruct", "device": "cuda"},
    {"model": "other", "model_id": "someone/some-model", "device": "cpu"},
    {"model": "Qwen/Qwen2.5-0.5B-Instruct", "device": "cuda"},
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case.get('model_id', case['model'])}-{case['device']}")
def rendered(request, cli, tmp_path):
    answers = [part for key, value in request.param.items() for part in ("-d", f"{key}={value}")]
    assert cli("new", tmp_path / "travel", "--defaults", "--no-git", *answers).code == 0
    return tmp_path / "travel"


def text_files(root):
    return [path for path in root.rglob("*") if path.is_file() and path.suffix not in {".jsonl"}]


def test_every_configuration_is_strictly_valid(rendered):
    configurations = [*rendered.glob("fine-tuning/*.json"), *rendered.glob("gen-model/*.json")]
    assert len(configurations) >= 6
    for path in configurations:
        json.loads(path.read_text())  # as Olive reads it
        assert oliveconfig.check(oliveconfig.read(path), root=rendered) == []


def test_nothing_of_the_template_is_left(rendered):
    for path in text_files(rendered):
        content = path.read_text()
        assert not re.search(r"\{\{|\{%|%\}", content), path
        assert str(REPOSITORY) not in content or path.name == ".copier-answers.yml"
        assert content.endswith("\n"), path


def test_manifest_names_files_that_exist(rendered):
    manifest = tomllib.loads((rendered / "scaffolder.toml").read_text())
    for workflow in manifest["workflows"].values():
        assert (rendered / workflow["config"]).is_file()
    assert (rendered / manifest["dataset"]["train"]).is_file()
    assert (rendered / manifest["dataset"]["eval"]).is_file()


def test_python_files_compile(rendered):
    programs = list(rendered.rglob("*.py"))
    assert {"app.py", "chat_data.py"} <= {path.name for path in programs}
    for path in programs:
        assert compile(path.read_text(), path.name, "exec")


def test_requirements_are_the_stack_lock(rendered):
    text = (rendered / "setup" / "requirements.txt").read_text()
    stack = "cuda" if "onnxruntime-genai-cuda" in text else "cpu"
    assert (REPOSITORY / "scaffolder" / "catalog" / "locks" / f"{stack}.txt").read_text().strip() in text


def test_cuda_lock_differs_by_the_packages_for_cards_alone():
    from scaffolder import presets

    cpu, cuda = presets.lock("cpu"), presets.lock("cuda")
    renamed = {"onnxruntime": "onnxruntime-gpu", "onnxruntime-genai": "onnxruntime-genai-cuda"}
    expected = {renamed.get(name, name): version for name, version in cpu.items()}
    expected["onnxruntime-genai-cuda"] = "0.15.1"  # the first that is built for CUDA 13, as the others are
    assert {name: version for name, version in cuda.items() if name in expected} == expected
    assert cuda.keys() - expected.keys() == {"bitsandbytes", "liger-kernel"}


@pytest.mark.olive
def test_lock_is_what_is_installed():
    import importlib.metadata

    from scaffolder import presets

    installed = {name: importlib.metadata.version(name).partition("+")[0] for name in presets.lock("cpu")}
    assert installed == presets.lock("cpu")
