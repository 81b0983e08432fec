"""What a download is to bring: source, place, and whether the lock's entry is the goal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scaffolder import modellock
from scaffolder.downloader import sources
from scaffolder.downloader.sources import EmbeddedSource, HubSource, Source
from scaffolder.errors import ConfigError, UsageError
from scaffolder.modellock import LockedModel

if TYPE_CHECKING:
    from scaffolder.project import Project


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asks for.

    Attributes:
        name: Source of the model (see `sources.parse`); the project's model where left out.
        revision: Branch, tag or commit.
        include: Patterns of files to take besides.
        exclude: Patterns of files to leave out.
        place: Id below model-cache/ in place of the source's own.
        locked: Bring exactly what the lock says, or fail.
        update: Look for something newer than the lock says.
        force: Replace files that were changed here.
        wait: Wait for another download in this project.
        token: Access token for the hub.
    """

    name: str | None = None
    revision: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    place: str | None = None
    locked: bool = False
    update: bool = False
    force: bool = False
    wait: bool = False
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A request with everything decided that needs no network.

    Attributes:
        id: Name below model-cache/.
        source: Where it comes from.
        revision: Branch, tag or commit; None for the hub's default.
        folder: Where it will lie.
        entry: The lock's entry, whether or not it stands.
        stands: Whether that entry is the goal.
    """

    id: str
    source: Source
    revision: str | None
    folder: Path
    entry: LockedModel | None
    stands: bool

    @property
    def goal(self) -> LockedModel | None:
        """The lock's entry, where it is to be met."""
        return self.entry if self.stands else None

    @property
    def aside(self) -> Path:
        """Where files are made until the model is whole."""
        return self.folder.with_name(f".{self.folder.name}.partial")


def decide(project: Project, request: Request) -> Target:
    """Return what a request means in a project.

    Raises:
        UsageError: The source or the place has no known form.
        ConfigError: `--locked`, but the lock has no such entry.
    """
    model = project.manifest.model
    text = request.name or model.source or model.id
    source = sources.parse(text)
    revision = request.revision
    if isinstance(source, HubSource):
        pinned = model.revision if source.repo == model.id else None
        revision = revision or source.revision or pinned
    elif revision:
        raise UsageError("`--revision` is for models of the hub", hint=f"`{text}` is none")
    place = _place(request, source.id if request.name else model.id)
    entry = modellock.read(project.root).get(place)
    stands = entry is not None and _stands(entry, text, source, revision, request)
    if request.locked and not stands:
        raise _not_locked(place, entry)
    if stands and entry is not None and entry.source == EmbeddedSource().uri:
        source = EmbeddedSource()
    return Target(place, source, revision, project.root / modellock.MODEL_CACHE / place, entry, stands)


def _place(request: Request, default: str) -> str:
    try:
        return modellock.safe_id(request.place or default)
    except ValueError as error:
        raise UsageError(str(error), hint="name a place with `--as ORGANISATION/NAME`") from error


def _stands(entry: LockedModel, text: str, source: Source, revision: str | None, request: Request) -> bool:
    """Whether the lock's entry is what is asked for: the same source, and no other revision or choice of files."""
    if request.update or request.include or request.exclude:
        return False
    # The embedded model is the hub's by another way; to have it from the hub, its URI is written out.
    plain = isinstance(source, HubSource) and not text.startswith("hf://") and entry.source == EmbeddedSource().uri
    return (source.uri == entry.source or plain) and revision in (None, entry.revision, entry.commit)


def _not_locked(place: str, entry: LockedModel | None) -> ConfigError:
    if entry is None:
        return ConfigError(
            f"{modellock.LOCK} has no entry for {place}", hint="`scaffolder download` without --locked makes it"
        )
    at = f" at {entry.commit}" if entry.commit else ""
    return ConfigError(
        f"{modellock.LOCK} has {place} from {entry.source}{at}, which is not what is asked for",
        hint="leave out --locked to lock anew, or what was asked for besides",
    )
