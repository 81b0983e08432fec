"""From a workflow to jobs: checked as a run here is, with all that the nodes need in one folder."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import plan
from scaffolder.content import Hashes
from scaffolder.environment import find_environment
from scaffolder.errors import ConfigError, UsageError
from scaffolder.process import WORKER as WORKER_FOLDER
from scaffolder.remote import store
from scaffolder.remote.engine import find_target
from scaffolder.remote.job import Job
from scaffolder.settings import CHILD_VARIABLES
from scaffolder.worker import batches, stages
from scaffolder.workflow.current import compare, since
from scaffolder.workflow.job import make_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaffolder.environment import Environment
    from scaffolder.plan import Fingerprint, Workflow
    from scaffolder.project import Project
    from scaffolder.workflow.current import EventSink

# Of transformers.TrainingArguments.
_DEFAULT_BATCH = 8
_READ_BESIDES = ("scaffolder.toml", "model-cache/models.lock", "setup/requirements.txt")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job, and what its `job.json` will hold.

    Attributes:
        job: For the engine.
        spec: For the nodes.
        reason: Why it has to run; None where nothing has to.
        since: Since when not.
    """

    job: Job
    spec: dict[str, Any]
    reason: str | None
    since: str = ""


def prepare(
    project: Project,
    name: str,
    target: str,
    *,
    preset: str | None,
    overrides: dict[str, Any],
    sweep: dict[str, list[Any]],
    restart: bool,
    on_event: EventSink,
    table: Any = None,
) -> list[Prepared]:
    """Return a job for a workflow, or one for each combination of a sweep's values; nothing is written.

    `table` stands for a target that scaffolder.toml does not have.

    Raises:
        UsageError: Workflow, preset, target or a path of an override does not exist.
        ConfigError: The configuration has mistakes, what it needs is not up to date, or a batch cannot be shared.
    """
    environment = find_environment(project.root)
    hashes = Hashes(project.root / plan.STATE_FOLDER / "hashes.json")
    project.check_model(hashes)
    _check_needs(project, plan.resolve(project, name, preset=preset, overrides=overrides), target, environment, hashes)
    found = []
    for values in _combinations(project, name, preset, overrides, sweep):
        workflow = plan.resolve(project, name, preset=preset, overrides={**overrides, **values})
        wanted = plan.fingerprint(project, workflow, environment, hashes)
        reason, published = compare(workflow, wanted, hashes, restart=restart)
        if reason is not None:
            _check(project, workflow, environment, on_event)
        number = store.next_number(project, wanted.key)
        job = _job(project, workflow, wanted, table or find_target(project, target), target, number)
        found.append(
            Prepared(
                job, _spec(project, workflow, wanted, job, reason or "", restart=restart), reason, since(published)
            )
        )
    hashes.save()
    problems = [problem for each in found for problem in _unshareable(each)]
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)), hint="change the batch with --set, or the processes")
    return found


def write(project: Project, prepared: Sequence[Prepared]) -> None:
    """Write the jobs' folders: what to do, and the program that does it."""
    for each in prepared:
        folder = project.root / each.job.folder
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(WORKER_FOLDER, folder / "worker", ignore=shutil.ignore_patterns("__pycache__"))
        text = json.dumps(each.spec, indent=2, ensure_ascii=False)
        (project.root / each.job.spec).write_text(text + "\n", encoding="utf-8")


def _check_needs(project: Project, workflow: Workflow, target: str, environment: Environment, hashes: Hashes) -> None:
    """Refuse to build on what is not there, or not of today's inputs."""
    for need in workflow.needs:
        needed = plan.resolve(project, need)
        wanted = plan.fingerprint(project, needed, environment, hashes)
        reason, _ = compare(needed, wanted, hashes, restart=False)
        if reason is not None:
            raise ConfigError(
                f"{workflow.name} needs {need}, which is not up to date: {reason}",
                hint=f"scaffolder run {need} --on {target} --follow\n      or here: scaffolder run {need}",
            )


def _check(project: Project, workflow: Workflow, environment: Environment, on_event: EventSink) -> None:
    from scaffolder.workflow.ready import check_adapter, check_inputs, check_support

    check_inputs(project, workflow, on_event)
    check_adapter(project, workflow)
    check_support(project, workflow, environment)


def _combinations(
    project: Project, name: str, preset: str | None, overrides: dict[str, Any], sweep: dict[str, list[Any]]
) -> list[dict[str, Any]]:
    """Return the values of each job of a sweep, by dotted path, and where each leaves its result."""
    if not sweep:
        return [{}]
    workflow = plan.resolve(project, name, preset=preset, overrides=overrides)
    output = workflow.config["output_dir"]
    paths = {key: _path_of(workflow.config, key) for key in sweep}
    found = []
    for values in itertools.product(*sweep.values()):
        label = "-".join(f"{key.rpartition('.')[2]}{value}" for key, value in zip(sweep, values, strict=True))
        changed = {paths[key]: value for key, value in zip(sweep, values, strict=True)}
        found.append({**changed, "output_dir": f"{output}-{label.replace('/', '-')}"})
    return found


def _path_of(config: dict[str, Any], key: str) -> str:
    """Return the dotted path that a short name of a sweep means: of the training pass, or of its arguments.

    Raises:
        UsageError: It means none.
    """
    if "." in key:
        return key
    for name, settings in config.get("passes", {}).items():
        if key in settings:
            return f"passes.{name}.{key}"
        if key in settings.get("training_args", {}):
            return f"passes.{name}.training_args.{key}"
    raise UsageError(
        f"`--sweep {key}=…`: no pass of the configuration has `{key}`",
        hint="give its whole path, such as passes.lora.training_args.learning_rate",
    )


def _job(project: Project, workflow: Workflow, wanted: Fingerprint, table: Any, target: str, number: int) -> Job:
    run = project.relative(workflow.runs_folder / f"{workflow.name}-{workflow.preset}-{wanted.key[:12]}")
    evaluation = project.manifest.dataset.eval
    besides = [name for name in (*_READ_BESIDES, evaluation) if (project.root / name).is_file()]
    # What trains on one process gains nothing from more.
    trains = any(stage.trains for stage in stages.split(workflow.config))
    return Job(
        id=f"{workflow.name}-{workflow.preset}-{wanted.key[:8]}-{number}",
        target=target,
        workflow=workflow.name,
        preset=workflow.preset,
        overrides=workflow.overrides,
        run=run,
        folder=f"{run}/jobs/{number}",
        nodes=table.nodes if trains else 1,
        processes=getattr(table, "processes_per_node", table.processes) if trains else 1,
        inputs=tuple(sorted({*wanted.inputs, *besides, project.manifest.model.path})),
        output=project.relative(workflow.output),
        key=wanted.key,
        tags={
            "workflow": workflow.name,
            "preset": workflow.preset,
            "fingerprint": wanted.key[:12],
            "base": project.manifest.model.id,
        },
    )


def _spec(
    project: Project, workflow: Workflow, wanted: Fingerprint, job: Job, reason: str, *, restart: bool
) -> dict[str, Any]:
    made = make_job(project, workflow, Path(job.run) / "output", Path(job.run) / "work", None)
    begin = {
        "workflow": workflow.name,
        "preset": workflow.preset,
        "reason": reason,
        "output": job.output,
        "config": workflow.config,
        "fingerprint": asdict(wanted),
        "job": job.id,
    }
    return {
        "job": {
            **made,
            "root": ".",
            "output": f"{job.run}/output",
            "cache": f"{job.run}/work",
            "base": {**made["base"], "path": project.manifest.model.path},
        },
        "nodes": job.nodes,
        "processes": job.processes,
        "run": job.run,
        "restart": restart,
        "variables": CHILD_VARIABLES,
        "begin": begin,
    }


def _unshareable(prepared: Prepared) -> list[str]:
    """Say of each training pass whether its batch can be shared by the processes, where their number is known."""
    if not isinstance(prepared.job.processes, int):
        return []
    world = prepared.job.nodes * prepared.job.processes
    found = []
    config = prepared.spec["job"]["config"]
    for stage in stages.split(config):
        if stage.trains:
            arguments = config["passes"][stage.passes[0]].get("training_args", {})
            batch = arguments.get("per_device_train_batch_size", _DEFAULT_BATCH)
            accumulation = arguments.get("gradient_accumulation_steps", 1)
            if batches.share(batch, accumulation, world) is None:
                found.append(f"passes.{stage.passes[0]}: {batches.refusal(batch, accumulation, world)}")
    return found
