"""Tasks of lm-eval, through Olive's evaluator for them.

`olive benchmark` runs the same one, but takes one example of each task unless told how many, and keeps no figures.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import process
from scaffolder.artefacts import own_base
from scaffolder.errors import EnvironmentFault, ScaffolderError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaffolder.artefacts import Artefact
    from scaffolder.environment import Environment

_HOURS = 12 * 3600.0
_METRICS = "input_model_metrics.json"
_COUNT = "sample_len"  # how many examples a task had: no figure of a model
_LONGEST = 1024  # tokens of a question with its answer


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
        ScaffolderError: Olive gave no figures; its last lines are in the hint.
    """
    if artefact.form == "merged" or (artefact.form == "onnx" and artefact.use):
        return {}  # the same as `adapter`, and the evaluator puts no adapter on
    if artefact.adapter and own_base(artefact.adapter):
        return {}  # PEFT puts none on layers that Olive quantised
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text(json.dumps(_config(artefact, tasks, Path(folder))), encoding="utf-8")
        command: list[str | Path] = [environment.python, "-m", "olive", "run", "--config", config]
        done = process.capture(command, timeout=_HOURS, online=True)
        found = _figures(Path(folder) / _METRICS)
        if not found:
            hint = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
            raise ScaffolderError("Olive's LMEvaluator gave no figures", hint=hint)
    return found


def _config(artefact: Artefact, tasks: Sequence[str], output: Path) -> dict[str, Any]:
    onnx = artefact.form == "onnx"
    adapter = {"adapter_path": str(artefact.adapter)} if artefact.adapter else {}
    model = {"type": "ONNXModel", "onnx_file_name": "model.onnx"} if onnx else {"type": "HfModel", **adapter}
    backend = {"model_class": "ortgenai"} if onnx else {}
    system = {"type": "LocalSystem", "accelerators": [{"device": "cpu"}]}
    return {
        "input_model": {**model, "model_path": str(artefact.path)},
        "systems": {"local": system},
        "evaluators": {"tasks": {"type": "LMEvaluator", "tasks": list(tasks), "max_length": _LONGEST, **backend}},
        "evaluator": "tasks",
        "host": "local",
        "target": "local",
        "output_dir": str(output),
        "cache_dir": str(output / "cache"),
    }


def _figures(file: Path) -> dict[str, float]:
    """Return the numbers that Olive wrote, without what it says about each; none where it wrote nothing."""
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        return {}
    parts = {tuple(name.rsplit("-", 1)): float(entry["value"]) for name, entry in written.items()}
    return {".".join(names): value for names, value in parts.items() if names[-1] != _COUNT}
