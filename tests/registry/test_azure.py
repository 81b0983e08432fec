"""Models registered in a workspace of Azure Machine Learning: the real SDK, the stand-in and azurite."""

import json

import pytest

from tests.hub_client import command
from tests.remote.conftest import AZURE, AZURE_TABLE, add_target

EXPORT = "gen-model/onnx-int8"


@pytest.fixture
def here(azure, trained, monkeypatch):
    """A finished project with the stand-in's workspace as its target."""
    for name, value in azure.variables.items():
        monkeypatch.setenv(name, value)
    azure.cloud.requests.clear()
    azure.cloud.resources.clear()
    add_target(trained, AZURE_TABLE, "cloud")
    return azure


def azure_test(function):
    for mark in AZURE:
        function = mark(function)
    return function


@azure_test
def test_versions_are_made_of_content_and_told_by_lineage(cli, here, trained):
    first = cli("upload", "azureml", "travel", "--description", "For trips", "--tag", "team=travel", "--json")
    assert first.code == 0, first.err
    assert json.loads(first.out)["uri"] == "azureml:travel:1"
    [made] = [each for key, each in here.cloud.resources.items() if "/models/travel/" in key]
    tags = made["properties"]["tags"]
    record = json.loads((trained / EXPORT / "run.json").read_text())
    assert (tags["run"], tags["base model"]) == (record["id"], "HuggingFaceTB/SmolLM2-135M-Instruct")
    assert tags["figure loss"] == f"{record['metrics']['after']['loss']:g}"
    assert (tags["team"], made["properties"]["description"]) == ("travel", "For trips")

    again = cli("upload", "azureml", "travel", "--json")
    assert (again.code, json.loads(again.out)["unchanged"]) == (0, True)
    assert len([key for key in here.cloud.resources if "/models/travel/" in key]) == 1

    adapter = cli("upload", "azureml", "travel", "--model", "adapter", "--json")
    assert json.loads(adapter.out)["uri"] == "azureml:travel:2"
    taken = cli("upload", "azureml", "travel", "--version", "2")
    assert taken.code == 1
    assert "version 2 with other content" in taken.err


@azure_test
def test_files_are_the_verified_ones_with_their_card(cli, here, trained):
    (trained / EXPORT / "notes.txt").write_text("private")
    result = cli("upload", "azureml", "travel")
    assert result.code == 0, result.err
    [made] = [each for key, each in here.cloud.resources.items() if "/models/travel/" in key]
    place = made["properties"]["modelUri"].partition("/paths/")[2]
    from tests.azure_stand_in.service import CONTAINER

    names = [name.removeprefix(place).lstrip("/") for name in here.cloud.storage.names(CONTAINER, place)]
    record = json.loads((trained / EXPORT / "run.json").read_text())
    assert set(names) == {*record["files"], "run.json", "README.md"}
    content = here.cloud.storage.get(CONTAINER, f"{place.rstrip('/')}/model.onnx")
    assert content == (trained / EXPORT / "model.onnx").read_bytes()


@azure_test
def test_dry_run_and_refusals_ask_nobody(cli, here, trained):
    shown = json.loads(cli("upload", "azureml", "--dry-run", "--json").out)
    assert (shown["name"], shown["workspace"]) == ("travel-onnx-int8", "space")
    assert "model.onnx" in shown["files"]
    no_job = cli("upload", "azureml", "--from-job")
    assert (no_job.code, "leave out --from-job" in no_job.err) == (2, True)
    (trained / EXPORT / "genai_config.json").write_text("{}")
    changed = cli("upload", "azureml")
    assert (changed.code, "was changed since it was verified" in changed.err) == (1, True)
    assert here.cloud.requests == []


@azure_test
def test_what_the_service_refuses_is_told_in_plain_words(cli, here):
    here.cloud.refuse["models"] = 403
    try:
        result = cli("upload", "azureml", "travel")
    finally:
        here.cloud.refuse.clear()
    assert result.code == 1
    assert "does not let you do that with the model travel" in result.err
    assert "AzureML Data Scientist" in result.err


def test_without_the_sdk_the_error_says_what_to_install(trained, tmp_path):
    add_target(trained, AZURE_TABLE, "cloud")
    (tmp_path / "azure").mkdir()
    (tmp_path / "azure" / "__init__.py").touch()
    result = command(trained, None, "upload", "azureml", PYTHONPATH=str(tmp_path))
    assert result.returncode == 4
    assert "pip install 'olive-scaffolder[azureml]'" in result.stderr


def test_workspace_has_to_be_named(cli, trained):
    result = cli("upload", "azureml")
    assert result.code == 2
    assert "no workspace is named" in result.err
    assert "is no target of kind azureml" in cli("upload", "azureml", "--on", "gone").err
