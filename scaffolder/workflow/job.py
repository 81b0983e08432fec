"""The job that the worker gets: a configuration with a folder for its checkpoints, and what to verify against."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from scaffolder.artefacts import OWN_ADAPTER
from scaffolder.content import digest
from scaffolder.records import adapter_of, read_record
from scaffolder.worker.stages import TRAINING_PASSES

if TYPE_CHECKING:
    from pathlib import Path

    from scaffolder.content import Hashes
    from scaffolder.plan import Fingerprint, Workflow
    from scaffolder.project import Project
    from scaffolder.workflow.room import Forecast


def make_job(
    project: Project,
    workflow: Workflow,
    aside: Path,
    cache: Path,
    forecast: Forecast | None,
    base_loss: dict[str, Any] | None = None,
    kept: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the worker needs to run a workflow into `aside`.

    Args:
        project: The project.
        workflow: Resolved.
        aside: Folder of the output, not there yet.
        cache: Takes Olive's cache and the checkpoints.
        forecast: What its training is estimated to take, told when memory runs out.
        base_loss: The base's loss on the evaluation examples where it is known, so that it is not measured again.
        kept: See `kept_base`.
    """
    manifest = project.manifest
    evaluation = manifest.dataset.reader(manifest.dataset.eval)
    return {
        "task": "run",
        "root": str(project.root),
        "config": _with_checkpoints(workflow.config, cache),
        "output": str(aside),
        "cache": str(cache),
        "kept_base": kept,
        "estimate": {"memory": forecast.memory, "available": forecast.available} if forecast else None,
        "seed": _seed(workflow.config),
        "base": {"path": str(project.model_folder), "id": manifest.model.id, "loss": base_loss},
        "evaluation": evaluation if (project.root / manifest.dataset.eval).is_file() else None,
    }


def kept_base(project: Project, workflow: Workflow, wanted: Fingerprint, hashes: Hashes) -> dict[str, Any] | None:
    """Return the published export if an adapter that its graph takes as an input is all that changed since.

    Returns:
        `export`, `files` of its base and `adapter`, the folder of what takes the old one's place; None where the
        base has to be made anew.
    """
    published, adapter = read_record(workflow.output), adapter_of(workflow.config)
    if published is None or adapter is None or OWN_ADAPTER not in published.files:
        return None
    if published.fingerprint.without(adapter) != wanted.without(adapter):
        return None
    if not published.intact(workflow.output, hashes):
        return None
    files = [name for name in published.files if name != OWN_ADAPTER]
    return {"export": str(workflow.output), "files": files, "adapter": str(project.root / adapter)}


def _with_checkpoints(config: dict[str, Any], cache: Path) -> dict[str, Any]:
    """Give every training pass a folder for its checkpoints, one for each content and setting."""
    config = copy.deepcopy(config)
    for name, settings in config.get("passes", {}).items():
        if str(settings.get("type", "")).lower() not in TRAINING_PASSES:
            continue
        key = digest([config.get("input_model"), config.get("data_configs"), settings])[:12]
        arguments = settings.setdefault("training_args", {})
        arguments.setdefault("output_dir", str(cache / "checkpoints" / f"{name}-{key}"))
        arguments.setdefault("save_total_limit", 2)
    return config


def _seed(config: dict[str, Any]) -> int:
    for settings in config.get("passes", {}).values():
        seed = settings.get("training_args", {}).get("seed")
        if isinstance(seed, int):
            return seed
    return 42
