"""`model-cache/models.lock`: which bytes each downloaded model is made of, for every machine the same."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from scaffolder.content import Hashes, write_atomically
from scaffolder.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

MODEL_CACHE = "model-cache"
LOCK = f"{MODEL_CACHE}/models.lock"
_VERSION = 1
_HEAD = """\
# What `scaffolder download` put into model-cache/: source, commit, and every file's size in bytes and SHA-256.
# Commit this file: `scaffolder download --locked` brings the same bytes to another machine. Not for editing.
"""
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class LockedFile:
    """One file.

    Attributes:
        size: Bytes.
        sha256: Of its content, in hexadecimal.
        blob: Git's SHA-1 of it, where the hub keeps it in git itself: what the hub compares by.
    """

    size: int
    sha256: str
    blob: str | None = None


@dataclass(frozen=True, slots=True)
class LockedModel:
    """One model.

    Attributes:
        source: Where it came from, as a URI without any path of a machine.
        files: Files by path below the model's folder, with forward slashes.
        commit: The hub's commit; None for sources that have none.
        revision: The branch, tag or commit that was asked for; None for the hub's default.
        made_from: SHA-256 of the file that was converted, where one was.
    """

    source: str
    files: Mapping[str, LockedFile] = field(default_factory=dict)
    commit: str | None = None
    revision: str | None = None
    made_from: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


@dataclass(frozen=True, slots=True)
class Difference:
    """A file of a model's folder that is not what the lock says.

    Attributes:
        path: Below the model's folder.
        kind: "missing", "changed" or "extra".
        message: What is the matter with it, in words.
    """

    path: str
    kind: str
    message: str


def safe_path(path: str) -> str:
    """Return a file's path below a model's folder, or raise ValueError where it could lead out of it."""
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    parts = {*posix.parts, *windows.parts}
    if not path or posix.is_absolute() or windows.drive or windows.root or parts & {"..", "."} or "\\" in path:
        raise ValueError(f"`{path}` is no path below a model's folder")
    return path


def safe_id(value: str) -> str:
    """Return a model's id, `organisation/name`, or raise ValueError where it is none."""
    if not _SAFE_ID.fullmatch(value):
        raise ValueError(f"`{value}` is not of the form organisation/name")
    return value


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    blob: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    source: str
    commit: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    revision: str | None = None
    made_from: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    files: dict[Annotated[str, AfterValidator(safe_path)], _File]


class _Lock(BaseModel):
    model_config = ConfigDict(extra="forbid")
    version: int = Field(ge=_VERSION, le=_VERSION)
    models: dict[Annotated[str, AfterValidator(safe_id)], _Model] = Field(default_factory=dict)


def read(root: Path) -> dict[str, LockedModel]:
    """Return the locked models of the project in `root` by id; none where there is no lock.

    Raises:
        ConfigError: The file is no lock that this release can read, or names a path outside a model's folder.
    """
    path = root / LOCK
    if not path.is_file():
        return {}
    hint = f"`git checkout {LOCK}` brings back the last good one; for a merge conflict, take one side of each model"
    try:
        found = _Lock.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{LOCK}: {error}", hint=hint) from error
    except ValidationError as error:
        lines = [f"{LOCK}: `{'.'.join(map(str, each['loc']))}`: {each['msg']}" for each in error.errors()]
        raise ConfigError("\n".join(lines), hint=hint) from error
    return {name: _locked(model) for name, model in found.models.items()}


def _locked(model: _Model) -> LockedModel:
    files = {name: LockedFile(file.size, file.sha256, file.blob) for name, file in model.files.items()}
    return LockedModel(model.source, files, model.commit, model.revision, model.made_from)


def write(root: Path, models: Mapping[str, LockedModel]) -> None:
    """Write the lock: models and files in the order of their names, one file a line, so that changes merge."""
    write_atomically(root / LOCK, dumps(models))


def put(root: Path, name: str, model: LockedModel) -> None:
    """Set one model's entry."""
    write(root, {**read(root), name: model})


def dumps(models: Mapping[str, LockedModel]) -> str:
    """Return the text of a lock."""
    lines = [_HEAD, f"version = {_VERSION}"]
    for name, model in sorted(models.items()):
        lines += ["", f"[models.{_text(name)}]"]
        settings = {key: getattr(model, key) for key in ("source", "revision", "commit", "made_from")}
        lines += [f"{key} = {_text(value)}" for key, value in settings.items() if value is not None]
        lines += ["", f"[models.{_text(name)}.files]"]
        lines += [f"{_text(path)} = {_inline(file)}" for path, file in sorted(model.files.items())]
    return "\n".join(lines) + "\n"


def _inline(file: LockedFile) -> str:
    blob = f", blob = {_text(file.blob)}" if file.blob else ""
    return f"{{ size = {file.size}, sha256 = {_text(file.sha256)}{blob} }}"


def _text(value: str) -> str:
    # A JSON string is a TOML basic string once the one control character that JSON leaves alone is escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def differences(model: LockedModel, folder: Path, hashes: Hashes | None = None) -> list[Difference]:
    """Compare a model's folder with its entry.

    Args:
        model: The entry.
        folder: The model's folder.
        hashes: Reads the files' content; without it sizes alone are compared, which costs nothing.

    Returns:
        What differs, in the order of the paths; none where the folder holds exactly what the lock says.
    """
    found = [_compare(path, file, folder, hashes) for path, file in model.files.items()]
    extra = present(folder) - model.files.keys()
    found += [Difference(path, "extra", "is not in models.lock") for path in extra]
    return sorted((each for each in found if each is not None), key=lambda each: each.path)


def present(folder: Path) -> set[str]:
    """Return the files below a model's folder, without hidden ones, which desktops leave; none without a folder."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)}


def _compare(path: str, file: LockedFile, folder: Path, hashes: Hashes | None) -> Difference | None:
    try:
        size = (folder / path).stat().st_size
        if size != file.size:
            return Difference(path, "changed", f"has {size:,} bytes instead of {file.size:,}")
        if hashes is not None and (sha256 := hashes.file(folder / path)) != file.sha256:
            return Difference(path, "changed", f"has SHA-256 {sha256[:12]}… instead of {file.sha256[:12]}…")
    except FileNotFoundError:
        return Difference(path, "missing", "is missing")
    return None


def of_folder(folder: Path, hashes: Hashes, *, source: str, made_from: str | None = None) -> LockedModel:
    """Return the entry for what lies in a folder."""
    files = {path: LockedFile((folder / path).stat().st_size, hashes.file(folder / path)) for path in present(folder)}
    return LockedModel(source, files, made_from=made_from)
