"""A model's own Python code does not run, whatever a configuration or a library's default says, unless it is trusted.

Trusted is a folder below `model-cache/` whose commit in `models.lock` is the one that `[trust]` of `scaffolder.toml`
names, with the Python files still as they were locked. ModelBuilder of ONNX Runtime GenAI trusts every model by
default, and transformers asks on standard input: neither is an answer that the user gave.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .explain import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE = "model-cache"


def guard(root: Path) -> None:
    """Make transformers take no remote code but that of trusted folders; call it before anything imports its models."""
    from transformers import dynamic_module_utils

    trusted = trusted_folders(root)
    dynamic_module_utils.resolve_trust_remote_code = _resolver(dynamic_module_utils.resolve_trust_remote_code, trusted)
    dynamic_module_utils.get_cached_module_file = _fetcher(dynamic_module_utils.get_cached_module_file, trusted)


def trusted_folders(root: Path) -> set[Path]:
    """Return the folders whose own code may run.

    Raises:
        TaskError: A Python file of such a folder is not the one that was trusted.
    """
    wanted = _read(root / "scaffolder.toml").get("trust", {})
    locked = _read(root / CACHE / "models.lock").get("models", {})
    found = {name: root / CACHE / name for name in wanted if locked.get(name, {}).get("commit") == wanted[name]}
    for name, folder in found.items():
        for path in folder.rglob("*.py"):
            known = locked[name]["files"].get(path.relative_to(folder).as_posix(), {}).get("sha256")
            if known != hashlib.sha256(path.read_bytes()).hexdigest():
                raise TaskError(
                    f"{CACHE}/{name}/{path.relative_to(folder).as_posix()} is not the file that was trusted",
                    f"`scaffolder download {name} --force` brings it back",
                )
    return {folder.resolve() for folder in found.values()}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _resolver(resolve: Callable[..., Any], trusted: set[Path]) -> Callable[..., Any]:
    @functools.wraps(resolve)
    def resolved(trust: Any, name: Any, has_local: bool, has_remote: bool, *rest: Any, **settings: Any) -> Any:
        if has_remote and not has_local and not _is_trusted(name, trusted):
            raise _refusal(name)
        return resolve(bool(trust) and _is_trusted(name, trusted), name, has_local, has_remote, *rest, **settings)

    return resolved


def _fetcher(fetch: Callable[..., Any], trusted: set[Path]) -> Callable[..., Any]:
    @functools.wraps(fetch)
    def fetched(name: Any, *rest: Any, **settings: Any) -> Any:
        if not _is_trusted(name, trusted):
            raise _refusal(name)
        return fetch(name, *rest, **settings)

    return fetched


def _is_trusted(name: Any, trusted: set[Path]) -> bool:
    return Path(str(name)).resolve() in trusted


def _refusal(name: Any) -> TaskError:
    folder = Path(str(name))
    return TaskError(
        f"{folder.name} can only be loaded with Python code of its own, which would run with your rights",
        'read that code; if you trust it, add `"ORG/NAME" = "COMMIT"` under [trust] in scaffolder.toml, '
        "then `scaffolder download --update`",
    )
