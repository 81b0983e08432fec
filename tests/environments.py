"""Environments for projects, made of the packages that run these tests: whole, or with something wrong."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement


def packages() -> list[Path]:
    """Every file and folder that lies where this interpreter finds its packages."""
    folders = dict.fromkeys(Path(entry).resolve() for entry in sys.path if entry.endswith("site-packages"))
    found: dict[str, Path] = {}
    for folder in folders:
        for path in folder.iterdir() if folder.is_dir() else []:
            found.setdefault(path.name, path)
    return [path for path in found.values() if path.suffix != ".pth" and path.name != "__pycache__"]


def needed_by(distribution: str) -> set[str]:
    """Names of the files and folders that a distribution and all it needs put into site-packages."""
    names: set[str] = set()
    waiting, seen = [distribution], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for other systems or releases of Python
        names |= {path.parts[0] for path in found.files or [] if path.parts[0] != ".."}
        required = [Requirement(line) for line in found.requires or []]
        waiting += [need.name for need in required if need.marker is None or need.marker.evaluate({"extra": ""})]
    return names


def make_light_environment(folder: Path) -> Path:
    """Make a virtual environment with the command and what it needs itself, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    place = next(folder.glob("lib/python*/site-packages"))
    wanted = needed_by("olive-scaffolder")
    for path in packages():
        if path.name in wanted:
            (place / path.name).symlink_to(path)
    # Where the command's own code lies when it is installed for development.
    (place / "scaffolder.pth").write_text(str(Path(__file__).parent.parent) + "\n")
    return folder / "bin" / "python"


def make_environment(root: Path, *, without: tuple[str, ...] = ()) -> Path:
    """Make `root`/.venv with links to the packages here, and return the folder they lie in.

    Args:
        root: A project.
        without: Import names that are left out, with what says they are installed.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root / ".venv")], check=True)
    folder = next((root / ".venv").glob("lib/python*/site-packages"))
    names = "|".join(re.escape(name) for name in without) or "(?!)"
    for path in packages():
        if not re.match(rf"({names})(-[\d.]+\S*)?(\.dist-info|\.py)?$", path.name):
            (folder / path.name).symlink_to(path)
    return folder


def own_copy(folder: Path, name: str) -> Path:
    """Turn the link to a package's folder into a folder of links, to change what lies in it."""
    place = folder / name
    target = place.resolve()
    place.unlink()
    place.mkdir()
    for path in target.iterdir():
        (place / path.name).symlink_to(path)
    return place


def claim_version(folder: Path, distribution: str, version: str) -> None:
    """Let a distribution's metadata say another version."""
    [info] = folder.glob(f"{distribution}-*.dist-info")
    metadata = own_copy(folder, info.name) / "METADATA"
    text = metadata.read_text(encoding="utf-8")
    metadata.unlink()
    metadata.write_text(re.sub(r"^Version: .*$", f"Version: {version}", text, count=1, flags=re.MULTILINE))
