"""Several adapters on one exported base: which fit, and putting them in and out without a new export."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder.artefacts import NO_ADAPTER, OWN_ADAPTER, own_name, served_adapters, trained_adapters
from scaffolder.content import Hashes, write_atomically
from scaffolder.environment import find_environment
from scaffolder.errors import ScaffolderError, UsageError
from scaffolder.lock import project_lock
from scaffolder.plan import STATE_FOLDER
from scaffolder.process import Worker
from scaffolder.records import base_of, find_runs, read_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scaffolder.project import Project

_NOTE = ".onnx_adapter.json"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A trained adapter, or one that only lies in an export.

    Attributes:
        name: Its folder's or file's name.
        path: PEFT folder relative to the project; None where only an export has it.
        rank: r of LoRA; None for other methods.
        modules: Layers it changes.
        loss: On the evaluation examples, nats per response token, where it was measured.
        served: State by export: "own" (made with it), "current", "outdated" (trained again since) or
            "unknown" (nothing says what it was made from).
    """

    name: str
    path: str | None
    rank: int | None
    modules: list[str]
    loss: float | None
    served: dict[str, str]


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether an adapter fits an export.

    Attributes:
        adapter: Its name.
        export: The export's folder, relative to the project.
        problems: Why it does not; empty where it does.
        rank: r of LoRA.
        modules: Layers it changes.
        empty: Inputs of the graph that it says nothing of; they are filled with zeros.
        state: "added", "current" (nothing to do), "fits" (only looked at) or "refused".
    """

    adapter: str
    export: str
    problems: list[str]
    rank: int | None
    modules: list[str]
    empty: int
    state: str


def list_adapters(project: Project) -> list[Adapter]:
    """Return every adapter that was trained or is served, by name."""
    trained = trained_adapters(project)
    exports = serving_exports(project)
    hashes = _hashes(project)
    names = dict.fromkeys((*trained, *(name for export in exports for name in served_adapters(export))))
    found = []
    for name in sorted(names):
        served = {
            project.relative(export): _state(export, name, trained.get(name), hashes)
            for export in exports
            if name in served_adapters(export)
        }
        found.append(_describe(project, name, trained.get(name), served))
    hashes.save()
    return found


def serving_exports(project: Project) -> list[Path]:
    """Return the exports whose graph takes adapters as inputs, oldest first."""
    folders = [project.root / record.output for record in find_runs(project) if record.metrics.get("kind") == "onnx"]
    return [folder for folder in folders if (folder / OWN_ADAPTER).is_file()]


def choose_export(project: Project, name: str | None) -> Path:
    """Return the export of that name or folder, or the only one.

    Raises:
        UsageError: There is none, or there are several and none is named.
    """
    exports = serving_exports(project)
    known = ", ".join(project.relative(export) for export in exports)
    if not exports:
        raise UsageError("no export takes adapters as inputs yet", hint="scaffolder run gen-model --preset adapters")
    chosen = [e for e in exports if name is None or name.rstrip("/") in (e.name, project.relative(e), str(e))]
    if len(chosen) != 1:
        what = f"no export `{name}` takes adapters" if name else "several exports take adapters"
        raise UsageError(what, hint=f"--export with one of: {known}")
    return chosen[0]


def check_adapters(project: Project, names: Sequence[str], export: Path) -> list[Fit]:
    """Say which adapters fit an export, without changing it; all trained ones where none is named.

    Raises:
        UsageError: There is no such adapter.
    """
    return _fit(project, _named(project, names), export, output=None)


def add_adapters(project: Project, names: Sequence[str], export: Path) -> list[Fit]:
    """Put adapters into an export beside those it has; the base stays as it is.

    Each is checked for fit, put on in the runtime, and has to answer before it counts. What is there already
    and was not trained again is left alone.

    Args:
        project: The project.
        names: Names of trained adapters, or folders of PEFT adapters.
        export: The export's folder.

    Raises:
        UsageError: There is no such adapter, or its name is taken.
        ScaffolderError: An adapter does not work.
    """
    adapters = _named(project, names)
    hashes = _hashes(project)
    own = own_name(export)
    if own in adapters:
        raise UsageError(f"{own} is what the export was made with", hint="scaffolder run gen-model renews it")
    current = {name: folder for name, folder in adapters.items() if _state(export, name, folder, hashes) == "current"}
    wanted = {name: folder for name, folder in adapters.items() if name not in current}
    kept = [_unchanged(project, name, export) for name in current]
    if not wanted:
        hashes.save()
        return kept
    with (
        project_lock(project.root / STATE_FOLDER, purpose="adapters add"),
        tempfile.TemporaryDirectory(dir=export, prefix=".adding-") as aside,
    ):
        fits = _fit(project, wanted, export, output=Path(aside))
        for fit in fits:
            if not fit.problems:
                _publish(project, fit, wanted[fit.adapter], Path(aside), export, hashes)
    hashes.save()
    return [*kept, *fits]


def renew_adapters(project: Project, export: Path) -> list[Fit]:
    """Bring the adapters in an export up to date, also those from elsewhere that it had before it was made anew."""
    names = {name: str(folder) for name, folder in trained_adapters(project).items()}
    for note in (*export.parent.glob(f".{export.name}.previous/*{_NOTE}"), *export.glob(f"*{_NOTE}")):
        source = project.root / json.loads(note.read_text(encoding="utf-8"))["source"]
        if (source / "adapter_config.json").is_file():
            names.setdefault(note.name.removesuffix(_NOTE), str(source))
    names.pop(own_name(export), None)
    return add_adapters(project, list(names.values()), export) if names else []


def remove_adapter(project: Project, name: str, export: Path) -> None:
    """Take an adapter out of an export.

    Raises:
        UsageError: It is not there, or is the one that the export was made with.
    """
    served = served_adapters(export)
    if name not in served:
        raise UsageError(f"no adapter `{name}` in {export.name}", hint=f"there are: {', '.join(served)}")
    if served[name].name == OWN_ADAPTER:
        raise UsageError(f"{name} is what the export was made with", hint=f"`--adapter {NO_ADAPTER}` leaves it off")
    with project_lock(project.root / STATE_FOLDER, purpose="adapters remove"):
        served[name].unlink()
        _note(export, name).unlink(missing_ok=True)


def _named(project: Project, names: Sequence[str]) -> dict[str, Path]:
    trained = trained_adapters(project)
    if not names:
        return trained
    found = {}
    for name in names:
        if name in trained:
            found[name] = trained[name]
            continue
        places = [place for place in (Path(name), project.root / name) if place.is_dir()]
        folders = [folder for place in places for folder in (place, place / "adapter")]
        folder = next((folder.resolve() for folder in folders if (folder / "adapter_config.json").is_file()), None)
        if folder is None:
            raise UsageError(f"no adapter `{name}`", hint=f"there are: {', '.join(trained) or 'none yet'}")
        found[folder.parent.name if folder.name == "adapter" else folder.name] = folder
    return found


def _fit(project: Project, adapters: Mapping[str, Path], export: Path, *, output: Path | None) -> list[Fit]:
    bases = {name: _other_base(folder, export) for name, folder in adapters.items()}
    job = {
        "task": "adapters",
        "root": str(project.root),
        "export": str(export),
        "adapters": {name: str(folder) for name, folder in adapters.items()},
        "output": str(output) if output else None,
        "refused": [name for name, problems in bases.items() if problems],
    }
    fits = []
    for event in _events(project, job):
        if event["event"] == "fit":
            problems = [*bases[event["name"]], *event["problems"]]
            state = "refused" if problems else "added" if output else "fits"
            figures = {key: event[key] for key in ("rank", "modules", "empty")}
            fits.append(Fit(event["name"], project.relative(export), problems, state=state, **figures))
    return fits


def _events(project: Project, job: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    if not job["adapters"]:
        return
    log = project.root / STATE_FOLDER / "adapters.log"
    with Worker(find_environment(project.root).python, job, log) as worker:
        for event in worker.events():
            if event["event"] == "failed":
                raise ScaffolderError(event["message"], hint=event["hint"] or f"the log: {log}")
            yield event
        if worker.wait() != 0:
            raise ScaffolderError("the worker ended early", hint=f"the log: {log}")


def _other_base(adapter: Path, export: Path) -> list[str]:
    """Return what is wrong with the base that an adapter was trained on, as far as the records tell."""
    trained, built = read_record(adapter.parent), read_record(export)
    if trained is None or built is None:
        return []
    ours, theirs = base_of(trained), base_of(built)
    if ours is None or theirs is None or ours == theirs:
        return []
    names = [str(record.config["input_model"]["model_path"]) for record in (trained, built)]
    if names[0] == names[1]:
        return [f"it was trained on another state of {names[0]} (content {ours[:8]}, the export's is {theirs[:8]})"]
    return [f"it was trained on {names[0]}, the export was made from {names[1]}"]


def _publish(project: Project, fit: Fit, source: Path, aside: Path, export: Path, hashes: Hashes) -> None:
    file = aside / f"{fit.adapter}.onnx_adapter"
    note = {
        "source": project.relative(source),
        "content": hashes.path(source),
        "file": hashes.file(file),
        "rank": fit.rank,
        "modules": fit.modules,
    }
    # The note goes last: without it the file counts as unknown and is written again.
    _note(export, fit.adapter).unlink(missing_ok=True)
    file.replace(export / file.name)
    write_atomically(_note(export, fit.adapter), json.dumps(note, indent=2) + "\n")


def _state(export: Path, name: str, source: Path | None, hashes: Hashes) -> str:
    if name == own_name(export):
        return "own"
    try:
        note = json.loads(_note(export, name).read_text(encoding="utf-8"))
        whole = hashes.file(export / f"{name}.onnx_adapter") == note["file"]
    except (OSError, ValueError, KeyError):
        return "unknown"
    if not whole:
        return "unknown"
    return "current" if source is None or hashes.path(source) == note["content"] else "outdated"


def _unchanged(project: Project, name: str, export: Path) -> Fit:
    note = json.loads(_note(export, name).read_text(encoding="utf-8"))
    return Fit(name, project.relative(export), [], note["rank"], note["modules"], 0, "current")


def _describe(project: Project, name: str, folder: Path | None, served: dict[str, str]) -> Adapter:
    if folder is None:
        return Adapter(name, None, None, [], None, served)
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    record = read_record(folder.parent)
    after = record.metrics.get("after") if record else None
    modules = settings.get("target_modules") or []
    return Adapter(
        name,
        project.relative(folder),
        settings.get("r"),
        sorted(modules) if isinstance(modules, list) else [str(modules)],
        after["loss"] if after else None,
        served,
    )


def _note(export: Path, name: str) -> Path:
    return export / f"{name}{_NOTE}"


def _hashes(project: Project) -> Hashes:
    return Hashes(project.root / STATE_FOLDER / "hashes.json")
