"""`scaffolder validate` says what cannot run here: packages that lack, memory that does not suffice."""

import json
import re

import pytest

from tests.environments import make_environment

SETTINGS = "[workflows.fine-tuning.set]\n"


def problems(cli, *arguments):
    result = cli("validate", *arguments, "--json")
    return result.code, json.loads(result.out)


def override(project, *lines):
    path = project / "scaffolder.toml"
    path.write_text(path.read_text().replace(SETTINGS, SETTINGS + "".join(f"{line}\n" for line in lines)))


def line_of(project, file, text):
    return next(n for n, line in enumerate((project / file).read_text().splitlines(), 1) if text in line)


def test_a_new_project_has_no_problem(project, cli):
    assert problems(cli) == (0, [])


@pytest.mark.olive
def test_option_without_its_package_is_named_with_its_place(project, cli):
    override(
        project, '"passes.lora.training_args.use_liger_kernel" = true', '"passes.lora.training_args.optim" = "lomo"'
    )
    code, found = problems(cli)
    assert code == 2
    assert {(problem["key"].rpartition(".")[2], problem["file"]) for problem in found} == {
        ("use_liger_kernel", "fine-tuning/lora.json"),
        ("optim", "fine-tuning/lora.json"),
    }
    # The file does not hold the keys, which the manifest sets: the nearest one above is the place.
    assert {problem["line"] for problem in found} == {line_of(project, "fine-tuning/lora.json", '"training_args"')}


@pytest.mark.olive
def test_pass_without_its_package_in_a_file(project, cli):
    make_environment(project, without=("bitsandbytes",))
    code, (found,) = problems(cli, "fine-tuning/qlora.json")
    assert code == 2
    assert "bitsandbytes" in found["message"]
    assert found["line"] == line_of(project, "fine-tuning/qlora.json", '"type": "QLoRA"')


def test_packages_are_not_looked_for_where_the_project_has_no_environment(project, cli, monkeypatch):
    # As in the command's own light environment, which has no Olive.
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert problems(cli, "fine-tuning/qlora.json") == (0, [])


def test_rows_beyond_the_machines_memory_are_told_with_what_fits(project, cli):
    override(project, '"passes.lora.training_args.per_device_train_batch_size" = 100000')
    # A warning: another machine may be the one that trains.
    code, (found,) = problems(cli)
    assert (code, found["severity"]) == (0, "warning")
    assert re.match(r"training on 100000 x \d+ tokens takes about [\d.]+ GB, this machine has ", found["message"])
    assert "--set passes.lora.training_args.per_device_train_batch_size=" in found["hint"]
    assert found["line"] == line_of(project, "fine-tuning/lora.json", "per_device_train_batch_size")
    assert found["column"] > 1


def test_rows_beyond_the_card_of_the_answers(tmp_path, cli, monkeypatch):
    answers = ["model=meta-llama/Llama-3.1-8B-Instruct", "hardware=cuda-8gb", "batch_size=64", "advanced=true"]
    given = [part for answer in answers for part in ("-d", answer)]
    assert cli("new", tmp_path / "card", "--defaults", "--no-git", *given).code == 0
    monkeypatch.chdir(tmp_path / "card")
    code, (found,) = problems(cli)
    assert (code, found["severity"]) == (2, "error")
    assert "the card that this project was made for has 8.0 GB" in found["message"]


def test_a_file_outside_of_projects_is_checked_for_its_form_alone(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text(
        '{"input_model": {"type": "HfModel", "model_path": "org/x"}, "passes": {"q": {"type": "QLoRA"}}}'
    )
    assert [found for found in problems(cli, "a.json")[1] if "bitsandbytes" in found["message"]] == []
