"""The interpreter that does a project's heavy work, and what is installed there."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from scaffolder import process, settings
from scaffolder.errors import EnvironmentFault

OWN = ".venv"
# A run made with other versions of these is another run.
VERSIONS_THAT_MATTER = (
    "olive-ai",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "onnxruntime-genai",
    "onnxscript",
    "peft",
    "torch",
    "transformers",
)
# The same release is built for processors and for cards under names of its own.
_FOR_CARDS = {"onnxruntime-genai": "onnxruntime-genai-cuda", "onnxruntime": "onnxruntime-gpu"}
_LOOKED_FOR = {*VERSIONS_THAT_MATTER, *_FOR_CARDS.values()}


@dataclass(frozen=True, slots=True)
class Environment:
    """An interpreter and the folders its packages lie in."""

    python: Path
    site_packages: tuple[Path, ...]

    def version(self, distribution: str) -> str | None:
        """Return the installed version of a distribution, or None."""
        found = next(
            iter(importlib.metadata.distributions(name=distribution, path=[str(p) for p in self.site_packages])),
            None,
        )
        return found.version if found else None

    def versions(self) -> dict[str, str]:
        """Return the versions that matter to a run's result."""
        found = {name: self.version(name) for name in VERSIONS_THAT_MATTER}
        found |= {name: found[name] or self.version(other) for name, other in _FOR_CARDS.items()}
        return {name: version for name, version in found.items() if version}

    def looked_at(self, root: Path) -> set[Path]:
        """Return what `find_environment` and `versions` depend on, for the project in `root`: files and folders."""
        records = {
            record
            for folder in self.site_packages
            for info in (*folder.glob("*.dist-info"), *folder.glob("*.egg-info"))
            if info.name.partition("-")[0].lower().replace("_", "-") in _LOOKED_FOR
            for record in (info, info / "METADATA", info / "PKG-INFO")
        }
        settings_of_venv = {self.python.parent / "pyvenv.cfg", self.python.parent.parent / "pyvenv.cfg"}
        return {*_own_places(root), self.python, *settings_of_venv, *self.site_packages, *records}


def find_environment(root: Path) -> Environment:
    """Return the environment for the project in `root`.

    In this order: `SCAFFOLDER_PYTHON`, the project's own `.venv`, the interpreter that runs this command
    if it has Olive.

    Raises:
        EnvironmentFault: None of them can run Olive, or the one that is named does not exist.
    """
    named = _named(root)
    if named is not None:
        return named
    if importlib.util.find_spec("olive") is not None:
        return Environment(Path(sys.executable), tuple(Path(entry) for entry in sys.path if entry))
    raise EnvironmentFault(
        "this project has no environment with Olive yet",
        hint="scaffolder setup",
    )


def find_interpreter(root: Path) -> Path:
    """Return the interpreter for work that needs no Olive: the project's, else the one that runs this command.

    Raises:
        EnvironmentFault: The project's own does not run, or the one that is named does not exist.
    """
    named = _named(root)
    return named.python if named else Path(sys.executable)


def _named(root: Path) -> Environment | None:
    chosen, own = settings.chosen_python(), own_python(root)
    if chosen is not None and not chosen.is_file():
        hint = f"name an interpreter, or `unset {settings.PYTHON_VARIABLE}`"
        raise EnvironmentFault(f"{settings.PYTHON_VARIABLE} names {chosen}, which does not exist", hint=hint)
    python = chosen or own
    return Environment(python, _site_packages(python, own=python == own)) if python is not None else None


def own_python(root: Path) -> Path | None:
    """Return the interpreter in the project's own `.venv`, or None."""
    return next((path for path in _own_places(root) if path.is_file()), None)


def _own_places(root: Path) -> list[Path]:
    # Of a virtual environment, of one on Windows, of a conda environment on Windows.
    return [root / OWN / place for place in ("bin/python", "Scripts/python.exe", "python.exe")]


def _site_packages(python: Path, *, own: bool) -> tuple[Path, ...]:
    if Path(sys.executable) == python:
        return tuple(Path(entry) for entry in sys.path if entry)
    program = "import sysconfig; print(sysconfig.get_path('purelib')); print(sysconfig.get_path('platlib'))"
    result = process.capture([python, "-I", "-c", program])
    if result.returncode != 0:
        hint = "scaffolder setup --recreate" if own else result.stderr.strip()[-300:]
        raise EnvironmentFault(f"{python} does not run", hint=hint)
    return tuple(dict.fromkeys(Path(line) for line in result.stdout.splitlines()))
