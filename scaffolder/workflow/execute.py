"""Run one workflow and what it needs."""

from __future__ import annotations

import copy
import datetime
import importlib.metadata
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import plan, support
from scaffolder.artefacts import find_artefact
from scaffolder.content import Hashes, digest
from scaffolder.environment import Environment, find_environment
from scaffolder.errors import ConfigError
from scaffolder.examples import check_examples
from scaffolder.lock import project_lock
from scaffolder.oliveconfig import describe
from scaffolder.records import RunRecord, draw_loss, other_template, read_record
from scaffolder.scores import Scores
from scaffolder.workflow.supervise import Outcome, supervise

if TYPE_CHECKING:
    from scaffolder.plan import Fingerprint, Workflow
    from scaffolder.project import Project

EventSink = Callable[[dict[str, Any]], None]
_CACHES_KEPT = 3
_ADAPTER_PASSES = {"lora", "qlora", "dora", "loftq", "loha", "lokr"}


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


def prepare(
    project: Project,
    name: str,
    *,
    preset: str | None,
    overrides: dict[str, Any] | None,
    on_event: EventSink,
) -> tuple[list[Workflow], Environment]:
    """Resolve and check a workflow, or all, with what they need, before any of them starts.

    Raises:
        ScaffolderError: A configuration, a file, the model or the environment is not fit to run.
    """
    workflows = [
        plan.resolve(
            project,
            current,
            preset=preset if current == name else None,
            overrides=overrides if current == name else None,
        )
        for current in _order(project, name)
    ]
    # Mistakes in the last workflow are told before the first one trains.
    for workflow in workflows:
        _check_inputs(project, workflow, on_event)
    environment = find_environment(project.root)
    for workflow in workflows:
        _check_support(project, workflow, environment)
    return workflows, environment


def _order(project: Project, name: str) -> list[str]:
    """Return the named workflow after everything it needs, each once."""
    ordered: list[str] = []

    def visit(current: str, path: tuple[str, ...]) -> None:
        if current in path:
            raise ConfigError(f"workflows need each other: {' → '.join((*path, current))}")
        for need in plan.section(project, current).needs:
            visit(need, (*path, current))
        if current not in ordered:
            ordered.append(current)

    for start in project.manifest.workflows if name == "all" else [name]:
        visit(start, ())
    return ordered


def _run(
    project: Project,
    workflow: Workflow,
    environment: Environment,
    hashes: Hashes,
    restart: bool,
    on_event: EventSink,
) -> RunResult:
    _check_adapter(project, workflow)
    _check_support(project, workflow, environment)
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
                _job(project, workflow, aside, cache),
                folder,
                on_event,
                command=f"run {workflow.name}",
                begin=_begin(workflow, wanted, reason),
            )
        finally:
            draw_loss(folder, title=f"{workflow.name} ({workflow.preset})")
        finished = _record(project, workflow, wanted, folder.name, started, time.monotonic() - clock, outcome, hashes)
        finished.write(aside)
        # Stays when a later run takes the artefact's place.
        finished.write(folder)
    adapter = other_template(project, finished)
    if adapter is not None:
        on_event(
            {"event": "warning", "message": f"{adapter} was trained with another chat template than this export has"}
        )
    _publish(aside, workflow.output)
    _prune(cache.parent)
    _remember_losses(project, finished, environment, hashes)
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


def _check_inputs(project: Project, workflow: Workflow, on_event: EventSink) -> None:
    problems = plan.problems(project, workflow)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        hint = next((problem.hint for problem in errors if problem.hint), "")
        raise ConfigError("\n".join(describe(problem) for problem in errors), hint=hint)
    for problem in problems:
        on_event({"event": "warning", "message": describe(problem)})
    model = workflow.config.get("input_model", {}).get("model_path")
    if isinstance(model, str) and model.startswith("model-cache/") and not (project.root / model).is_dir():
        raise ConfigError(f"missing model {model}", hint=_how_to_get(project, model))
    for name, columns in plan.columns_read(workflow.config):
        check_examples(project.root / name, columns, shown_as=name)


def _check_adapter(project: Project, workflow: Workflow) -> None:
    """Before the workflow itself: what it needs has run by now."""
    adapter = workflow.config.get("input_model", {}).get("adapter_path")
    if isinstance(adapter, str) and not (project.root / adapter).is_dir():
        raise ConfigError(f"missing adapter {adapter}", hint="scaffolder run fine-tuning")


def _check_support(project: Project, workflow: Workflow, environment: Environment) -> None:
    """Refuse what this model, method or pass cannot do on the locked stack."""
    found = support.obstacles(workflow.config, project.root, project.manifest.model.id, environment.version)
    if found:
        message = "\n".join(text for text, _ in found)
        raise ConfigError(message, hint="; ".join(dict.fromkeys(hint for _, hint in found)))


def _how_to_get(project: Project, model: str) -> str:
    """Return the commands that make a model's folder; a text model is taken out of a larger one."""
    whole = model.removesuffix("-text")
    extract = f"python model-cache/text_model.py {whole}" if whole == f"model-cache/{project.manifest.model.id}" else ""
    if extract and whole != model:
        return extract if (project.root / whole).is_dir() else f"scaffolder download, then {extract}"
    return f"scaffolder download {model.removeprefix('model-cache/')}"


def why_run(workflow: Workflow, wanted: Fingerprint, published: RunRecord | None, hashes: Hashes) -> str | None:
    """Return why the workflow has to run, or None where what is published still holds."""
    if published is None:
        return "no verified result yet"
    if published.fingerprint.key != wanted.key:
        return wanted.difference(published.fingerprint)
    if not published.intact(workflow.output, hashes):
        return "the published files were changed or are incomplete"
    return None


def _job(project: Project, workflow: Workflow, aside: Path, cache: Path) -> dict[str, Any]:
    manifest = project.manifest
    evaluation = manifest.dataset.reader(manifest.dataset.eval)
    return {
        "task": "run",
        "root": str(project.root),
        "config": _with_checkpoints(workflow.config, cache),
        "output": str(aside),
        "cache": str(cache),
        "seed": _seed(workflow.config),
        "base": {"path": str(project.model_folder), "id": manifest.model.id},
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


def _record(
    project: Project,
    workflow: Workflow,
    wanted: Fingerprint,
    run_id: str,
    started: datetime.datetime,
    seconds: float,
    outcome: Outcome,
    hashes: Hashes,
) -> RunRecord:
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
        files=files,
        command_version=importlib.metadata.version("olive-scaffolder"),
    )


def _publish(aside: Path, output: Path) -> None:
    """Make the finished folder visible under its name; the one before stays beside it, hidden."""
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.exists():
        previous = output.with_name(f".{output.name}.previous")
        shutil.rmtree(previous, ignore_errors=True)
        output.rename(previous)
    aside.rename(output)


def _prune(caches: Path) -> None:
    """Delete all but the newest of Olive's caches: each holds whole models."""
    folders = sorted((path for path in caches.glob("*") if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for folder in folders[:-_CACHES_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


def _remember_losses(project: Project, record: RunRecord, environment: Environment, hashes: Hashes) -> None:
    """Spare `evaluate` what the verification measured."""
    artefact = find_artefact(project, record.output) if "after" in record.metrics else None
    if artefact is None:
        return
    scores = Scores(project, environment, hashes)
    scores.remember(artefact, record.metrics["after"])
    # "before" of an export is its own base's, which may be quantised.
    if record.metrics["kind"] == "adapter" and "before" in record.metrics:
        scores.remember(find_artefact(project, "base"), record.metrics["before"])
