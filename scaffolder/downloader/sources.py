"""Where a model can come from, one URI each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from scaffolder import presets
from scaffolder.errors import UsageError

_HUB = re.compile(
    r"hf://(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[^/@]+))?(/(?P<path>.+\.gguf))?", re.ASCII
)
_AZURE = re.compile(r"azureml://registries/(?P<registry>[\w-]+)/models/(?P<name>[\w.-]+)/versions/(?P<version>[\w.-]+)")
_FORMS = (
    "a catalogue name, organisation/name, hf://organisation/name@revision, a folder, a GGUF file, or "
    "azureml://registries/REGISTRY/models/NAME/versions/VERSION"
)


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of the hub; with `path`, one GGUF file of it that is converted."""

    repo: str
    revision: str | None = None
    path: str | None = None

    @property
    def id(self) -> str:
        """Folder below model-cache/."""
        return self.repo

    @property
    def uri(self) -> str:
        """The URI without the revision, which the lock holds beside it."""
        return f"hf://{self.repo}" + (f"/{self.path}" if self.path else "")


@dataclass(frozen=True, slots=True)
class AzureSource:
    """A version of a model in an Azure Machine Learning registry."""

    registry: str
    name: str
    version: str

    @property
    def id(self) -> str:
        """Folder below model-cache/."""
        return f"{self.registry}/{self.name}"

    @property
    def uri(self) -> str:
        """As it was written."""
        return f"azureml://registries/{self.registry}/models/{self.name}/versions/{self.version}"


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A folder of this machine in the form of transformers, or a GGUF file."""

    path: Path

    @property
    def id(self) -> str:
        """Folder below model-cache/."""
        return f"local/{_name(self.path)}"

    @property
    def uri(self) -> str:
        """Its name alone: the lock is for other machines too."""
        return f"local:{self.path.name}"


@dataclass(frozen=True, slots=True)
class EmbeddedSource:
    """The model that a Python package carries."""

    @property
    def id(self) -> str:
        """Folder below model-cache/."""
        return presets.EMBEDDED_MODEL

    @property
    def uri(self) -> str:
        """The package with its version."""
        return f"package:{presets.EMBEDDED_WHEEL}"


Source = HubSource | AzureSource | LocalSource | EmbeddedSource


def parse(text: str) -> Source:
    """Return the source that a text names.

    A text that begins with `.`, `~` or `/`, or ends in `.gguf`, is a path; a hub id never is.

    Raises:
        UsageError: It has none of the known forms, or the path does not exist.
    """
    if text.startswith("hf://"):
        found = _HUB.fullmatch(text)
        if found is None:
            raise _no_form(text, "hf://organisation/name[@revision][/file.gguf]")
        return HubSource(found["repo"], found["revision"], found["path"])
    if text.startswith("azureml:"):
        found = _AZURE.fullmatch(text)
        if found is None:
            raise _no_form(text, "azureml://registries/REGISTRY/models/NAME/versions/VERSION")
        return AzureSource(found["registry"], found["name"], found["version"])
    if text == EmbeddedSource().uri:
        return EmbeddedSource()
    if _looks_like_a_path(text):
        return _local(text)
    if "://" in text:
        raise UsageError(f"`{text}` is no source of models", hint=_FORMS)
    return HubSource(presets.model_id(text))


def _looks_like_a_path(text: str) -> bool:
    return bool(re.match(r"[.~/\\]|file:|[A-Za-z]:", text)) or text.endswith(".gguf")


def _local(text: str) -> LocalSource:
    path = Path(text.removeprefix("file://")).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"unknown model `{text}`: there is no such path", hint=_FORMS)
    names = ("config.json", "adapter_config.json")
    if not (any((path / name).is_file() for name in names) if path.is_dir() else path.suffix == ".gguf"):
        raise UsageError(f"unknown model `{text}`: it has no config.json, and is no GGUF file", hint=_FORMS)
    return LocalSource(path.resolve())


def _no_form(text: str, form: str) -> UsageError:
    return UsageError(f"`{text}` is not of the form {form}")


def _name(path: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem if path.suffix == ".gguf" else path.name).strip("-.")
    return name or "model"
