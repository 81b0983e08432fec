"""The quick answer: given only while nothing at all has changed, and then without loading the command."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from scaffolder import plan, settings, unchanged
from scaffolder.project import find_project
from tests.conftest import MODEL
from tests.environments import claim_version, make_environment

pytestmark = pytest.mark.olive
ASK = ("run", "fine-tuning")


def settle(cli, *ask):
    """Ask until what was made a moment ago is old enough to be relied on."""
    for _ in range(5):
        assert cli(*ask).code == 0
        if unchanged.answer(ask) is not None:
            return
        time.sleep(1)
    pytest.fail("never answered at once")


@pytest.fixture(scope="module")
def copies(finished_project, tmp_path_factory):
    """Copies of the finished project, several at a time: most of them are old enough when their turn comes."""

    def copied():
        while True:
            folder = tmp_path_factory.mktemp("copies")
            yield from [shutil.copytree(finished_project, folder / f"{n}", symlinks=True) for n in range(8)]

    return copied()


@pytest.fixture
def answered(cli, copies, monkeypatch):
    """A finished project whose fine-tuning is answered at once, as the current folder."""
    root = next(copies)
    monkeypatch.chdir(root)
    settle(cli, *ASK)
    return root


def would_run(cli):
    """Return why the fine-tuning has to run, by the full look; None where it does not."""
    [planned] = json.loads(cli(*ASK, "-n", "--json").out)
    return planned["reason"] if planned["would_run"] else None


def set_back(path, change):
    """Change a file without a trace in its size and modification time."""
    before = path.stat()
    text = path.read_text()
    path.write_text(change(text))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def append(text):
    def edit(path):
        path.write_text(path.read_text() + text)

    return edit


def replace(old, new):
    def edit(path):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


def test_answers_as_the_full_look_does(cli, answered):
    quick = cli(*ASK)
    (answered / ".scaffolder" / "unchanged.json").unlink()
    full = cli(*ASK)
    assert (quick.code, quick.out, quick.err) == (full.code, full.out, full.err)
    assert quick.out == "fine-tuning/adapters/lora\n"
    assert cli(*ASK, "--quiet").err == ""


def test_answers_without_loading_the_command(answered):
    program = (
        "import sys\nfrom scaffolder.cli import main\n"
        "assert main(['run', 'fine-tuning']) == 0\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'typer', 'rich', 'pydantic', 'tomllib'}))"
    )

    def loaded():
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert "typer" in loaded()  # another search path than this process: it has to look itself once
    assert loaded().splitlines()[-1] == "[]"


def test_all_is_answered_with_what_it_needs(cli, answered):
    settle(cli, "run", "all")
    assert cli("run", "all").out == "fine-tuning/adapters/lora\ngen-model/onnx-int8\n"
    append("\n")(answered / "fine-tuning" / "lora.json")
    assert unchanged.answer(["run", "all"]) is None


def test_gates_are_held_each_time(cli, answered):
    replace("[gates]\n", "[gates]\nmax_loss = 100.0\n")(answered / "scaffolder.toml")
    for _ in range(2):
        time.sleep(2.1)
        assert cli("run", "all").code == 0
    assert unchanged.answer(["run", "all"]) is None


@pytest.mark.parametrize(
    ("file", "edit", "reason"),
    [
        ("datasets/train.jsonl", replace("Pick", "Take"), "datasets/train.jsonl changed"),
        ("fine-tuning/chat_data.py", append("\n# mine\n"), "fine-tuning/chat_data.py changed"),
        ("fine-tuning/lora.json", replace('"alpha": 32', '"alpha": 64'), "the configuration changed"),
        ("fine-tuning/lora.json", append("\n"), None),
        ("scaffolder.toml", replace('max_steps" = 4', 'max_steps" = 5'), "the configuration changed"),
        ("scaffolder.toml", append("\n# mine\n"), None),
        (f"{MODEL}/generation_config.json", append("\n"), f"{MODEL} changed"),
        ("fine-tuning/adapters/lora/run.json", replace('"id"', '"idd"'), "no verified result yet"),
        (
            "fine-tuning/adapters/lora/adapter/adapter_config.json",
            append("\n"),
            "the published files were changed or are incomplete",
        ),
    ],
)
def test_an_edit_ends_it(cli, answered, file, edit, reason):
    edit(answered / file)
    assert unchanged.answer(ASK) is None
    assert would_run(cli) == reason


def test_an_edit_that_sets_the_time_back_ends_it(cli, answered):
    set_back(answered / "datasets" / "train.jsonl", lambda text: text.replace("Pick", "Take"))
    assert unchanged.answer(ASK) is None
    assert would_run(cli) == "datasets/train.jsonl changed"


def test_another_file_of_the_same_size_and_time_ends_it(cli, answered):
    path = answered / "datasets" / "train.jsonl"
    other = path.with_name("other")
    shutil.copy2(path, other)
    set_back(other, lambda text: text.replace("Pick", "Take"))
    other.replace(path)
    assert unchanged.answer(ASK) is None
    assert would_run(cli) == "datasets/train.jsonl changed"


def test_a_touched_file_is_looked_at_and_answered_again(cli, answered):
    (answered / "datasets" / "train.jsonl").touch()
    assert unchanged.answer(ASK) is None
    settle(cli, *ASK)


def test_a_file_more_or_less_ends_it(cli, answered):
    (answered / MODEL / "more.json").write_text("{}")
    assert unchanged.answer(ASK) is None
    assert would_run(cli) == f"{MODEL} changed"
    (answered / MODEL / "more.json").unlink()
    settle(cli, *ASK)
    (answered / "fine-tuning/adapters/lora/adapter/adapter_model.safetensors").unlink()
    assert unchanged.answer(ASK) is None


def test_a_text_that_comes_to_name_a_file_ends_it(cli, answered):
    model_type = json.loads((answered / "fine-tuning" / "lora.json").read_text())["input_model"]["type"]
    (answered / model_type).write_text("now an input")
    assert unchanged.answer(ASK) is None
    assert would_run(cli) == f"{model_type} changed"


def test_what_patterns_name_is_looked_up_each_time(answered):
    project = find_project()
    train = "data_configs.0.load_dataset_config.data_files"
    assert plan.looked_for(project, plan.resolve(project, "fine-tuning"))
    assert plan.looked_for(project, plan.resolve(project, "fine-tuning", overrides={train: "data/tr*.jsonl"})) is None


def test_another_environment_or_version_ends_it(cli, answered, monkeypatch):
    packages = make_environment(answered)
    assert unchanged.answer(ASK) is None
    settle(cli, *ASK)
    claim_version(packages, "peft", "0.21.99")
    assert unchanged.answer(ASK) is None
    assert would_run(cli) == "peft is now 0.21.99"


def test_metadata_edited_in_place_ends_it(cli, trained):
    packages = make_environment(trained)
    claim_version(packages, "peft", "0.21.98")
    [info] = packages.glob("peft-*.dist-info")
    assert cli(*ASK).code == 0
    settle(cli, *ASK)
    replace("0.21.98", "0.21.99")(info / "METADATA")
    assert unchanged.answer(ASK) is None
    assert would_run(cli) == "peft is now 0.21.99"


def test_another_interpreter_named_by_the_environment_ends_it(answered, monkeypatch):
    monkeypatch.setenv(settings.PYTHON_VARIABLE, sys.executable)
    assert unchanged.answer(ASK) is None


def test_another_search_path_ends_it(answered, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    assert unchanged.answer(ASK) is None


def test_a_copy_of_the_project_looks_itself(answered, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(answered, copy, symlinks=True)
    monkeypatch.chdir(copy)
    assert unchanged.answer(ASK) is None


def test_what_changed_while_the_command_looked_is_not_relied_on(cli, answered):
    path = answered / "datasets" / "train.jsonl"
    path.touch()
    assert cli(*ASK).code == 0
    assert unchanged.answer(ASK) is None


@pytest.mark.parametrize("more", [["--dry-run"], ["--set", "a.b=1"], ["--preset", "dora"], ["--restart"], ["--json"]])
def test_options_are_for_the_full_look(answered, more):
    assert unchanged.answer([*ASK, *more]) is None


def test_an_unreadable_memory_is_none(cli, answered):
    memory = answered / ".scaffolder" / "unchanged.json"
    for content in ("{", "[]", "{}", '{"form": 0, "answers": {"fine-tuning": {}}}'):
        memory.write_text(content)
        assert unchanged.answer(ASK) is None
        assert cli(*ASK).code == 0
