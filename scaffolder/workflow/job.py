"""The job that the worker gets: a configuration with a folder for its checkpoints, and what to verify against."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from scaffolder.content import digest

if TYPE_CHECKING:
    from pathlib import Path

    from scaffolder.plan import Workflow
    from scaffolder.project import Project
    from scaffolder.workflow.room import Forecast

_ADAPTER_PASSES = {"lora", "qlora", "dora", "loftq", "loha", "lokr"}


def make_job(
    project: Project,
    workflow: Workflow,
    aside: Path,
    cache: Path,
    forecast: Forecast | None,
    base_loss: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return what the worker needs to run a workflow into `aside`.

    Args:
        project: The project.
        workflow: Resolved.
        aside: Folder of the output, not there yet.
        cache: Takes Olive's cache and the checkpoints.
        forecast: What its training is estimated to take, told when memory runs out.
        base_loss: The base's loss on the evaluation examples where it is known, so that it is not measured again.
    """
    manifest = project.manifest
    evaluation = manifest.dataset.reader(manifest.dataset.eval)
    return {
        "task": "run",
        "root": str(project.root),
        "config": _with_checkpoints(workflow.config, cache),
        "output": str(aside),
        "cache": str(cache),
        "estimate": {"memory": forecast.memory, "available": forecast.available} if forecast else None,
        "seed": _seed(workflow.config),
        "base": {"path": str(project.model_folder), "id": manifest.model.id, "loss": base_loss},
        "evaluation": evaluation if (project.root / manifest.dataset.eval).is_file() else None,
    }


def _with_checkpoints(config: dict[str, Any], cache: Path) -> dict[str, Any]:
    """Give every training pass a folder for its checkpoints, one for each content and setting."""
    config = copy.deepcopy(config)
    for name, settings in config.get("passes", {}).items():
        if str(settings.get("type", "")).lower() not in _ADAPTER_PASSES:
            continue
        key = digest([config.get("input_model"), config.get("data_configs"), settings])[:12]
        arguments = settings.setdefault("training_args", {})
        arguments.setdefault("output_dir", str(cache / "checkpoints" / f"{name}-{key}"))
        arguments.setdefault("save_total_limit", 2)
        arguments.setdefault("include_num_input_tokens_seen", "non_padding")
    return config


def _seed(config: dict[str, Any]) -> int:
    for settings in config.get("passes", {}).values():
        seed = settings.get("training_args", {}).get("seed")
        if isinstance(seed, int):
            return seed
    return 42
