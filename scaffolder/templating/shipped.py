"""The template that came with this installation, put where every machine's answers file can name it."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import shutil
from pathlib import Path

from scaffolder.errors import EnvironmentFault
from scaffolder.templating.bundle import beside, make_bundle, releases_key
from scaffolder.templating.history import cache_folder

# The same on every machine and system: answers files name it, and plain Copier follows the `~`.
PLACE = "~/.scaffolder/template.bundle"
_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_template() -> tuple[str, str]:
    """Put the shipped template under the user's home and return its place and this release's tag.

    A bundle of a newer release that lies there already stays: it has the older tags too.

    Raises:
        EnvironmentFault: The home folder cannot be written, or the package came without its template.
    """
    return PLACE, _put(Path(PLACE).expanduser())


@functools.cache
def _put(target: Path) -> str:
    source = _PACKAGE / "_template.bundle"
    checkout = _PACKAGE.parent
    try:
        if (checkout / "copier.yml").is_file() and (checkout / ".git").exists():
            source = _of_checkout(checkout)
        if not source.is_file():
            raise EnvironmentFault("this installation came without its template", hint="install olive-scaffolder again")
        refs = _refs(source)
        tag = f"v{importlib.metadata.version('olive-scaffolder')}"
        if not target.is_file() or not _holds(_refs(target), refs):
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = beside(target)
            shutil.copyfile(source, aside)
            aside.replace(target)
    except OSError as error:
        raise EnvironmentFault(f"cannot write {target}: {error.strerror}", hint="or name one: --template") from error
    # A checkout may be ahead of what is installed.
    return tag if tag in refs else _newest(refs)


def _of_checkout(checkout: Path) -> Path:
    key = hashlib.sha256(releases_key(checkout).encode()).hexdigest()[:16]
    made = cache_folder() / "shipped" / f"{key}.bundle"
    if not made.is_file():
        made.parent.mkdir(parents=True, exist_ok=True)
        make_bundle(checkout, made)
    return made


def _refs(bundle: Path) -> dict[str, str]:
    """Return commits by tag, as the head of the file lists them."""
    found = {}
    with bundle.open("rb") as file:
        for line in file:
            commit, _, name = line.decode("ascii", "replace").strip().partition(" ")
            if not commit:
                break
            if name.startswith("refs/tags/"):
                found[name.removeprefix("refs/tags/")] = commit
    return found


def _holds(there: dict[str, str], ours: dict[str, str]) -> bool:
    return all(there.get(tag) == commit for tag, commit in ours.items())


def _newest(refs: dict[str, str]) -> str:
    from packaging.version import Version

    return max(refs, key=Version)
