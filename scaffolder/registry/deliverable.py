"""What of a project goes to a registry: its files, where they came from, and what stands against it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder.artefacts import Artefact, find_artefact, own_base, published, served_adapters
from scaffolder.content import Hashes, digest
from scaffolder.errors import GateFailed, ScaffolderError, UsageError
from scaffolder.plan import STATE_FOLDER
from scaffolder.records import RECORD, RunRecord, adapter_of, read_record
from scaffolder.scores import EVALUATION
from scaffolder.worker.data.sensitive import secrets_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scaffolder.project import Project

_WEIGHTS = (".safetensors", ".onnx", ".data", ".onnx_adapter", ".bin", ".npz")
_TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True, slots=True)
class Deliverable:
    """A model as it would be registered.

    Attributes:
        name: The project's name and the model's folder: "travel-onnx-int8".
        form: "onnx" or "adapter".
        files: By path in the registry; their content is what was verified.
        sha256: Of each file, by the same path.
        record: The lineage; None where the model was never verified.
        training: The lineage of the adapter in it, where that one still lies in the project.
        quantised_base: Whether it is an adapter that was trained over a base that a pass quantised first.
        figures: What `evaluate` measured of it; empty where it did not.
        gates: How it stands to the project's gates.
        faults: Why it should not be registered; each an (error, hint).
        left_out: Files beside it that were not verified with it.
    """

    name: str
    form: str
    files: dict[str, Path]
    sha256: dict[str, str]
    record: RunRecord | None
    training: RunRecord | None
    quantised_base: bool
    figures: dict[str, Any]
    gates: list[dict[str, Any]]
    faults: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def content(self) -> str:
        """Hash of what the model is: its verified files, not the papers that travel with it."""
        return digest({path: sha for path, sha in self.sha256.items() if path not in (RECORD, EVALUATION)})

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.files.values())


def find_deliverable(project: Project, model: str | None) -> Deliverable:
    """Return what `--model` names, or the project's deliverable: its export, else its adapter.

    Raises:
        UsageError: It is a form that is no artefact of its own.
        ScaffolderError: Nothing has been made yet.
    """
    artefact = find_artefact(project, model or _default(project))
    if artefact.form not in ("onnx", "adapter"):
        raise UsageError(
            f"`{model}` is not registered: it is the base's weights", hint="`--model onnx` or `--model adapter`"
        )
    folder = artefact.adapter or artefact.path
    home = folder.parent if artefact.form == "adapter" and folder.name == "adapter" else folder
    record, hashes = read_record(home), Hashes(project.root / STATE_FOLDER / "hashes.json")
    files, left_out = _files(artefact, folder, home, record)
    figures, gates = _evaluation(home)
    found = Deliverable(
        name=f"{_slug(project.manifest.project.name)}-{_slug(home.name)}",
        form=artefact.form,
        files=files,
        sha256={path: hashes.file(file) for path, file in files.items()},
        record=record,
        training=_training(project, record, hashes),
        quantised_base=artefact.form == "adapter" and own_base(folder) is not None,
        figures=figures,
        gates=gates,
        faults=[*_unverified(project, home, record, hashes), *_missed(project, artefact, gates)],
        left_out=left_out,
    )
    hashes.save()
    return found


def refuse(found: Deliverable, texts: Mapping[str, bytes], *, force: bool, allow_secrets: bool) -> None:
    """Raise where a model should not leave the project.

    Args:
        found: The model.
        texts: What is written for it besides, by name: it is searched for secrets as well.
        force: Register an unverified model, or one that fails its gates.
        allow_secrets: Register files that seem to hold secrets.

    Raises:
        GateFailed: It was not verified, was changed since, or fails a gate.
        ScaffolderError: A file seems to hold a secret.
    """
    if found.faults and not force:
        hints = [*dict.fromkeys(hint for _, hint in found.faults), "`--force` uploads it all the same"]
        raise GateFailed("\n".join(message for message, _ in found.faults), hint="\n      ".join(hints))
    secrets = [
        f"{name}:{line}: looks like {what}"
        for name, text in _texts(found, texts)
        for what, line in secrets_of(text.decode(errors="replace"))
    ]
    if secrets and not allow_secrets:
        raise ScaffolderError(
            "\n".join(["suspected secrets in what would be uploaded", *secrets]),
            hint="take them out and revoke them; `--allow-secrets` uploads what only looks like one",
        )


def _default(project: Project) -> str:
    chosen = "onnx" if published(project, "onnx") else "adapter" if published(project, "adapter") else None
    if chosen is None:
        raise ScaffolderError("there is nothing to upload yet", hint="scaffolder run all")
    return chosen


def _files(artefact: Artefact, folder: Path, home: Path, record: RunRecord | None) -> tuple[dict[str, Path], list[str]]:
    """Return files by path in the registry, and the names of those that nothing vouches for."""
    present = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
    vouched = set(present)
    if record is not None:
        below = {home / name for name in record.files} | set(served_adapters(folder).values())
        vouched = {path for path, file in present.items() if file in below}
    files = {path: present[path] for path in sorted(vouched)}
    if artefact.template and _TEMPLATE not in files and artefact.form == "adapter":
        files[_TEMPLATE] = artefact.template
    files |= {name: home / name for name in (RECORD, EVALUATION) if (home / name).is_file()}
    return files, sorted(present.keys() - files.keys())


def _evaluation(home: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        found = json.loads((home / EVALUATION).read_text(encoding="utf-8"))
        return dict(found["score"]), list(found["gates"])
    except (OSError, ValueError, KeyError):
        return {}, []


def _training(project: Project, record: RunRecord | None, hashes: Hashes) -> RunRecord | None:
    """Return the record of the adapter that an export was built with, if it is still that adapter."""
    adapter = adapter_of(record.config) if record else None
    if record is None or adapter is None:
        return record if record and record.metrics.get("kind") == "adapter" else None
    folder = project.root / adapter
    if not folder.is_dir() or hashes.path(folder) != record.fingerprint.inputs.get(adapter):
        return None
    return read_record(folder.parent)


def _unverified(project: Project, home: Path, record: RunRecord | None, hashes: Hashes) -> Iterator[tuple[str, str]]:
    shown = project.relative(home)
    if record is None:
        yield f"{shown} was never verified", "scaffolder run makes and verifies a model"
    elif not record.intact(home, hashes):
        yield f"{shown} was changed since it was verified", f"scaffolder run {record.workflow}"


def _missed(project: Project, artefact: Artefact, gates: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """What the project's gates say of the model; they are about one model, and say nothing of others."""
    limits = project.manifest.gates.limits()
    if not limits or not _judged(project, artefact):
        return
    if {gate["key"]: gate["limit"] for gate in gates} != limits:
        yield "the gates of scaffolder.toml were not judged on this model", "scaffolder evaluate"
        return
    for gate in gates:
        if not gate["passed"]:
            yield (
                f"{gate['model']} fails the gate {gate['key']} = {gate['limit']:g}: it has {gate['value']:g}",
                (gate["advice"]),
            )


def _judged(project: Project, artefact: Artefact) -> bool:
    try:
        gated = find_artefact(project, project.manifest.gates.model)
    except ScaffolderError:
        return False
    return (gated.form, gated.path, gated.adapter) == (artefact.form, artefact.path, artefact.adapter)


def _texts(found: Deliverable, others: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for path, file in found.files.items():
        if file.suffix not in _WEIGHTS:
            yield path, file.read_bytes()
    yield from others.items()


def _slug(name: str) -> str:
    """Return a name that every registry takes: letters, digits, hyphens, dots and underscores."""
    kept = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "-" for sign in name)
    return kept.strip("-._") or "model"
