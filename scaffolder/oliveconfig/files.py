"""Checks that the files a configuration names are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from scaffolder.oliveconfig.walk import Walk, shown

if TYPE_CHECKING:
    from scaffolder.oliveconfig.document import Node

# These folders of a project are filled by its own commands.
MADE_LATER = ("model-cache", "fine-tuning", "gen-model")
PROJECT_FOLDERS = (*MADE_LATER, "datasets", "inferences", "setup")
# Readers of the datasets library that take local files; any other name is a data set of its own.
FILE_READERS = frozenset(
    {"json", "csv", "parquet", "text", "arrow", "pandas", "xml", "imagefolder", "audiofolder", "webdataset"}
)
MODEL_FILES = (".onnx", ".pt", ".pth", ".safetensors", ".bin", ".gguf", ".tflite", ".xml")
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_GLOB = re.compile(r"[*?\[]")


def check_files(root_node: Node, walk: Walk, root: Path) -> None:
    """Report every local file or folder that is named and missing.

    Args:
        root_node: The configuration, laid flat.
        walk: Holds the paths that the schema knows, and takes the problems.
        root: The project's folder, to which relative paths relate.
    """
    for kind, node in walk.paths:
        if _wanted(kind, node.text, root) and not _is_there(root, node.text):
            what = {"file": "file", "folder": "folder", "model": "model"}[kind]
            walk.report(node, f"{what} {shown(node)} does not exist", hint=_hint(root))
    section = root_node.get("data_configs")
    for item in section.items if section else ():
        _data_files(item.get("load_dataset_config"), walk, root)


def _data_files(component: Node | None, walk: Walk, root: Path) -> None:
    if component is None:
        return
    name = component.get("data_name")
    if name is None or name.text.casefold() not in FILE_READERS:
        return
    base = component.get("data_dir")
    folder = root / base.text if base is not None and base.text else root
    if base is not None and base.text and not _ADDRESS.match(base.text) and not _is_there(root, base.text):
        walk.report(base, f"folder {shown(base)} does not exist", hint=_hint(root))
        return
    if (files := component.get("data_files")) is not None and {"type", "config"} <= set(files.members):
        message = "data that Olive fetches itself was removed; name a local file"
        # The schema could only say that a table stands where a file name should.
        walk.problems[:] = [found for found in walk.problems if not found.key.startswith(f"{files.path}.")]
        walk.report(files, f"`data_files`: {message}", hint=walk.upgrade_hint, at_key=True)
        return
    for node in strings_in(component.get("data_files")):
        if not _ADDRESS.match(node.text) and not _is_there(folder, node.text):
            found = "matches no file" if _GLOB.search(node.text) else "does not exist"
            walk.report(node, f"data file {shown(node)} {found}", hint=_hint(folder))


def _hint(folder: Path) -> str:
    return f"relative paths start at `{folder}`"


def strings_in(node: Node | None) -> list[Node]:
    """Every string in a value, however it is nested."""
    if node is None:
        return []
    if node.kind == "string":
        return [node]
    return [found for part in (*node.items, *node.members.values()) for found in strings_in(part)]


def _wanted(kind: str, text: str, root: Path) -> bool:
    if not text or _ADDRESS.match(text) or _made_later(text):
        return False
    return kind != "model" or is_path(text, root)


def _made_later(text: str) -> bool:
    return text.replace("\\", "/").removeprefix("./").split("/")[0] in MADE_LATER


def is_path(text: str, root: Path) -> bool:
    """Whether a model's name means a place on this machine and not a repository of the hub."""
    plain = text.replace("\\", "/")
    first = plain.split("/")[0]
    return (
        plain.startswith((".", "/", "~"))
        or "\\" in text
        or re.match(r"^[A-Za-z]:/", plain) is not None
        or plain.count("/") > 1
        or plain.lower().endswith(MODEL_FILES)
        or first in PROJECT_FOLDERS
        or ("/" in plain and (root / first).is_dir())
    )


def _is_there(folder: Path, text: str) -> bool:
    try:
        path = folder.absolute() / Path(text).expanduser()
        if path.exists():
            return True
        if not _GLOB.search(text):
            return False
        start = Path(path.anchor)
        return next(start.glob(path.relative_to(start).as_posix()), None) is not None
    except (OSError, ValueError, RuntimeError):
        # No such name can exist here, or there is no home folder.
        return False
