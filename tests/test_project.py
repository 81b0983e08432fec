"""The manifest's own rules."""

import pytest

from scaffolder.errors import UsageError
from scaffolder.project import DatasetSection


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
