"""Answers `run NAME` in a blink where nothing changed since a full look found it up to date; loads next to nothing.

The full look resolves the workflow and compares content. What it found holds as long as every file that it looked
at, or missed, is the same by size, times and inode, and every setting around it is equal. Of a file that is no
longer the same nothing is concluded: then the full look is taken again. A change that a program hides by setting
the modification time back still shows in the inode's change time, which no program can set.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_MANIFEST = "scaffolder.toml"
_MEMORY = ".scaffolder/unchanged.json"
_FORM = 1
# As `settings` names it, which takes longer to load.
_PYTHON_VARIABLE = "SCAFFOLDER_PYTHON"
# What changed within the clock's last tick could have been read before or after.
_SETTLED_NANOSECONDS = 2_000_000_000


def answer(argv: Sequence[str]) -> dict[str, Any] | None:
    """Return what the full look said (`told`, `shown`: lines), or None where that has to be taken.

    Args:
        argv: The arguments of the command; only `run NAME`, quiet or not, has an answer.
    """
    name = _workflow(argv)
    root = _root()
    if name is None or root is None:
        return None
    found = _read(root).get(name)
    if found is None or found["around"] != _around(root) or any(_mark(path) != was for path, was in found["marks"]):
        return None
    return {"told": found["told"], "shown": found["shown"], "quiet": len(argv) > 2}


def remember(
    root: Path, name: str, paths: Iterable[Path], *, begun: int, told: Sequence[str], shown: Sequence[str]
) -> None:
    """Keep what a full look found.

    Args:
        root: The project's folder.
        name: The workflow, or "all".
        paths: Every file and folder that was looked at, and those that were looked for in vain.
        begun: When the look began, in nanoseconds since 1970. Where anything changed after that, or just before,
            nothing is kept: what the look read may not be what is there now.
        told: Lines of talk.
        shown: Lines of the result.
    """
    import contextlib

    from scaffolder.content import write_atomically

    texts = sorted({str(path) for path in paths} | _own_code())
    marks = [(path, _mark(path)) for path in texts]
    if any(max(found[1:3]) > begun - _SETTLED_NANOSECONDS for _, found in marks if found):
        return
    entry = {"around": _around(str(root)), "marks": marks, "told": list(told), "shown": list(shown)}
    with contextlib.suppress(OSError):  # a full disk: the full look is taken again next time
        write_atomically(root / _MEMORY, json.dumps({"form": _FORM, "answers": {**_read(str(root)), name: entry}}))


def _mark(path: str) -> list[int] | None:
    """Return what changes whenever a file's content does, or a folder's list of names; None where there is neither."""
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib alone takes longer to load than all of this
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _workflow(argv: Sequence[str]) -> str | None:
    command, name, *options = (*argv, "", "")[: max(2, len(argv))]
    plain = command == "run" and options in ([], ["-q"], ["--quiet"])
    return name if plain and not name.startswith("-") else None


def _root() -> str | None:
    """Return the project's folder as `find_project` does."""
    folder = os.path.realpath(os.curdir)
    while not os.path.isfile(os.path.join(folder, _MANIFEST)):  # noqa: PTH113, PTH118
        above = os.path.dirname(folder)  # noqa: PTH120
        if above == folder:
            return None
        folder = above
    return folder


def _around(root: str) -> dict[str, Any]:
    """Return what else an answer depends on: where the project lies, and how this command was started."""
    named = os.environ.get(_PYTHON_VARIABLE)
    return {"root": root, "python": sys.executable, "path": sys.path, _PYTHON_VARIABLE: named}


def _own_code() -> set[str]:
    """Return the files of this package's modules: another release may look at more."""
    ours = (module for name, module in sys.modules.items() if name.partition(".")[0] == __package__)
    return {str(module.__file__) for module in ours if getattr(module, "__file__", None)}


def _read(root: str) -> Mapping[str, Any]:
    try:
        with open(os.path.join(root, _MEMORY), encoding="utf-8") as memory:  # noqa: PTH118, PTH123
            found = json.load(memory)
            return found["answers"] if found["form"] == _FORM else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
