"""Four projects as plain folders: what a change of the template changes is seen in review, and updates keep edits."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scaffolder.cli import main

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {
    "newcomer": {},
    "expert": {
        "model": "SmolLM3-3B",
        "hardware": "cuda-24gb",
        "method": "dora",
        "r": 8,
        "eval_share": 0.1,
        "prompt_template": "alpaca",
        "text_template": "Translate: {prompt}",
        "system_prompt": "Answer briefly.",
        "epochs": 2,
    },
    "small-card": {"model": "Llama-3.1-8B-Instruct", "hardware": "cuda-8gb", "data_format": "messages"},
    "quantised-first": {"model": "gemma-3-4b-it", "method": "quantise-then-lora", "base_quantiser": "gptq"},
}
# Large files that come as they are, and where they come from.
SHIPPED = {
    "datasets/train.jsonl": "template/datasets/train.jsonl",
    "datasets/eval.jsonl": "template/datasets/eval.jsonl",
    ".vscode/schemas/olive-config.schema.json": "scaffolder/catalog/schemas/olive-config.schema.json",
    ".vscode/schemas/scaffolder.schema.json": "scaffolder/catalog/schemas/scaffolder.schema.json",
}


def golden_answers(name):
    return {"project_name": name, **CASES[name]}


def contents(folder):
    files = {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    answers = ".copier-answers.yml"
    return {**files, answers: re.sub(r"(?m)^(_commit|_src_path): .*\n", "", files[answers])}


def test_every_golden_project_is_compared():
    assert {path.name for path in GOLDEN.iterdir()} == set(CASES)
    assert len(list(GOLDEN.rglob("scaffolder.toml"))) == 4


@pytest.mark.parametrize("name", CASES)
def test_project_is_the_golden_one(name, make, template, request):
    made = contents(make(name, **golden_answers(name)))
    for path, source in SHIPPED.items():
        assert made.pop(path) == (template / source).read_text(encoding="utf-8")
    if request.config.getoption("--update-golden", default=False):
        write(GOLDEN / name, made)
    stored = contents(GOLDEN / name)
    assert sorted(made.keys() - stored.keys()) == [], "new files"
    assert sorted(stored.keys() - made.keys()) == [], "missing files"
    assert [path for path in made if made[path] != stored[path]] == [], "changed files"


@pytest.mark.parametrize("name", CASES)
def test_every_configuration_is_strictly_valid(name, make, monkeypatch, capsys):
    monkeypatch.chdir(make(name, **golden_answers(name)))
    assert main(["validate"]) == 0, capsys.readouterr().err


def write(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8", newline="\n")


def git(folder, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def tagged(template, tmp_path):
    """The template as a repository with the tag v1."""
    folder = tmp_path / "tagged"
    shutil.copytree(template, folder)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    release(folder, "v1")
    return folder


def release(folder, tag):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", tag)
    git(folder, "tag", tag)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", CASES)
def test_update_from_tag_to_tag_keeps_edits(name, tagged, tmp_path):
    from copier import run_copy, run_update

    from scaffolder.generator import _completed

    project = tmp_path / name
    answers = _completed(golden_answers(name))
    run_copy(str(tagged), project, data=answers, defaults=True, quiet=True)
    git(project, "init", "--quiet", "--initial-branch", "main")
    edit(project / "fine-tuning" / "lora.json", '"log_severity_level": 1', '"log_severity_level": 2')
    edit(project / "scaffolder.toml", "[workflows.gen-model]", '[workflows.mine]\nconfig = "a"\n\n[workflows.gen-model]')
    (project / "datasets" / "train.jsonl").write_text('{"prompt": "mine", "response": "too"}\n', encoding="utf-8")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "mine")
    before = (project / ".copier-answers.yml").read_text(encoding="utf-8")

    edit(tagged / "copier.yml", "warmup_steps=3", "warmup_steps=5")
    edit(tagged / "template" / "datasets" / "train.jsonl", "Rome", "Roma")
    release(tagged, "v2")
    run_update(project, defaults=True, overwrite=True, quiet=True)

    lora = (project / "fine-tuning" / "lora.json").read_text(encoding="utf-8")
    assert '"warmup_steps": 5' in lora
    assert '"log_severity_level": 2' in lora
    assert "[workflows.mine]" in (project / "scaffolder.toml").read_text(encoding="utf-8")
    assert "mine" in (project / "datasets" / "train.jsonl").read_text(encoding="utf-8")
    assert (project / ".copier-answers.yml").read_text(encoding="utf-8") == before.replace("_commit: v1", "_commit: v2")
    conflicts = subprocess.run(["git", "-C", str(project), "ls-files", "-u"], check=True, capture_output=True)
    assert conflicts.stdout == b""


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
