"""Run workflows one after the other, each after what it needs."""

from __future__ import annotations

import datetime
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import plan
from scaffolder.content import Hashes, digest
from scaffolder.lock import project_lock
from scaffolder.records import RunRecord, draw_loss, other_template, read_record
from scaffolder.workflow.job import make_job
from scaffolder.workflow.publish import prune, publish, record, remember_losses
from scaffolder.workflow.ready import EventSink, check_adapter, check_support, prepare
from scaffolder.workflow.supervise import supervise

if TYPE_CHECKING:
    from scaffolder.environment import Environment
    from scaffolder.plan import Fingerprint, Workflow
    from scaffolder.project import Project


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a workflow ended; only verified results get here.

    Attributes:
        record: The artefact's lineage.
        output: Folder of the artefact.
        fresh: False where nothing had to be done.
        reason: Why it ran, or why not.
    """

    record: RunRecord
    output: Path
    fresh: bool
    reason: str


def run_workflows(
    project: Project,
    name: str,
    *,
    preset: str | None = None,
    overrides: dict[str, Any] | None = None,
    restart: bool = False,
    wait: bool = False,
    on_event: EventSink,
) -> list[RunResult]:
    """Bring a workflow, or all of them, up to date, after what it needs.

    Args:
        project: The project.
        name: A workflow of the manifest, or "all".
        preset: Another configuration for the named workflow.
        overrides: Values set over the named workflow's configuration, by dotted path.
        restart: Run the named workflow again, from nothing, even when it is up to date.
        wait: Wait for another run of this project instead of failing.
        on_event: Gets every event of the worker, and `workflow` and `result` of ours.

    Raises:
        ScaffolderError: A workflow could not run, failed, or made something that does not work.
    """
    workflows, environment = prepare(project, name, preset=preset, overrides=overrides, on_event=on_event)
    state = project.root / plan.STATE_FOLDER
    results = []
    with project_lock(state, purpose=f"run {name}", wait=wait):
        hashes = Hashes(state / "hashes.json")
        for workflow in workflows:
            again = restart and name in (workflow.name, "all")
            try:
                result = _run(project, workflow, environment, hashes, again, on_event)
            finally:
                hashes.save()
            on_event({"event": "result", "workflow": workflow.name, "fresh": result.fresh, "reason": result.reason})
            results.append(result)
    return results


def _run(
    project: Project,
    workflow: Workflow,
    environment: Environment,
    hashes: Hashes,
    restart: bool,
    on_event: EventSink,
) -> RunResult:
    """Leave a workflow alone that is up to date, else run it aside, verify and publish it."""
    check_adapter(project, workflow)
    check_support(project, workflow, environment)
    wanted = plan.fingerprint(project, workflow, environment, hashes)
    published = read_record(workflow.output)
    reason = why_run(workflow, wanted, published, hashes) if not restart else "restarted"
    if reason is None:
        assert published is not None
        return RunResult(published, workflow.output, False, f"nothing changed since {published.started[:19]}")
    folder = workflow.runs_folder / f"{workflow.name}-{workflow.preset}-{wanted.key[:12]}"
    # Olive's cache holds absolute paths: a moved or copied project begins a new one.
    cache = workflow.runs_folder / "cache" / digest([wanted.content_key, str(project.root)])[:16]
    if restart:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(cache, ignore_errors=True)
    aside = folder / "output"
    finished = read_record(aside)
    if finished is None or finished.fingerprint.key != wanted.key:
        on_event({"event": "workflow", "name": workflow.name, "preset": workflow.preset, "reason": reason})
        shutil.rmtree(aside, ignore_errors=True)
        started, clock = datetime.datetime.now().astimezone(), time.monotonic()
        try:
            outcome = supervise(
                environment.python,
                make_job(project, workflow, aside, cache),
                folder,
                on_event,
                command=f"run {workflow.name}",
                begin=_begin(workflow, wanted, reason),
            )
        finally:
            draw_loss(folder, title=f"{workflow.name} ({workflow.preset})")
        finished = record(project, workflow, wanted, folder.name, started, time.monotonic() - clock, outcome, hashes)
        finished.write(aside)
        # Stays when a later run takes the artefact's place.
        finished.write(folder)
    adapter = other_template(project, finished)
    if adapter is not None:
        on_event(
            {"event": "warning", "message": f"{adapter} was trained with another chat template than this export has"}
        )
    publish(aside, workflow.output)
    prune(cache.parent)
    remember_losses(project, finished, environment, hashes)
    return RunResult(finished, workflow.output, True, reason)


def _begin(workflow: Workflow, wanted: Fingerprint, reason: str) -> dict[str, Any]:
    return {
        "workflow": workflow.name,
        "preset": workflow.preset,
        "reason": reason,
        "output": workflow.config["output_dir"],
        "config": workflow.config,
        "fingerprint": asdict(wanted),
    }


def why_run(workflow: Workflow, wanted: Fingerprint, published: RunRecord | None, hashes: Hashes) -> str | None:
    """Return why the workflow has to run, or None where what is published still holds."""
    if published is None:
        return "no verified result yet"
    if published.fingerprint.key != wanted.key:
        return wanted.difference(published.fingerprint)
    if not published.intact(workflow.output, hashes):
        return "the published files were changed or are incomplete"
    return None
