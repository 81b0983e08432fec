"""A model's own Python code does not run, whatever a configuration or a library's default says, unless it is trusted.

Trusted is a folder below `model-cache/` whose commit in `models.lock` is the one that `[trust]` of `scaffolder.toml`
names, with the Python files still as they were locked; trusted is also a folder with no other Python files than
these, as merging and quantising make them. ModelBuilder of ONNX Runtime GenAI trusts every model by
default, and transformers asks on standard input: neither is an answer that the user gave.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .explain import TaskError
from .loading import loading

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE = "model-cache"


@dataclass(frozen=True, slots=True)
class Trusted:
    """Whose own code may run: that of folders, and the same files where a merged or quantised model took them along.

    Attributes:
        folders: Absolute paths.
        code: SHA-256 of the folders' Python files, by name below the model's folder.
    """

    folders: set[Path]
    code: dict[str, set[str]]

    def allows(self, name: object) -> bool:
        """Whether the code that lies in the folder `name` may run; a name of the hub is no folder."""
        folder = Path(str(name)).resolve()
        return folder in self.folders or self._is_copy(folder)

    def _is_copy(self, folder: Path) -> bool:
        files = list(folder.rglob("*.py"))
        return bool(files) and all(_sha256(file) in self.code.get(_below(file, folder), ()) for file in files)


def guard(root: Path) -> None:
    """Make transformers take no remote code but trusted one; call it before anything imports its models."""
    with loading():
        from transformers import dynamic_module_utils

    trusted = find_trusted(root)
    dynamic_module_utils.resolve_trust_remote_code = _resolver(dynamic_module_utils.resolve_trust_remote_code, trusted)
    dynamic_module_utils.get_cached_module_file = _fetcher(dynamic_module_utils.get_cached_module_file, trusted)


def find_trusted(root: Path) -> Trusted:
    """Return whose own code may run in the project in `root`.

    Raises:
        TaskError: A Python file of a trusted folder is not the one that was trusted.
    """
    wanted = _read(root / "scaffolder.toml").get("trust", {})
    locked = _read(root / CACHE / "models.lock").get("models", {})
    found = {name: root / CACHE / name for name in wanted if locked.get(name, {}).get("commit") == wanted[name]}
    code: dict[str, set[str]] = {}
    for name, folder in found.items():
        for path in folder.rglob("*.py"):
            below, sha256 = _below(path, folder), _sha256(path)
            if locked[name]["files"].get(below, {}).get("sha256") != sha256:
                raise TaskError(
                    f"{CACHE}/{name}/{below} is not the file that was trusted",
                    f"`scaffolder download {name} --force` brings it back",
                )
            code.setdefault(below, set()).add(sha256)
    return Trusted({folder.resolve() for folder in found.values()}, code)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _resolver(resolve: Callable[..., Any], trusted: Trusted) -> Callable[..., Any]:
    @functools.wraps(resolve)
    def resolved(trust: Any, name: Any, has_local: bool, has_remote: bool, *rest: Any, **settings: Any) -> Any:
        needed, allowed = has_remote and not has_local, trusted.allows(name)
        if needed and not allowed:
            raise _refusal(name)
        # Under [trust] the user has said yes; beside a class that transformers has itself, the caller decides.
        return resolve(allowed and (needed or bool(trust)), name, has_local, has_remote, *rest, **settings)

    return resolved


def _fetcher(fetch: Callable[..., Any], trusted: Trusted) -> Callable[..., Any]:
    @functools.wraps(fetch)
    def fetched(name: Any, *rest: Any, **settings: Any) -> Any:
        if not trusted.allows(name):
            raise _refusal(name)
        return fetch(name, *rest, **settings)

    return fetched


def _refusal(name: Any) -> TaskError:
    folder = Path(str(name))
    return TaskError(
        f"{folder.name} can only be loaded with Python code of its own, which would run with your rights",
        'read that code; if you trust it, add `"ORG/NAME" = "COMMIT"` under [trust] in scaffolder.toml, '
        "then `scaffolder download --update`",
    )
