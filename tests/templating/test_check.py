"""`scaffolder template check` tells the author of a fork what its users would meet."""

import json

import pytest

from tests.templates import Template


@pytest.fixture
def template(home):
    return Template(home / "fork")


SIZE = {
    "size": {"type": "str", "choices": ["small", "large"], "default": "small"},
    "fast": {"type": "bool", "default": False},
}
FILES = {"settings.json.jinja": '{"size": {{ size | to_json }}}\n'}


def check(cli, *arguments):
    result = cli("template", "check", "~/fork", "--json", *arguments)
    return result.code, json.loads(result.out) if result.out else result.err


def test_sound_template_passes_with_every_answer(cli, template):
    template.release("v1.0.0", FILES, SIZE)
    template.release("v1.1.0", FILES, SIZE)
    code, report = check(cli)
    assert (code, report["findings"]) == (0, [])
    assert (report["version"], report["last"], report["cases"]) == ("v1.1.0", "v1.0.0", 3)
    assert check(cli, "--pairs")[1]["cases"] == 4
    # What is not released yet is looked at, too.
    (template.folder / "new.md").write_text("not committed")
    assert check(cli)[1]["version"].startswith("v1.1.0-1-g")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("tasks", ["touch evil"]), ("migrations", [{"version": "v1", "before": ["x"]}]), ("jinja_extensions", ["a.B"])],
)
def test_commands_are_found(cli, template, setting, value):
    template.release("v1.0.0", FILES, SIZE, **{setting: value})
    code, report = check(cli)
    assert code == 1
    assert [finding["check"] for finding in report["findings"]] == ["safe"]


def test_answer_that_breaks_a_file_is_named(cli, template):
    broken = {"settings.json.jinja": '{"size": {{ size | to_json }}{% if fast %},{% endif %}}\n'}
    template.release("v1.0.0", broken, SIZE)
    code, report = check(cli)
    assert code == 1
    [finding] = report["findings"]
    assert (finding["check"], finding["answers"]) == ("renders", {"fast": True})
    assert "settings.json cannot be read" in finding["message"]


def test_answer_that_projects_would_lose_is_named(cli, template):
    template.release("v1.0.0", FILES, SIZE)
    narrower = {**SIZE, "size": {"type": "str", "choices": ["small", "huge"], "default": "small"}}
    template.release("v1.1.0", FILES, narrower)
    code, report = check(cli)
    assert code == 1
    assert [(finding["check"], finding["answers"]) for finding in report["findings"]] == [
        ("updates", {"size": "large"})
    ]
    assert "lose their answer `size: large`" in report["findings"][0]["message"]


def test_template_of_this_installation_lies_under_the_home(cli, home):
    result = cli("template", "where")
    assert result.out.split()[0] == "~/.scaffolder/template.bundle"
    assert (home / ".scaffolder" / "template.bundle").is_file()
