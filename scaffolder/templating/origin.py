"""Where a template lies, and what a project's answers file may say of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from scaffolder.errors import EnvironmentFault, UsageError
from scaffolder.git import GitFailed, Repository

_SHORT = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}
_ADDRESS = re.compile(r"^(gh:|gl:|git\+|[a-z][a-z0-9+.-]*://|[\w.-]+@[\w.-]+:)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a template lies.

    Attributes:
        place: What git fetches from: an address, or an absolute path.
        recorded: What the answers file says, so that it holds on every machine; None where nothing would.
        git: Whether it has versions.
        note: What the user should know of the choice, or empty.
    """

    place: str
    recorded: str | None
    git: bool = True
    note: str = ""


def find_origin(given: str, *, base: Path | None = None) -> Origin:
    """Find a template by what a user or an answers file calls it.

    Args:
        given: A git address, `gh:owner/name`, `gl:owner/name`, a folder, or a git bundle.
        base: Folder that relative paths start from; the current one where left out.

    Raises:
        UsageError: There is no such folder or bundle.
    """
    if _ADDRESS.match(given) and not given.lower().startswith("file://"):
        return Origin(_expanded(given), _without_password(given))
    path = ((base or Path.cwd()) / Path(given.removeprefix("file://")).expanduser()).resolve()
    if path.is_file() and _is_bundle(path):
        return _local(path, "")
    if not path.is_dir():
        raise UsageError(f"the template {given} does not exist", hint="give a git address, a folder or a git bundle")
    repository = Repository(path)
    if not _is_repository(repository, path):
        note = f"{path} is not under git: the project will not be connected to it, and cannot be updated from it"
        return Origin(str(path), None, git=False, note=note)
    return _local(path, repository.try_text("config", "remote.origin.url") or "")


def _local(path: Path, remote: str) -> Origin:
    if remote and _ADDRESS.match(remote) and not remote.lower().startswith("file://"):
        address = _without_password(remote)
        return Origin(str(path), address, note=f"recorded as {address}, where colleagues find it too")
    home = Path.home().resolve()
    if path.is_relative_to(home):
        return Origin(str(path), f"~/{path.relative_to(home).as_posix()}")
    note = (
        f"{path} is a path of this machine and was not recorded; push the template, "
        "then connect the project: `scaffolder update --template URL`"
    )
    return Origin(str(path), None, note=note)


def _is_bundle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == b"# v"


def _is_repository(repository: Repository, path: Path) -> bool:
    try:
        top = repository.text("rev-parse", "--path-format=absolute", "--git-common-dir")
        shown = repository.try_text("rev-parse", "--show-toplevel")
    except (GitFailed, EnvironmentFault):
        return False
    return Path(shown).resolve() == path if shown else Path(top).resolve() == path


def _expanded(address: str) -> str:
    for short, site in _SHORT.items():
        if address.startswith(short):
            rest = address.removeprefix(short).lstrip("/")
            return site + (rest if rest.endswith(".git") else f"{rest}.git")
    return address.removeprefix("git+")


def _without_password(address: str) -> str:
    if "://" not in address:
        return address
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=host)) if at and ":" in user else address
