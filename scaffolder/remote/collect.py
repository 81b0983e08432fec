"""From an ended job to an artefact here: fetched, verified again, published like one that was made here."""

from __future__ import annotations

import datetime
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import plan
from scaffolder.content import Hashes
from scaffolder.environment import find_environment
from scaffolder.errors import ConfigError, RunFailed, ScaffolderError
from scaffolder.lock import project_lock
from scaffolder.records import RunRecord, draw_loss, read_events
from scaffolder.remote import told
from scaffolder.remote.engine import engine_for
from scaffolder.remote.submit import status_of
from scaffolder.workflow.current import compare
from scaffolder.workflow.job import make_job
from scaffolder.workflow.publish import publish, record, remember_losses
from scaffolder.workflow.supervise import Outcome, Seen, supervise

if TYPE_CHECKING:
    from scaffolder.environment import Environment
    from scaffolder.plan import Workflow
    from scaffolder.project import Project
    from scaffolder.remote.engine import Engine
    from scaffolder.remote.job import JobReference
    from scaffolder.workflow.current import EventSink


@dataclass(frozen=True, slots=True)
class Fetched:
    """A job's result, published.

    Attributes:
        record: Its lineage.
        output: Folder of the artefact.
        fresh: False where it was published before.
    """

    record: RunRecord
    output: Path
    fresh: bool


def fetch_job(project: Project, reference: JobReference, *, force: bool = False, on_event: EventSink) -> Fetched:
    """Publish what a job made, after verifying it here.

    Args:
        project: The project.
        reference: Of a job that succeeded.
        force: Publish also what was made from other inputs than those of now.
        on_event: Gets the verification's events.

    Raises:
        RunFailed: The job failed, was cancelled, or what it made does not work here.
        ConfigError: Inputs, configuration or versions have changed since it was submitted.
        ScaffolderError: It has not ended, or its result is gone.
    """
    job = reference.job
    environment = find_environment(project.root)
    hashes = Hashes(project.root / plan.STATE_FOLDER / "hashes.json")
    workflow = _workflow(project, reference)
    with project_lock(project.root / plan.STATE_FOLDER, purpose=f"jobs fetch {reference.id}"):
        wanted = plan.fingerprint(project, workflow, environment, hashes)
        reason, published = compare(workflow, wanted, hashes, restart=False)
        hashes.save()
        if reason is None and published is not None and (published.made_on or {}).get("job") == reference.id:
            return Fetched(published, workflow.output, False)
        if wanted.key != job.key and not force:
            raise ConfigError(
                f"{reference.id} was made from something else than the project now holds",
                hint=f"--force publishes it all the same; `jobs fetch {reference.id} --into FOLDER` copies it",
            )
        engine = engine_for(project, job.target, reference.engine)
        _check_ended(project, reference, engine)
        _bring(project, reference, engine)
        finished = _verify(project, reference, workflow, environment, hashes, on_event)
        run = project.root / job.run
        publish(run / "output", workflow.output)
        shutil.rmtree(run / "work", ignore_errors=True)
        remember_losses(project, finished, environment, hashes)
        hashes.save()
    return Fetched(finished, workflow.output, True)


def _workflow(project: Project, reference: JobReference) -> Workflow:
    job = reference.job
    own = plan.resolve(project, job.workflow)
    preset = None if own.preset == job.preset else job.preset
    return plan.resolve(project, job.workflow, preset=preset, overrides=job.overrides)


def _check_ended(project: Project, reference: JobReference, engine: Engine) -> None:
    status = status_of(project, reference, engine)
    if status.state == "succeeded":
        return
    words = f"{reference.id} {status.state} ({status.native})"
    if not status.ended:
        raise ScaffolderError(words, hint=f"scaffolder jobs logs {reference.id} --follow")
    why = told.failure(project, reference)
    hint = [why.get("hint", ""), f"scaffolder jobs logs {reference.id}"]
    raise RunFailed(
        f"{words}: {why.get('message') or status.message or 'its log says why'}",
        hint="\n      ".join(part for part in hint if part),
    )


def _bring(project: Project, reference: JobReference, engine: Engine) -> None:
    """Put what the job made where a run here leaves it; what is fetched in part is never taken for it."""
    aside = project.root / reference.job.run / "fetched"
    shutil.rmtree(aside, ignore_errors=True)
    engine.fetch(reference, aside)
    made = aside / "output"
    if not made.is_dir():
        raise ScaffolderError(
            f"the result of {reference.id} is gone",
            hint=f"scaffolder run {reference.job.workflow} --on {reference.job.target}",
        )
    told.take(project, reference, aside)
    place = project.root / reference.job.run / "output"
    shutil.rmtree(place, ignore_errors=True)
    made.rename(place)
    shutil.rmtree(aside)


def _verify(
    project: Project,
    reference: JobReference,
    workflow: Workflow,
    environment: Environment,
    hashes: Hashes,
    on_event: EventSink,
) -> RunRecord:
    job = reference.job
    run = project.root / job.run
    attempt = told.attempt(project, reference)
    if not attempt:
        raise RunFailed(f"the events of {reference.id} are gone: what it did cannot be told")
    # An earlier attempt may have ended the training, and this one what follows.
    processes = _check_processes(reference, read_events(run))
    outcome = supervise(
        environment.python,
        {**make_job(project, workflow, run / "output", run / "work", None), "task": "verify"},
        run,
        on_event,
        command=f"jobs fetch {reference.id}",
        begin={**_begin(attempt), "reason": f"fetched from {job.target}"},
    )
    outcome.training = _replay(attempt).training
    times = [event["time"] for event in attempt]
    started = datetime.datetime.fromtimestamp(times[0]).astimezone()
    made_on = {
        "target": job.target,
        "engine": reference.engine,
        "job": reference.id,
        "nodes": job.nodes,
        "processes": processes,
    }
    finished = record(
        project,
        workflow,
        plan.Fingerprint(**_begin(attempt)["fingerprint"]),
        run.name,
        started,
        times[-1] - times[0],
        outcome,
        None,
        hashes,
        made_on=made_on,
    )
    finished.write(run / "output")
    finished.write(run)
    draw_loss(run, title=f"{workflow.name} ({workflow.preset})")
    return finished


def _begin(attempt: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in attempt[0].items() if key not in ("event", "time")}


def _check_processes(reference: JobReference, events: list[dict[str, Any]]) -> int:
    """Return how many processes trained.

    Raises:
        RunFailed: Fewer or more than were asked for.
    """
    job = reference.job
    trained = [event["processes"] for event in events if event["event"] == "training"]
    if not trained:
        return 1
    if isinstance(job.processes, int) and trained[-1] != job.nodes * job.processes:
        wanted = job.nodes * job.processes
        raise RunFailed(f"{reference.id} trained in {trained[-1]} processes, and {wanted} were asked for")
    return int(trained[-1])


def _replay(attempt: list[dict[str, Any]]) -> Outcome:
    seen = Seen()
    for event in attempt:
        seen.note(event)
    return seen.outcome
