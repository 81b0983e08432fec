"""Which projects a fleet has: folders, patterns and git addresses, from arguments or `fleet.toml`."""

from __future__ import annotations

import hashlib
import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scaffolder.errors import ConfigError, UsageError
from scaffolder.git import GitFailed, Repository
from scaffolder.templating.answers import ANSWERS_FILE
from scaffolder.templating.history import cache_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

FLEET_FILE = "fleet.toml"
_ADDRESS = re.compile(r"^([a-z][a-z0-9+.-]*://|[\w.-]+@[\w.-]+:)", re.IGNORECASE)


class Settings(BaseModel):
    """`[update]` of `fleet.toml`; options of the command come before it."""

    model_config = ConfigDict(extra="forbid")

    run: str | None = None
    push: bool = False
    pr: bool = False
    first: int = Field(default=0, ge=0)
    wave: int = Field(default=0, ge=0)
    max_failures: int | None = Field(default=None, ge=0)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    projects: list[str]
    update: Settings = Field(default_factory=Settings)


@dataclass(frozen=True, slots=True)
class Member:
    """One project.

    Attributes:
        name: What the table calls it.
        folder: Where it lies, or its clone.
        address: What it is cloned from; empty for a folder.
    """

    name: str
    folder: Path
    address: str = ""


@dataclass(frozen=True, slots=True)
class Roster:
    """The projects and how they are updated."""

    members: tuple[Member, ...]
    settings: Settings


def read_roster(places: Sequence[str], file: Path | None = None) -> Roster:
    """Find the projects of a fleet.

    Args:
        places: Folders, patterns such as `teams/*/model`, git addresses (`ADDRESS#folder` for one inside); where
            there are none, those of the file.
        file: The fleet's file; `fleet.toml` here where left out.

    Raises:
        UsageError: Nothing names a project.
        ConfigError: The file is not valid.
    """
    settings, base = Settings(), Path.cwd()
    path = file or Path(FLEET_FILE)
    if not places or file:
        found = _read(path)
        settings, base = found.update, path.resolve().parent
        places = [*places, *found.projects]
    members: dict[Path, Member] = {}
    for place in places:
        for member in _members(place, base):
            members.setdefault(member.folder, member)
    if not members:
        raise UsageError(f"no project matches {', '.join(places) or 'anything'}")
    return Roster(tuple(members.values()), settings)


def bring(member: Member) -> None:
    """Clone a member that is an address, or bring its clone to what is there now.

    One commit deep: the merge needs the project's last state and nothing before it.

    Raises:
        GitFailed: It cannot be reached.
    """
    if not member.address:
        return
    address = member.address.partition("#")[0]
    top = _clone_of(address)
    repository = Repository(top)
    if (top / ".git" / "HEAD").is_file():
        repository.run("fetch", "--quiet", "--depth", "1", "--no-tags", "origin", "HEAD", timeout=300)
        repository.run("checkout", "--quiet", "--force", "--detach", "FETCH_HEAD")
    else:
        shutil.rmtree(top, ignore_errors=True)
        top.parent.mkdir(parents=True, exist_ok=True)
        clone = ("clone", "--quiet", "--depth", "1", "--no-tags", "--", address, top)
        try:
            Repository(top.parent).run(*clone, timeout=300)
        except GitFailed:
            shutil.rmtree(top, ignore_errors=True)
            raise


def _read(path: Path) -> _File:
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        hint = f'name projects, or list them in {FLEET_FILE}: projects = ["../team-*/model"]'
        raise UsageError(f"no {path}", hint=hint) from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        lines = [f"{path}: `{'.'.join(map(str, one['loc']))}`: {one['msg']}" for one in error.errors()]
        raise ConfigError("\n".join(lines), hint=f"edit {path}") from error


def _members(place: str, base: Path) -> list[Member]:
    if _ADDRESS.match(place):
        address, _, inside = place.partition("#")
        name = address.rstrip("/").rpartition("/")[2].removesuffix(".git")
        name = f"{name}/{inside}" if inside else name
        return [Member(name, _clone_of(address) / inside, place)]
    path = Path(place).expanduser()
    if not re.search(r"[*?\[]", place):
        folder = (base / path).resolve()
        return [Member(_short(folder, base), folder)]
    start = Path(path.anchor) if path.is_absolute() else base
    pattern = str(path.relative_to(path.anchor)) if path.is_absolute() else str(path)
    found = sorted(one.resolve() for one in start.glob(pattern) if (one / ANSWERS_FILE).is_file())
    return [Member(_short(folder, base), folder) for folder in found]


def _short(folder: Path, base: Path) -> str:
    return folder.relative_to(base).as_posix() if folder.is_relative_to(base) and folder != base else folder.name


def _clone_of(address: str) -> Path:
    return cache_folder() / "clones" / hashlib.sha256(address.encode()).hexdigest()[:16]
