"""A job's configuration cut into stages: training passes, which all processes run, and others, which one runs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, NamedTuple

TRAINING_PASSES = {"lora", "qlora", "dora", "loftq", "loha", "lokr"}


class Stage(NamedTuple):
    """Consecutive passes of one kind.

    Attributes:
        trains: Whether they train.
        passes: Their names.
    """

    trains: bool
    passes: tuple[str, ...]


def split(config: dict[str, Any]) -> list[Stage]:
    """Return the stages of an Olive configuration; one training pass each, and what lies between them together."""
    found: list[Stage] = []
    for name, settings in config.get("passes", {}).items():
        trains = str(settings.get("type", "")).lower() in TRAINING_PASSES
        if found and not trains and not found[-1].trains:
            found[-1] = Stage(False, (*found[-1].passes, name))
        else:
            found.append(Stage(trains, (name,)))
    return found


def placed(spec: dict[str, Any], run: Path) -> dict[str, Any]:
    """Return the worker's job with its folders where this machine has them.

    Args:
        spec: Of the job, see `node`.
        run: The run's folder here; the project is the current folder.
    """
    job = copy.deepcopy(spec["job"])
    root = Path.cwd()
    work = run / "work"
    for settings in job["config"].get("passes", {}).values():
        arguments = settings.get("training_args", {})
        checkpoints = arguments.get("output_dir")
        if isinstance(checkpoints, str) and checkpoints.startswith(f"{job['cache']}/"):
            arguments["output_dir"] = str(work / checkpoints.removeprefix(f"{job['cache']}/"))
    base = {**job["base"], "path": str(root / job["base"]["path"])}
    return {**job, "root": str(root), "output": str(run / "output"), "cache": str(work), "base": base}


def output(plan: list[Stage], number: int, run: Path) -> Path:
    """Return where a stage leaves what it made; the last one's is the job's."""
    return run / "output" if number == len(plan) - 1 else run / "work" / f"stage-{number}"


def done(number: int, run: Path) -> Path:
    """Return the file that says that a stage before the last one is done."""
    return run / "work" / f"stage-{number}.done"


def configuration(config: dict[str, Any], plan: list[Stage], number: int, run: Path) -> dict[str, Any]:
    """Return the configuration of one stage; it starts from what the stage before it made."""
    chosen = {**copy.deepcopy(config), "passes": {name: config["passes"][name] for name in plan[number].passes}}
    if number:
        made = output(plan, number - 1, run) / "model_config.json"
        model = json.loads(made.read_text(encoding="utf-8"))
        # Olive writes null for what it then expects to be absent.
        settings = {key: value for key, value in model["config"].items() if value is not None}
        chosen["input_model"] = {**model, "config": settings}
    return chosen
