"""Bring a base model into the project, whole or not at all, and lock what it is made of."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import modellock
from scaffolder.content import Hashes
from scaffolder.downloader import bring
from scaffolder.downloader.target import Request, Target, decide
from scaffolder.downloader.transfer import disk_errors
from scaffolder.downloader.update import Change, changes
from scaffolder.errors import Interrupted, ScaffolderError
from scaffolder.hub import abandon
from scaffolder.lock import project_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from scaffolder.downloader.bring import Brought
    from scaffolder.modellock import LockedModel
    from scaffolder.project import Project

_STATE = ".scaffolder"


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What came of it.

    Attributes:
        model: Id below model-cache/.
        folder: Where it lies.
        source: "hub", "embedded", "azureml", "local" or "present".
        uri: The source in full.
        commit: The hub's commit, where it came from there.
        size: Bytes on disk.
        files: How many they are.
        received: Bytes that came over the network.
        locked: Whether `models.lock` holds it.
        base: The base model's id, where this is an adapter.
        changes: Files that are other than the lock said before.
        commits: Titles of the commits since then, newest first.
    """

    model: str
    folder: Path
    source: str
    uri: str
    commit: str | None
    size: int
    files: int
    received: int = 0
    locked: bool = True
    base: str | None = None
    changes: tuple[Change, ...] = field(default=())
    commits: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Planned:
    """What a download would do.

    Attributes:
        model: Id below model-cache/.
        uri: The source.
        commit: The hub's commit.
        files: Bytes by path; empty where only the download itself shows them.
        missing: Bytes that are not on this machine yet.
        changes: See `Downloaded`.
        commits: See `Downloaded`.
    """

    model: str
    uri: str
    commit: str | None
    files: dict[str, int]
    missing: int
    changes: tuple[Change, ...] = field(default=())
    commits: tuple[str, ...] = field(default=())

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


def download(project: Project, request: Request, *, on_event: Callable[[dict[str, Any]], None]) -> Downloaded:
    """Fetch a model into `model-cache/<organisation>/<name>`, aside first, then renamed; lock its files' hashes.

    What the lock has already is brought as it says there. An interrupted download goes on where it stopped.

    Args:
        project: The project.
        request: What is asked for.
        on_event: Gets `source` (which one, and why), `note` and `warning` (`message`), those of
            `transfer.transfer`, and the stages of a conversion.

    Raises:
        UsageError: The name has no known form.
        ConfigError: `--locked`, but the lock has no such entry.
        ScaffolderError: The source does not have it, it is gated, or what came is not what was locked.
        EnvironmentFault: No hub, no room, or a package is missing.
        Interrupted: Ctrl-C.
    """
    target = decide(project, request)
    state = project.root / _STATE
    hashes = Hashes(state / "hashes.json")
    with project_lock(
        state / "download",
        purpose=f"downloading {target.id}",
        wait=request.wait,
        on_wait=lambda message: on_event({"event": "note", "message": message}),
    ):
        there = _there(target, request, hashes)
        if there is not None:
            hashes.save()
            return there
        try:
            brought = bring.bring(project, target, request, hashes, on_event)
        except KeyboardInterrupt:
            abandon()
            raise Interrupted("stopped", hint="the same command goes on with what is here") from None
        if brought.model == target.entry and not modellock.differences(brought.model, target.folder, hashes):
            shutil.rmtree(target.aside, ignore_errors=True)
        else:
            _publish(project, target, brought)
        hashes.save()
    return _downloaded(target, brought)


def plan_download(project: Project, request: Request) -> Planned:
    """Say what `download` would bring; nothing is written.

    Raises:
        ScaffolderError: As `download`, as far as it is known before.
    """
    target = decide(project, request)
    files, commit, commits = bring.listing(project, target, request)
    sizes = {path: file.size for path, file in files.items()}
    changed = changes(target.entry, files) if target.entry is not None and not target.stands else ()
    missing = bring.bytes_missing(files, target)
    return Planned(target.id, target.source.uri, commit, sizes, missing, changed, commits)


def _there(target: Target, request: Request, hashes: Hashes) -> Downloaded | None:
    """Return what lies there, where that is the goal; None where something is to be fetched."""
    entry = target.goal
    if entry is None:
        alone = target.entry is None and not (request.force or request.update or request.include or request.exclude)
        if alone and target.revision is None and (target.folder / "config.json").is_file():
            names = modellock.present(target.folder)
            size = sum((target.folder / name).stat().st_size for name in names)
            uri = target.source.uri
            return Downloaded(target.id, target.folder, "present", uri, None, size, len(names), locked=False)
        return None
    found = modellock.differences(entry, target.folder, hashes)
    altered = [each for each in found if each.kind != "missing"]
    if altered and not request.force:
        lines = [f"{modellock.MODEL_CACHE}/{target.id}/{each.path} {each.message}" for each in altered]
        raise ScaffolderError(
            "\n".join([f"{target.id} is not what models.lock says", *lines]),
            hint=f"`scaffolder download {target.id} --force` brings the locked files back; changes made here are lost",
        )
    if found:
        return None
    size, commit, base = entry.size, entry.commit, adapter_base(target.folder)
    return Downloaded(target.id, target.folder, "present", entry.source, commit, size, len(entry.files), base=base)


def _publish(project: Project, target: Target, brought: Brought) -> None:
    """Lock the model, then give the finished folder its name; the old one makes room at the last moment."""
    old = target.aside / "old"
    with disk_errors():
        if target.goal is None or target.goal != brought.model:
            modellock.put(project.root, target.id, brought.model)
        if target.folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.folder.rename(old)
        brought.folder.rename(target.folder)
        shutil.rmtree(target.aside, ignore_errors=True)


def _downloaded(target: Target, brought: Brought) -> Downloaded:
    model: LockedModel = brought.model
    changed = () if target.entry is None else changes(target.entry, model.files)
    return Downloaded(
        target.id,
        target.folder,
        brought.kind,
        model.source,
        model.commit,
        model.size,
        len(model.files),
        received=brought.received,
        base=adapter_base(target.folder),
        changes=changed,
        commits=brought.commits,
    )


def adapter_base(folder: Path) -> str | None:
    """Return the id of the base model that an adapter's folder names, or None where it holds no adapter."""
    try:
        found = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    base = found.get("base_model_name_or_path") if isinstance(found, dict) else None
    return base if isinstance(base, str) else None
