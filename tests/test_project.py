"""The manifest's own rules."""

import pytest

from scaffolder.errors import UsageError
from scaffolder.generator import new_project
from scaffolder.project import DatasetSection, find_project


def dataset(text_template=None):
    return DatasetSection(train="train.jsonl", eval="eval.jsonl", text_template=text_template)


@pytest.mark.parametrize(
    ("template", "text", "asked"),
    [
        (None, "cat", "cat"),
        ("Translate: {prompt}", "cat", "Translate: cat"),
        ("{word}? {word}!", "{word}", "{word}? {word}!"),
        ('{"to": {text}}', "cat", '{"to": cat}'),
        ("{text} in {language}", '{"text": "cat", "language": "French"}', "cat in French"),
    ],
)
def test_question_gets_the_text_that_training_put_around_it(template, text, asked):
    assert dataset(template).question(text) == asked


@pytest.mark.parametrize("text", ["cat", '"cat"', '{"text": "cat"}'])
def test_several_columns_want_several_texts(text):
    with pytest.raises(UsageError, match="several columns") as error:
        dataset("{text} in {language}").question(text)
    assert error.value.hint == '\'{"language": "…", "text": "…"}\''


@pytest.mark.parametrize("template", [None, "Translate: {prompt}", "{text} in {language}"])
def test_sample_question_fits_every_template(template):
    asked = dataset(template).question(dataset(template).sample_question("cat"))
    assert asked == (template or "{prompt}").format(prompt="cat", text="cat", language="cat")


def test_commands_that_make_a_model_are_named_as_far_as_they_are_missing(tmp_path):
    root = tmp_path / "project"
    new_project(root, answers={"method": "quantise-then-lora", "base_quantiser": "awq"}, defaults=True, git=False)
    project = find_project(root)
    own = f"model-cache/{project.manifest.model.id}"
    assert project.manifest.model.path == f"{own}-awq"
    install = "python -m venv .venv-awq, then .venv-awq/bin/python -m pip install -r setup/awq.txt"
    rescale = ".venv-awq/bin/python model-cache/awq.py"
    assert project.how_to_get("model-cache/some/other") == "scaffolder download some/other"
    assert project.how_to_get(own) == "scaffolder download"
    assert project.how_to_get(f"{own}-awq") == f"scaffolder download, then {install}, then {rescale}"
    assert project.how_to_get(f"{own}-text-awq") == (
        f"scaffolder download, then python model-cache/text_model.py {own}, then {install}, then {rescale}"
    )
    (root / own).mkdir(parents=True)
    (root / ".venv-awq").mkdir()
    assert project.how_to_get(f"{own}-awq") == rescale
    for file in ("model-cache/awq.py", "setup/awq.txt"):
        assert (root / file).is_file()
        assert file.rpartition("/")[2] in (root / "README.md").read_text(encoding="utf-8")
