"""Every locked model's files read again and compared; needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder import modellock
from scaffolder.content import Hashes
from scaffolder.errors import ConfigError, ScaffolderError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scaffolder.project import Project


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared.

    Attributes:
        models: Files and bytes by model.
        problems: `model`, `path`, `kind` ("missing", "changed", "extra") and `message` of each file that differs.
    """

    models: dict[str, tuple[int, int]]
    problems: tuple[dict[str, str], ...]


def verify(project: Project, model: str | None, *, on_event: Callable[[dict[str, Any]], None]) -> Verified:
    """Compare the files of one locked model, or of all, with the lock; every byte is read.

    Raises:
        ConfigError: Nothing is locked, or not this model.
    """
    locked = modellock.read(project.root)
    if not locked or (model is not None and model not in locked):
        what = f"no entry for {model}" if locked else "no entries"
        raise ConfigError(f"{modellock.LOCK} has {what}", hint="`scaffolder download` makes them")
    chosen = {name: entry for name, entry in locked.items() if model in (None, name)}
    # What is remembered of earlier readings would hide what a disk changed by itself.
    hashes = Hashes(project.root / ".scaffolder" / "hashes.json", fresh=True)
    problems: list[dict[str, str]] = []
    for name, entry in chosen.items():
        on_event({"event": "verify", "model": name, "files": len(entry.files), "size": entry.size})
        found = modellock.differences(entry, project.root / modellock.MODEL_CACHE / name, hashes)
        problems += [{"model": name, "path": each.path, "kind": each.kind, "message": each.message} for each in found]
    return Verified({name: (len(entry.files), entry.size) for name, entry in chosen.items()}, tuple(problems))


def problem_error(found: Verified) -> ScaffolderError:
    """Return the error that names every file."""
    lines = [f"{modellock.MODEL_CACHE}/{each['model']}/{each['path']} {each['message']}" for each in found.problems]
    count = len(lines)
    return ScaffolderError(
        "\n".join(
            [f"{count} file{'s' if count > 1 else ''} differ{'' if count > 1 else 's'} from models.lock", *lines]
        ),
        hint="`scaffolder download --force` brings the locked files back",
    )
