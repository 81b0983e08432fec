"""The only importer of azure.ai.ml: a model of an Azure Machine Learning registry as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaffolder.errors import EnvironmentFault, ScaffolderError

if TYPE_CHECKING:
    from pathlib import Path

    from scaffolder.downloader.sources import AzureSource

_INSTALL = "pip install 'olive-scaffolder[azureml]'"


def fetch(source: AzureSource, folder: Path) -> Path:
    """Download a model version into `folder` and return the folder in it that holds the model in transformers' form.

    Signs in with DefaultAzureCredential: environment variables, managed identity, `az login` and others in turn.

    Raises:
        EnvironmentFault: azure-ai-ml is not installed, nobody is signed in, or the service is not reached.
        ScaffolderError: There is no such model, or it has no folder that transformers can read.
    """
    try:
        from azure.ai.ml import MLClient
        from azure.core.exceptions import AzureError, ClientAuthenticationError, ResourceNotFoundError
        from azure.identity import CredentialUnavailableError, DefaultAzureCredential
    except ImportError as error:
        raise EnvironmentFault(
            "models of Azure Machine Learning need the package azure-ai-ml", hint=_INSTALL
        ) from error
    try:
        client = MLClient(DefaultAzureCredential(), registry_name=source.registry)
        client.models.download(name=source.name, version=source.version, download_path=str(folder))
    except ResourceNotFoundError as error:
        raise ScaffolderError(f"{source.uri} does not exist, or you may not read it") from error
    except (ClientAuthenticationError, CredentialUnavailableError) as error:
        raise EnvironmentFault(
            "not signed in to Azure", hint="`az login`, or set AZURE_CLIENT_ID and its kin"
        ) from error
    except AzureError as error:
        raise EnvironmentFault(f"Azure Machine Learning failed: {_first_line(error)}") from error
    except Exception as error:
        # azure-ai-ml has errors of its own, without a common base that it exports.
        if not type(error).__module__.startswith("azure"):
            raise
        raise ScaffolderError(f"{source.uri} cannot be downloaded: {_first_line(error)}") from error
    return model_folder(folder, source.uri)


def model_folder(folder: Path, uri: str) -> Path:
    """Return the folder nearest to the root that holds `config.json`: packages for MLflow keep it further down."""
    found = sorted(folder.rglob("config.json"), key=lambda path: (len(path.parts), path))
    if not found:
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        raise ScaffolderError(f"{uri} holds no model in the form of transformers", hint=f"there are: {names[:8]}")
    return found[0].parent


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
