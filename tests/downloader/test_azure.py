"""Models of Azure Machine Learning registries, through the real SDK where it is installed."""

import json
import shutil

import pytest

from scaffolder.azureml import model_folder
from scaffolder.errors import ScaffolderError
from tests.azure_stand_in.cloud import light_python
from tests.hub_client import FILES, download, files_of

URI = "azureml://registries/acme/models/tiny/versions/3"
MODEL = "acme/tiny"


with_sdk = pytest.mark.azure


@pytest.fixture
def registry(tmp_path):
    from tests.azure_server import serve

    with serve(tmp_path) as found:
        files = {f"mlflow/data/model/{name}": content for name, content in FILES.items() if "/" not in name}
        found.models["tiny/3"] = {**files, "mlflow/MLmodel": b"flavors: {}"}
        yield found


@with_sdk
def test_model_of_a_registry(project, registry):
    result = download(project, None, URI, "--json", python=light_python(), **registry.variables)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["source"], found["uri"]) == ("azureml", URI)
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}
    assert files_of(project, MODEL) == {name: FILES[name] for name in wanted}
    assert registry.hosts == {"eastus.api.azureml.ms", "registry.blob.core.windows.net"}
    # Fetched again it has to be the same.
    shutil.rmtree(project / "model-cache/acme")
    registry.models["tiny/3"]["mlflow/data/model/config.json"] = b'{"model_type": "other"}'
    result = download(project, None, URI, "--locked", python=light_python(), **registry.variables)
    assert result.returncode == 1
    assert "config.json" in result.stderr
    assert not (project / "model-cache/acme/tiny").exists()


@with_sdk
def test_model_that_the_registry_does_not_have(project, registry):
    result = download(project, None, URI.replace("/3", "/4"), python=light_python(), **registry.variables)
    assert result.returncode == 1
    assert "does not exist, or you may not read it" in result.stderr


def test_without_the_sdk_the_error_says_what_to_install(project, tmp_path):
    # A package of that name without it stands in for an environment without the SDK.
    (tmp_path / "azure").mkdir()
    (tmp_path / "azure" / "__init__.py").touch()
    result = download(project, None, URI, PYTHONPATH=str(tmp_path))
    assert result.returncode == 4
    assert "pip install 'olive-scaffolder[azureml]'" in result.stderr
    assert not (project / "model-cache/acme/tiny").exists()


def test_model_lies_where_its_configuration_does(tmp_path):
    for name in ("mlflow/data/model/config.json", "mlflow/data/model/deeper/config.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert model_folder(tmp_path, URI) == tmp_path / "mlflow/data/model"
    with pytest.raises(ScaffolderError, match="no model in the form of transformers"):
        model_folder(tmp_path / "mlflow/data/model/deeper/none", URI)
