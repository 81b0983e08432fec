"""From a verified output aside to the artefact under its name, with its record."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from scaffolder import modellock
from scaffolder.artefacts import find_artefact
from scaffolder.records import RunRecord, find_runs, makers
from scaffolder.scores import Scores

if TYPE_CHECKING:
    import datetime
    from pathlib import Path

    from scaffolder.content import Hashes
    from scaffolder.environment import Environment
    from scaffolder.plan import Fingerprint, Workflow
    from scaffolder.project import Project
    from scaffolder.workflow.current import Context
    from scaffolder.workflow.room import Forecast
    from scaffolder.workflow.supervise import Outcome

_CACHES_KEPT = 3


def record(
    project: Project,
    workflow: Workflow,
    wanted: Fingerprint,
    run_id: str,
    started: datetime.datetime,
    seconds: float,
    outcome: Outcome,
    forecast: Forecast | None,
    hashes: Hashes,
    *,
    made_on: dict[str, Any] | None = None,
) -> RunRecord:
    """Return the lineage of a verified output, with the hash of every file in it."""
    aside = workflow.runs_folder / run_id / "output"
    files = {
        path.relative_to(aside).as_posix(): [path.stat().st_size, hashes.file(path)]
        for path in sorted(aside.rglob("*"))
        if path.is_file()
    }
    return RunRecord(
        id=run_id,
        workflow=workflow.name,
        preset=workflow.preset,
        output=project.relative(workflow.output),
        started=started.isoformat(timespec="seconds"),
        seconds=round(seconds, 2),
        fingerprint=wanted,
        config=workflow.config,
        metrics=outcome.metrics,
        training=outcome.training,
        size=outcome.size,
        peak_memory=outcome.peak_memory,
        model=_locked(project, workflow, hashes),
        parents=makers(find_runs(project), wanted.inputs),
        estimate=asdict(forecast) if forecast else None,
        files=files,
        command_version=importlib.metadata.version("olive-scaffolder"),
        made_on=made_on,
    )


def _locked(project: Project, workflow: Workflow, hashes: Hashes) -> dict[str, str] | None:
    """Return where the input model came from, if its files are the locked ones."""
    folder = str(workflow.config.get("input_model", {}).get("model_path"))
    entry = modellock.read(project.root).get(folder.removeprefix(f"{modellock.MODEL_CACHE}/"))
    if entry is None or any(one.kind != "extra" for one in modellock.differences(entry, project.root / folder, hashes)):
        return None
    return {"source": entry.source, **({"commit": entry.commit} if entry.commit else {})}


def publish(aside: Path, output: Path) -> None:
    """Make the finished folder visible under its name; the one before stays beside it, hidden.

    Its files are for whom the user's files are for: Olive writes some weights so that the user alone may read them.
    """
    hidden = os.umask(0o077)
    os.umask(hidden)
    for path in aside.rglob("*"):
        if path.is_file():
            path.chmod(path.stat().st_mode | 0o666 & ~hidden)
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.exists():
        previous = output.with_name(f".{output.name}.previous")
        shutil.rmtree(previous, ignore_errors=True)
        output.rename(previous)
    aside.rename(output)


def prune(caches: Path) -> None:
    """Delete all but the newest of Olive's caches: each holds whole models."""
    folders = sorted((path for path in caches.glob("*") if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for folder in folders[:-_CACHES_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


def loss_of_base(context: Context) -> dict[str, Any] | None:
    """Return the base's loss on the evaluation examples where an earlier run or `evaluate` measured it, or None."""
    project = context.project
    if not (project.root / project.manifest.dataset.eval).is_file() or not project.model_folder.is_dir():
        return None
    return Scores(project, context.environment, context.hashes).known(find_artefact(project, "base"))


def remember_losses(project: Project, record: RunRecord, environment: Environment, hashes: Hashes) -> None:
    """Spare `evaluate` what the verification measured."""
    artefact = find_artefact(project, record.output) if "after" in record.metrics else None
    if artefact is None:
        return
    scores = Scores(project, environment, hashes)
    scores.remember(artefact, record.metrics["after"])
    # An export's loss without its adapter is that of the exported base.
    if artefact.form == "adapter" and "before" in record.metrics:
        scores.remember(replace(artefact, form="base", adapter=None), record.metrics["before"])
