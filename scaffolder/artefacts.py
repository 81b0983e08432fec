"""The forms of a project's model that can answer, and where each lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import plan
from scaffolder.errors import ScaffolderError, UsageError
from scaffolder.records import adapter_of, read_record

if TYPE_CHECKING:
    from scaffolder.project import Project

FORMS = ("base", "quantised", "adapter", "merged", "onnx")
# In place of an adapter's name: answer as the base.
NO_ADAPTER = "none"
# As Olive's ExtractAdapters names the adapter that an export was made with.
OWN_ADAPTER = "adapter_weights.onnx_adapter"


@dataclass(frozen=True, slots=True)
class Artefact:
    """A model that the worker can load.

    Attributes:
        form: "base", "adapter", "merged" or "onnx".
        path: The model's folder; for an adapter the model that it was trained over.
        adapter: The adapter's folder, for the two forms that need one.
        adapters: What can be chosen while it is loaded, by name: PEFT folders, for ONNX files.
        use: Which of them is chosen at first; None answers as the base.
        template: A chat template in place of the tokenizer's own; an export carries its own already.
    """

    form: str
    path: Path
    adapter: Path | None = None
    adapters: dict[str, Path] = field(default_factory=dict)
    use: str | None = None
    template: Path | None = None

    def spec(self) -> dict[str, Any]:
        """Return what the worker's `load_model` takes."""
        folders = {"adapter": self.adapter, "template": self.template}
        return {
            "kind": self.form,
            "path": str(self.path),
            **{key: str(path) for key, path in folders.items() if path},
            "adapters": {name: str(path) for name, path in self.adapters.items()},
            "use": self.use,
        }

    def model_bytes(self) -> int:
        """Return the size in bytes of weights and graphs: without tokenizer, settings and adapters not in use."""
        endings = {".safetensors", ".onnx", ".data"}
        folders = [self.path, self.adapter] if self.adapter else [self.path]
        files = [file for folder in folders for file in folder.iterdir() if file.suffix in endings]
        if self.form == "onnx" and self.use:
            files.append(self.adapters[self.use])
        return sum(file.stat().st_size for file in files)


def find_artefact(project: Project, name: str, adapter: str | None = None) -> Artefact:
    """Return a form of the model by name ("base", "adapter", "merged", "onnx") or by its folder.

    "quantised" is the base that the adapter was trained over, where a pass quantised it first. A folder may be named
    from here, from the project's root or from `gen-model/`.

    Args:
        project: The project.
        name: The form, or the folder.
        adapter: The adapter's name, or "none"; left out, the one of the project's own workflows or, for an
            export with adapters as inputs, the one it was made with.

    Raises:
        UsageError: It is no form and no model folder, or there is no such adapter.
        ScaffolderError: That form has not been made yet; the hint names the command.
    """
    if name == "base":
        return _base(project, adapter)
    if name == "quantised":
        return _quantised(project, adapter)
    if name in ("adapter", "merged"):
        if adapter == NO_ADAPTER:
            return _base(project, None)
        return _adapted(project, name, _trained(project, adapter))
    if name == "onnx":
        return _exported(_output(project, "onnx", "run gen-model"), adapter)
    return _in_folder(project, name, adapter)


def _in_folder(project: Project, name: str, adapter: str | None) -> Artefact:
    places = (Path(name), project.root / name, project.root / "gen-model" / name)
    # The worker looks from the project's root, whatever folder this is.
    folder = next((place for place in places if place.is_dir()), Path(name)).absolute()
    if (folder / "genai_config.json").is_file():
        return _exported(folder, adapter)
    if any(folder.glob("*.onnx")):
        raise UsageError(f"{name} has no genai_config.json", hint="scaffolder run gen-model --restart makes it again")
    for place in (folder, folder / "adapter"):
        if (place / "adapter_config.json").is_file():
            return _adapted(project, "adapter", place)
    for model in (folder, folder / "model"):  # Olive puts a quantised model into a folder of its own
        if (model / "config.json").is_file():
            return Artefact("base", model, template=_template(project))
    raise UsageError(f"`{name}` is no model", hint=f"use {', '.join(FORMS)} or the folder of a model")


def trained_adapters(project: Project) -> dict[str, Path]:
    """Return the PEFT adapters that were published in the project, by the name of their folder."""
    folders = dict.fromkeys(project.root / Path(flow.config).parent for flow in project.manifest.workflows.values())
    return {
        settings.parent.parent.name: settings.parent
        for folder in folders
        for settings in sorted(folder.glob("adapters/*/adapter/adapter_config.json"))
        if not settings.parent.parent.name.startswith(".")
    }


def served_adapters(export: Path) -> dict[str, Path]:
    """Return the adapters that an export can put on by name, the one it was made with first."""
    own = export / OWN_ADAPTER
    others = {file.stem: file for file in sorted(export.glob("*.onnx_adapter")) if file != own}
    return {own_name(export): own, **others} if own.is_file() else others


def own_name(export: Path) -> str:
    """Return the name of the adapter that an export was made with."""
    record = read_record(export)
    adapter = adapter_of(record.config) if record else None
    return Path(adapter).parent.name if adapter else "tuned"


def _base(project: Project, adapter: str | None) -> Artefact:
    if adapter not in (None, NO_ADAPTER):
        raise UsageError("the base has no adapter", hint=f"--model adapter --adapter {adapter}")
    folder = _existing(project.model_folder, project.how_to_get(project.manifest.model.path))
    adapters = {name: path for name, path in trained_adapters(project).items() if own_base(path) is None}
    return Artefact("base", folder, adapters=adapters, template=_template(project))


def _quantised(project: Project, adapter: str | None) -> Artefact:
    if adapter not in (None, NO_ADAPTER):
        raise UsageError("the quantised base has no adapter", hint=f"--model adapter --adapter {adapter}")
    folder = own_base(_trained(project, None))
    if folder is None:
        raise UsageError("the adapter was trained over the base as it is", hint="`--model base`")
    return Artefact("base", folder, template=_template(project))


def _template(project: Project) -> Path | None:
    """Return the chat template that the project wrote for its training."""
    template = project.manifest.dataset.prompt_template
    return project.root / template if template else None


def own_base(adapter: Path) -> Path | None:
    """Return the quantised model that an adapter was trained over, which Olive saves beside it; else None."""
    model = adapter.parent / "model"
    return model if adapter.name == "adapter" and (model / "config.json").is_file() else None


def _adapted(project: Project, form: str, folder: Path) -> Artefact:
    quantised = own_base(folder)
    base = Artefact("base", quantised, template=_template(project)) if quantised else _base(project, None)
    if form == "merged":  # into the weights: it can't be taken off again
        return Artefact(form, base.path, folder, template=base.template)
    named = next((name for name, path in base.adapters.items() if path.samefile(folder)), None)
    used = named or (folder.parent if folder.name == "adapter" else folder).name
    return Artefact(form, base.path, folder, {**base.adapters, used: folder}, used, base.template)


def _trained(project: Project, adapter: str | None) -> Path:
    if adapter is None:
        return _output(project, "adapter", "run fine-tuning")
    return _by_name(trained_adapters(project), adapter, hint="scaffolder run fine-tuning makes one")


def _exported(folder: Path, adapter: str | None) -> Artefact:
    served = served_adapters(folder)
    if adapter not in (None, NO_ADAPTER):
        hint = f"scaffolder adapters add {adapter}" if served else "scaffolder run gen-model --preset adapters"
        _by_name(served, adapter, hint=hint, where=f" in {folder.name}")
    default = next(iter(served), None) if adapter is None else adapter
    return Artefact("onnx", folder, adapters=served, use=None if default == NO_ADAPTER else default)


def _by_name(known: dict[str, Path], name: str, *, hint: str, where: str = "") -> Path:
    if name not in known:
        there = f"there are: {', '.join(known)}; " if known else ""
        raise UsageError(f"no adapter `{name}`{where}", hint=there + hint)
    return known[name]


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
