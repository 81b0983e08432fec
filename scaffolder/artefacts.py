"""The forms of a project's model that can answer, and where each lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import plan
from scaffolder.errors import ScaffolderError, UsageError

if TYPE_CHECKING:
    from scaffolder.project import Project

FORMS = ("base", "adapter", "merged", "onnx")


@dataclass(frozen=True, slots=True)
class Artefact:
    """A model that the worker can load.

    Attributes:
        form: "base", "adapter", "merged" or "onnx".
        path: The model's folder.
        adapter: The adapter's folder, for the two forms that need one.
        template: A chat template in place of the tokenizer's own; an export carries its own already.
    """

    form: str
    path: Path
    adapter: Path | None = None
    template: Path | None = None

    def spec(self) -> dict[str, Any]:
        """Return what the worker's `load_model` takes."""
        folders = {"adapter": self.adapter, "template": self.template}
        return {"kind": self.form, "path": str(self.path), **{key: str(path) for key, path in folders.items() if path}}

    def model_bytes(self) -> int:
        """Return the size in bytes of weights and graphs: without tokenizer and settings."""
        endings = {".safetensors", ".onnx", ".data"}
        folders = [self.path, self.adapter] if self.adapter else [self.path]
        return sum(file.stat().st_size for folder in folders for file in folder.iterdir() if file.suffix in endings)


def find_artefact(project: Project, name: str) -> Artefact:
    """Return a form of the model by name ("base", "adapter", "merged", "onnx") or by its folder.

    A folder may be named from here, from the project's root or from `gen-model/`.

    Raises:
        UsageError: It is no form and no model folder.
        ScaffolderError: That form has not been made yet; the hint names the command.
    """
    template = project.manifest.dataset.prompt_template
    written = project.root / template if template else None
    if name == "base":
        folder = _existing(project.model_folder, f"scaffolder download {project.manifest.model.id}")
        return Artefact("base", folder, template=written)
    if name in ("adapter", "merged"):
        base = find_artefact(project, "base")
        return Artefact(name, base.path, _output(project, "adapter", "run fine-tuning"), written)
    if name == "onnx":
        return Artefact("onnx", _output(project, "onnx", "run gen-model"))
    places = (Path(name), project.root / name, project.root / "gen-model" / name)
    folder = next((place for place in places if place.is_dir()), Path(name))
    if (folder / "genai_config.json").is_file():
        return Artefact("onnx", folder)
    for adapter in (folder, folder / "adapter"):
        if (adapter / "adapter_config.json").is_file():
            return Artefact("adapter", find_artefact(project, "base").path, adapter, written)
    for model in (folder, folder / "model"):  # Olive puts a quantised model into a folder of its own
        if (model / "config.json").is_file():
            return Artefact("base", model, template=written)
    raise UsageError(f"`{name}` is no model", hint=f"use {', '.join(FORMS)} or the folder of a model")


def published(project: Project, form: str) -> Path | None:
    """Return the folder that the project's workflows publish a form in, if it has been made."""
    for name in project.manifest.workflows:
        output = plan.resolve(project, name).output
        found = output / "adapter" if form == "adapter" else output
        mark = "adapter_config.json" if form == "adapter" else "genai_config.json"
        if (found / mark).is_file():
            return found
    return None


def _output(project: Project, form: str, command: str) -> Path:
    found = published(project, form)
    if found is None:
        raise ScaffolderError(f"there is no {form} model yet", hint=f"scaffolder {command}")
    return found


def _existing(folder: Path, command: str) -> Path:
    if not folder.is_dir():
        raise ScaffolderError(f"missing model {folder.name}", hint=command)
    return folder
