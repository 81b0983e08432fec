"""Models of Azure Machine Learning: of a registry as files, and into a workspace as a version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaffolder.azureml.errors import NotFound, need_sdk, our_errors
from scaffolder.errors import ScaffolderError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scaffolder.azureml.workspace import Workspace

# Of what a version is made of; a version with the same is the same.
CONTENT_TAG = "scaffolder.content"


@dataclass(frozen=True, slots=True)
class Registered:
    """A version of a model.

    Attributes:
        name: Its name.
        version: Its version.
        uri: `azureml:NAME:VERSION`.
        new: Whether this call made it.
    """

    name: str
    version: str
    uri: str
    new: bool


def fetch(uri: str, registry: str, name: str, version: str, folder: Path) -> Path:
    """Download a registry's model version into `folder` and return the folder in it that transformers can read.

    Signs in with DefaultAzureCredential: environment variables, managed identity, `az login` and others in turn.

    Raises:
        EnvironmentFault: azure-ai-ml is not installed, nobody is signed in, or the service is not reached.
        ScaffolderError: There is no such model, or it has no folder that transformers can read.
    """
    need_sdk()
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    with our_errors(uri):
        client = MLClient(DefaultAzureCredential(), registry_name=registry)
        client.models.download(name=name, version=version, download_path=str(folder))
    return model_folder(folder, uri)


def model_folder(folder: Path, uri: str) -> Path:
    """Return the folder nearest to the root that holds `config.json`: packages for MLflow keep it further down."""
    found = sorted(folder.rglob("config.json"), key=lambda path: (len(path.parts), path))
    if not found:
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        raise ScaffolderError(f"{uri} holds no model in the form of transformers", hint=f"there are: {names[:8]}")
    return found[0].parent


def register(
    workspace: Workspace,
    name: str,
    path: str,
    *,
    content: str,
    version: str | None,
    description: str,
    tags: Mapping[str, str],
) -> Registered:
    """Make a model's next version, or the named one; one with the same content counts as it.

    Args:
        workspace: Where.
        name: Of the model.
        path: A local folder, which is sent, or `azureml://jobs/…/outputs/…`, which is not sent again.
        content: What stands for the files' content.
        version: None for the next.
        description: In words.
        tags: Lineage and figures.

    Raises:
        EnvironmentFault: The service is not reached.
        ScaffolderError: It refused, or that version exists with another content.
    """
    need_sdk()
    from azure.ai.ml.entities import Model

    known = _versions(workspace, name)
    same = next((each for each, held in known.items() if held == content and version in (None, each)), None)
    if same is not None:
        return Registered(name, same, f"azureml:{name}:{same}", new=False)
    if version in known:
        raise ScaffolderError(
            f"{name} has a version {version} with other content, and versions do not change",
            hint="leave out --version for the next one",
        )
    model = Model(
        name=name,
        version=version,
        path=path,
        type="custom_model",
        description=description,
        tags={**tags, CONTENT_TAG: content},
    )
    with our_errors(f"the model {name}"):
        made = workspace.client.models.create_or_update(model)
    return Registered(name, str(made.version), f"azureml:{name}:{made.version}", new=True)


def _versions(workspace: Workspace, name: str) -> dict[str, str]:
    """Return what each version of a model is made of, newest first; none where there is no such model."""
    try:
        with our_errors(f"the model {name}"):
            return {str(each.version): (each.tags or {}).get(CONTENT_TAG, "") for each in workspace.models(name)}
    except NotFound:
        return {}
