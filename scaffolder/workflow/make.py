"""Make an artefact aside, verify it there, and publish it."""

from __future__ import annotations

import datetime
import shutil
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scaffolder.content import digest
from scaffolder.errors import ScaffolderError
from scaffolder.records import RunRecord, draw_loss, other_template, read_events, read_record
from scaffolder.workflow.job import kept_base, make_job
from scaffolder.workflow.publish import loss_of_base, prune, publish, record, remember_losses
from scaffolder.workflow.room import check_room
from scaffolder.workflow.supervise import supervise

if TYPE_CHECKING:
    from pathlib import Path

    from scaffolder.plan import Fingerprint, Workflow
    from scaffolder.workflow.current import Context


def make_artefact(
    context: Context, workflow: Workflow, wanted: Fingerprint, reason: str, *, restart: bool
) -> RunRecord:
    """Run a workflow, or take up what an earlier attempt finished, and publish the result under its name.

    Args:
        context: The project, its environment and where events go.
        workflow: Resolved and checked.
        wanted: What the result depends on.
        reason: Why it has to run, for those who watch.
        restart: Begin from nothing.

    Raises:
        ScaffolderError: It does not fit this machine, failed, or made something that does not work.
    """
    folder = workflow.runs_folder / f"{workflow.name}-{workflow.preset}-{wanted.key[:12]}"
    _refuse_beside_job(folder)
    # Olive's cache holds absolute paths: a moved or copied project begins a new one.
    cache = workflow.runs_folder / "cache" / digest([wanted.content_key, str(context.project.root)])[:16]
    if restart:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(cache, ignore_errors=True)
    finished = read_record(folder / "output")
    if finished is None or finished.fingerprint.key != wanted.key:
        kept = None if restart else kept_base(context.project, workflow, wanted, context.hashes)
        finished = _make(context, workflow, wanted, reason, folder, cache, kept)
    adapter = other_template(context.project, finished)
    if adapter is not None:
        warning = f"{adapter} was trained with another chat template than this export has"
        context.on_event({"event": "warning", "message": warning})
    publish(folder / "output", workflow.output)
    prune(cache.parent)
    remember_losses(context.project, finished, context.environment, context.hashes)
    return finished


def _refuse_beside_job(folder: Path) -> None:
    """Leave a run's folder to the job that is writing there."""
    events = read_events(folder)
    begun: dict[str, Any] = next((event for event in reversed(events) if event["event"] == "begin"), {})
    if "job" in begun and "pid" not in begun and events[-1]["event"] != "ended":
        job = begun["job"]
        raise ScaffolderError(
            f"the job {job} is making the same", hint=f"scaffolder jobs show {job}\n      scaffolder jobs cancel {job}"
        )


def _make(
    context: Context,
    workflow: Workflow,
    wanted: Fingerprint,
    reason: str,
    folder: Path,
    cache: Path,
    kept: dict[str, Any] | None,
) -> RunRecord:
    """Run the worker into the run's folder; what it leaves there has been verified and has its record."""
    context.on_event({"event": "workflow", "name": workflow.name, "preset": workflow.preset, "reason": reason})
    forecast = check_room(context.project, workflow, force=context.force)
    if forecast is not None:
        context.on_event(forecast.as_event())
        if forecast.advice:
            context.on_event({"event": "warning", "message": forecast.advice})
    aside = folder / "output"
    shutil.rmtree(aside, ignore_errors=True)
    started, clock = datetime.datetime.now().astimezone(), time.monotonic()
    try:
        outcome = supervise(
            context.environment.python,
            make_job(context.project, workflow, aside, cache, forecast, loss_of_base(context), kept),
            folder,
            context.on_event,
            command=f"run {workflow.name}",
            begin=_begin(workflow, wanted, reason),
        )
    finally:
        draw_loss(folder, title=f"{workflow.name} ({workflow.preset})")
    finished = record(
        context.project,
        workflow,
        wanted,
        folder.name,
        started,
        time.monotonic() - clock,
        outcome,
        forecast,
        context.hashes,
    )
    finished.write(aside)
    # Stays when a later run takes the artefact's place.
    finished.write(folder)
    return finished


def _begin(workflow: Workflow, wanted: Fingerprint, reason: str) -> dict[str, Any]:
    return {
        "workflow": workflow.name,
        "preset": workflow.preset,
        "reason": reason,
        "output": workflow.config["output_dir"],
        "config": workflow.config,
        "fingerprint": asdict(wanted),
    }
