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
from scaffolder.environment import Environment
from scaffolder.errors import Interrupted, RunFailed, ScaffolderError
from scaffolder.lock import project_lock
from scaffolder.project import Project
from scaffolder.records import RunRecord, draw_loss, other_template, read_record
from scaffolder.workflow.job import make_job
from scaffolder.workflow.publish import prune, publish, record, remember_losses
from scaffolder.workflow.ready import EventSink, check_adapter, check_support, prepare
from scaffolder.workflow.room import check_room
from scaffolder.workflow.supervise import supervise

if TYPE_CHECKING:
    from scaffolder.plan import Fingerprint, Workflow


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
    force: bool = False,
    rehash: bool = False,
    wait: bool = False,
    failed: dict[str, ScaffolderError] | None = None,
    on_event: EventSink,
) -> list[RunResult]:
    """Bring a workflow, or all of them, up to date, after what it needs.

    Args:
        project: The project.
        name: A workflow of the manifest, or "all".
        preset: Another configuration for the named workflow.
        overrides: Values set over the named workflow's configuration, by dotted path.
        restart: Run the named workflow again, from nothing, even when it is up to date.
        force: Run what the estimate says does not fit.
        rehash: Read every input again instead of trusting size, time and inode.
        wait: Wait for another run of this project instead of failing.
        failed: Takes the error of each workflow that failed, while those that do not need it go on; None stops
            at the first.
        on_event: Gets every event of the worker, and `workflow`, `estimate` and `result` of ours.

    Raises:
        ScaffolderError: A workflow could not run, failed, or made something that does not work.
    """
    workflows, environment = prepare(project, name, preset=preset, overrides=overrides, on_event=on_event)
    state = project.root / plan.STATE_FOLDER
    results = []
    with project_lock(state, purpose=f"run {name}", wait=wait):
        hashes = Hashes(state / "hashes.json", fresh=rehash)
        runner = _Runner(project, environment, hashes, force, on_event)
        for workflow in workflows:
            try:
                _check_needs(project, workflow, failed or {})
                result = runner.run(workflow, restart=restart and name in (workflow.name, "all"))
            except ScaffolderError as error:
                if failed is None or isinstance(error, Interrupted):
                    raise
                failed[workflow.name] = error
                on_event({"event": "failure", "workflow": workflow.name, "message": error.message})
                continue
            finally:
                hashes.save()
            on_event({"event": "result", "workflow": workflow.name, "fresh": result.fresh, "reason": result.reason})
            results.append(result)
    return results


def _check_needs(project: Project, workflow: Workflow, failed: dict[str, ScaffolderError]) -> None:
    missing = [need for need in plan.section(project, workflow.name).needs if need in failed]
    if missing:
        raise RunFailed(f"not run: it needs {', '.join(missing)}, which failed")


@dataclass(frozen=True, slots=True)
class _Runner:
    """What every workflow of one command shares."""

    project: Project
    environment: Environment
    hashes: Hashes
    force: bool
    on_event: EventSink

    def run(self, workflow: Workflow, *, restart: bool) -> RunResult:
        """Leave a workflow alone that is up to date, else run it aside, verify and publish it."""
        check_adapter(self.project, workflow)
        check_support(self.project, workflow, self.environment)
        wanted = plan.fingerprint(self.project, workflow, self.environment, self.hashes)
        published = read_record(workflow.output)
        reason = why_run(workflow, wanted, published, self.hashes) if not restart else "restarted"
        if reason is None:
            assert published is not None
            return RunResult(published, workflow.output, False, f"nothing changed since {published.started[:19]}")
        folder = workflow.runs_folder / f"{workflow.name}-{workflow.preset}-{wanted.key[:12]}"
        # Olive's cache holds absolute paths: a moved or copied project begins a new one.
        cache = workflow.runs_folder / "cache" / digest([wanted.content_key, str(self.project.root)])[:16]
        if restart:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(cache, ignore_errors=True)
        finished = read_record(folder / "output")
        if finished is None or finished.fingerprint.key != wanted.key:
            finished = self._make(workflow, wanted, reason, folder, cache)
        adapter = other_template(self.project, finished)
        if adapter is not None:
            warning = f"{adapter} was trained with another chat template than this export has"
            self.on_event({"event": "warning", "message": warning})
        publish(folder / "output", workflow.output)
        prune(cache.parent)
        remember_losses(self.project, finished, self.environment, self.hashes)
        return RunResult(finished, workflow.output, True, reason)

    def _make(self, workflow: Workflow, wanted: Fingerprint, reason: str, folder: Path, cache: Path) -> RunRecord:
        """Run the worker into the run's folder; what it leaves there has been verified and has its record."""
        self.on_event({"event": "workflow", "name": workflow.name, "preset": workflow.preset, "reason": reason})
        forecast = check_room(self.project, workflow, force=self.force)
        if forecast is not None:
            self.on_event(forecast.as_event())
        aside = folder / "output"
        shutil.rmtree(aside, ignore_errors=True)
        started, clock = datetime.datetime.now().astimezone(), time.monotonic()
        try:
            outcome = supervise(
                self.environment.python,
                make_job(self.project, workflow, aside, cache, forecast),
                folder,
                self.on_event,
                command=f"run {workflow.name}",
                begin=_begin(workflow, wanted, reason),
            )
        finally:
            draw_loss(folder, title=f"{workflow.name} ({workflow.preset})")
        finished = record(
            self.project,
            workflow,
            wanted,
            folder.name,
            started,
            time.monotonic() - clock,
            outcome,
            forecast,
            self.hashes,
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


def why_run(workflow: Workflow, wanted: Fingerprint, published: RunRecord | None, hashes: Hashes) -> str | None:
    """Return why the workflow has to run, or None where what is published still holds."""
    if published is None:
        return "no verified result yet"
    if published.fingerprint.key != wanted.key:
        return wanted.difference(published.fingerprint)
    if not published.intact(workflow.output, hashes):
        return "the published files were changed or are incomplete"
    return None
