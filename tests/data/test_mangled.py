"""Two hundred files that are broken or unusual: each is read right, or told with its line."""

import json

import pytest

from tests.data.mangled import KINDS, ROWS, files

COUNT = 200


@pytest.fixture
def report(cli, project):
    """The report on all of them, from two commands: one for pairs, one for conversations."""
    found = {mangled.name: mangled for mangled in files(COUNT, seed=11)}
    folder = project / "mangled"
    folder.mkdir()
    for name, mangled in found.items():
        (folder / name).write_bytes(mangled.content)
    reports = []
    for chat in (False, True):
        if chat:
            manifest = project / "scaffolder.toml"
            manifest.write_text(
                manifest.read_text().replace(
                    'prompt_column = "prompt"\nresponse_column = "response"', 'messages_column = "messages"'
                )
            )
        names = [folder / name for name in found if name.startswith("chat-") == chat]
        result = cli("data", "check", *names, "--json")
        assert result.code == 2
        reports.append(json.loads(result.out))
    return found, reports


def test_each_of_200_is_read_right_or_told_with_its_line(report):
    mangled, reports = report
    checked = {}
    for found in reports:
        for file in found["files"]:
            name = file["path"].partition("/")[2]
            errors = [f for f in found["findings"] if f["file"] == file["path"] and f["severity"] == "error"]
            checked[name] = (file, errors)
        # Some of the files are longer than 16 MB, some nested 200,000 deep.
        assert found["peak_memory"] < 600 * 2**20
    assert len(checked) == COUNT == len(mangled)
    assert {name.removeprefix("chat-").rpartition("-")[0] for name in checked} == set(KINDS)
    wrong = [wanted.name for wanted in mangled.values() if not _right(wanted, *checked[wanted.name])]
    assert wrong == []


def _right(wanted, file, errors):
    if wanted.kind is None:
        return not errors and file["good"] == wanted.good == ROWS
    places = [place for error in errors if error["kind"] == wanted.kind for place in error["places"]]
    told = any(place["message"] and wanted.line in (None, place["line"]) for place in places)
    return told and (wanted.good is None or file["good"] == wanted.good)


def test_import_takes_or_refuses_each_of_them(cli, project):
    outside = project.parent / "mangled"
    outside.mkdir()
    ended = []
    for mangled in files(len(KINDS), seed=5):
        path = outside / mangled.name
        path.write_bytes(mangled.content)
        output = f"datasets/{path.stem}-{path.suffix[1:]}.jsonl"
        result = cli("data", "import", path, "-o", output)
        assert result.code in (0, 1), (mangled.name, result.err)
        assert (project / output).is_file() == (result.code == 0)
        if result.code == 0:
            rows = [json.loads(line) for line in (project / output).read_text().split("\n") if line]
            assert rows
            assert all(isinstance(row, dict) for row in rows)
        else:
            assert result.err.startswith("error: ")
        ended.append(result.code)
    assert len(ended) == len(KINDS)
    assert ended.count(0) > len(KINDS) / 2
    assert not list((project / "datasets").glob(".*"))
