"""Tasks of lm-eval, through Olive's own command."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import process
from scaffolder.errors import EnvironmentFault, ScaffolderError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scaffolder.artefacts import Artefact
    from scaffolder.environment import Environment

_HOURS = 12 * 3600.0


def version(environment: Environment) -> str:
    """Return the release of lm-eval.

    Raises:
        EnvironmentFault: It is not installed in the project's environment.
    """
    found = environment.version("lm-eval")
    if found is None:
        raise EnvironmentFault(
            "scaffolder.toml: `evaluation.lm_eval` names tasks, but lm-eval is not in the project's environment",
            hint=f"{environment.python} -m pip install lm-eval, or empty the list; its data sets come from the hub",
        )
    return found


def run(environment: Environment, artefact: Artefact, tasks: Sequence[str]) -> dict[str, float]:
    """Return the figures of the tasks for a model, by `TASK.METRIC`.

    Raises:
        ScaffolderError: Olive's command gave no figures; its last lines are in the hint.
    """
    if artefact.form == "merged" or (artefact.form == "onnx" and artefact.use):
        return {}  # the same as `adapter`, and `olive benchmark` puts no adapter on
    with tempfile.TemporaryDirectory() as folder:
        done = process.capture(_command(environment.python, artefact, tasks, Path(folder)), timeout=_HOURS, online=True)
        found = _figures(Path(folder))
        if not found:
            hint = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
            raise ScaffolderError("`olive benchmark` gave no figures", hint=hint)
    return found


def _command(python: Path, artefact: Artefact, tasks: Sequence[str], output: Path) -> list[str]:
    adapter = ["--adapter_path", str(artefact.adapter)] if artefact.adapter else []
    model = ["--model_name_or_path", str(artefact.path), *adapter]
    backend = ["--backend", "ortgenai"] if artefact.form == "onnx" else []
    return [str(python), "-m", "olive", "benchmark", *model, *backend, "--tasks", *tasks, "--output_path", str(output)]


def _figures(folder: Path) -> dict[str, float]:
    """Return every number that Olive's metrics files hold."""
    found: dict[str, float] = {}
    for file in sorted(folder.rglob("*metrics*.json")):
        found.update(_numbers(json.loads(file.read_text(encoding="utf-8"))))
    return found


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _numbers(child, f"{path}.{key}" if path else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path.removesuffix(".value"), float(value)
