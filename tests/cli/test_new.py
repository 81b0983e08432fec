import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, git


def tree(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


def test_new_makes_a_git_repository_with_one_commit(cli, tmp_path):
    result = cli("new", tmp_path / "travel", "--defaults")
    assert result.code == 0
    assert result.out.strip() == str(tmp_path / "travel")
    assert len(git(tmp_path / "travel", "log", "--oneline").splitlines()) == 1
    assert git(tmp_path / "travel", "status", "--porcelain") == ""


def test_no_git_leaves_git_out(cli, tmp_path):
    assert cli("new", tmp_path / "travel", "--defaults", "--no-git").code == 0
    assert not (tmp_path / "travel" / ".git").exists()


def test_inside_a_repository_no_other_is_made(cli, tmp_path):
    git(tmp_path, "init", "--quiet")
    assert cli("new", tmp_path / "apps" / "travel", "--defaults").code == 0
    assert not (tmp_path / "apps" / "travel" / ".git").exists()


def test_first_commit_needs_no_identity(cli, tmp_path, monkeypatch):
    empty = tmp_path / "gitconfig"
    empty.write_text("")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(empty))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli("new", tmp_path / "travel", "--defaults").code == 0
    assert "scaffolder" in git(tmp_path / "travel", "log", "--format=%an")


def test_plain_copier_without_trust_gives_the_same_tree(cli, tmp_path):
    assert cli("new", tmp_path / "ours" / "travel", "--defaults").code == 0
    command = [sys.executable, "-m", "copier", "copy", "--defaults", "--quiet", "--vcs-ref", "HEAD"]
    subprocess.run([*command, str(REPOSITORY), str(tmp_path / "theirs" / "travel")], check=True, capture_output=True)
    ours, theirs = tree(tmp_path / "ours" / "travel"), tree(tmp_path / "theirs" / "travel")
    volatile = ".copier-answers.yml"
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name] and name != volatile] == []


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("smollm2-360m-instruct", "HuggingFaceTB/SmolLM2-360M-Instruct"),
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("someone/some-model", "someone/some-model"),
    ],
)
def test_model_is_a_catalogue_name_or_any_hub_id(cli, tmp_path, model, expected):
    assert cli("new", tmp_path / "travel", "--defaults", "-d", f"model={model}").code == 0
    config = json.loads((tmp_path / "travel" / "fine-tuning" / "lora.json").read_text())
    assert config["input_model"]["model_path"] == f"model-cache/{expected}"


def test_existing_folder_is_refused_and_left_alone(cli, tmp_path):
    (tmp_path / "travel").mkdir()
    (tmp_path / "travel" / "notes.txt").write_text("mine")
    result = cli("new", tmp_path / "travel", "--defaults")
    assert result.code == 2
    assert "exists and is not empty" in result.err
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["notes.txt"]


def test_empty_folder_is_taken(cli, tmp_path):
    (tmp_path / "travel").mkdir()
    assert cli("new", tmp_path / "travel", "--defaults").code == 0
    assert (tmp_path / "travel" / "scaffolder.toml").is_file()


def test_unknown_model_suggests_the_nearest(cli, tmp_path):
    result = cli("new", tmp_path / "travel", "--defaults", "-d", "model=smolm2-135m-instruct")
    assert result.code == 2
    assert "HuggingFaceTB/SmolLM2-135M-Instruct" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("modle=x/y", "unknown question `modle`"),
        ("device=tpu", "device"),
        ("project_name=-x-", "Start with a letter"),
        ("nonsense", "not of the form key=value"),
        ("r=abc", "`r` takes a whole number, not `abc`"),
        ("max_steps=1.5", "`max_steps` takes a whole number, not `1.5`"),
        ("learning_rate=fast", "`learning_rate` takes a number, not `fast`"),
        ("learning_rate=NaN", "`learning_rate` takes a number, not `nan`"),
        ("pre_commit=perhaps", "`pre_commit` takes true or false, not `perhaps`"),
        ("project_name=null", "`project_name` takes text, not `None`"),
        ("base_quantiser=awq", "`base_quantiser` is a question only where advanced and method == 'quantise-then-lora'"),
        ("prompt_text=foo", "`prompt_text` is a question only where advanced and prompt_template == 'custom'"),
    ],
)
def test_wrong_answer_is_named_and_nothing_is_made(cli, tmp_path, answer, message):
    result = cli("new", tmp_path / "travel", "--defaults", "-d", answer)
    assert result.code == 2
    assert message in result.err
    assert list(tmp_path.iterdir()) == []


def test_all_wrong_answers_are_named_at_once(cli, tmp_path):
    result = cli("new", tmp_path / "travel", "--defaults", "-d", "r=abc", "-d", "modle=x", "-d", "seed=[1]")
    assert result.code == 2
    for message in ("`modle`", "`r` takes", "`seed` takes a whole number, not `[1]`", "the template asks for: "):
        assert message in result.err


def test_answers_give_way_to_those_beside_a_preset(cli, tmp_path):
    assert cli("new", tmp_path / "lab", "--defaults", "--preset", "lab", "-d", "method=lora", "-d", "r=8.0").code == 0
    answers = (tmp_path / "lab" / ".copier-answers.yml").read_text(encoding="utf-8")
    assert "r: 8\n" in answers
    assert "base_quantiser" not in answers


def test_missing_template_is_named(cli, tmp_path):
    result = cli("new", tmp_path / "travel", "--defaults", "--template", str(tmp_path / "nowhere"))
    assert result.code in (1, 2)
    assert "nowhere" in result.err
    assert list(tmp_path.iterdir()) == []


def test_questions_without_a_terminal_are_a_usage_error(tmp_path):
    command = [sys.executable, "-m", "scaffolder", "new", str(tmp_path / "travel")]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "--defaults" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_json_names_what_was_made(cli, tmp_path):
    result = cli("new", tmp_path / "travel", "--defaults", "--json")
    assert Path(json.loads(result.out)["root"]) == tmp_path / "travel"
