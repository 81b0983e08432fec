"""What ran in a project: every run with its state, what it was made from, and how two of them differ."""

from __future__ import annotations

import datetime
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder import curves, lock, plan, process
from scaffolder.content import digest
from scaffolder.curves import Curve
from scaffolder.errors import ScaffolderError, UsageError
from scaffolder.plan import Fingerprint
from scaffolder.records import EVENTS, LOG, PLOT, RunRecord, find_runs, read_events, read_record

if TYPE_CHECKING:
    from pathlib import Path

    from scaffolder.project import Project

STATES = ("running", "verified", "failed", "stopped", "died")


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its folder tells it; figures are those of the last attempt, None where there are none.

    Attributes:
        id: Name of the run's folder.
        workflow: The workflow.
        preset: The configuration it ran with.
        state: One of `STATES`; "died" is an end that nobody could report.
        message: Why it failed.
        started: Local time with its offset, ISO 8601.
        seconds: Wall time, so far where it runs.
        step: The last training step.
        steps: Training steps planned.
        last_loss: Training loss, nats per token.
        evaluation_loss: Loss on the evaluation examples afterwards, nats per token.
        size: Bytes of the artefact.
        attempts: How often it was started.
        folder: Of its events and its log, relative to the project.
        output: Of its artefact, relative to the project.
    """

    id: str
    workflow: str
    preset: str
    state: str
    message: str
    started: str
    seconds: float
    step: int | None
    steps: int | None
    last_loss: float | None
    evaluation_loss: float | None
    size: int | None
    attempts: int
    folder: str
    output: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A key with two values; None where a side has none."""

    key: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Lineage:
    """A run with all that is known of it.

    Attributes:
        run: The run.
        inputs: Content hash by path.
        versions: Version by distribution.
        accelerator: "cpu" or "gpu"; empty where it is not known.
        config: The configuration as resolved.
        changes: Where that differs from the configuration file as it is now.
        metrics: Figures of the verification.
        training: Figures of the training.
        peak_memory: Bytes of the worker, as far as it was reported.
        files: Size in bytes by path inside the artefact.
        parents: Runs that published one of the inputs.
        log: The full log, relative to the project.
        plot: The loss curve, relative to the project, where something was trained.
        curve: The same as numbers.
    """

    run: Run
    inputs: dict[str, str]
    versions: dict[str, str]
    accelerator: str
    config: dict[str, Any]
    changes: list[Difference]
    metrics: dict[str, Any]
    training: dict[str, Any]
    peak_memory: int
    files: dict[str, int]
    parents: list[str]
    log: str
    plot: str | None
    curve: Curve


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two runs differ; empty lists where they do not."""

    old: Lineage
    new: Lineage
    inputs: list[Difference]
    versions: list[Difference]
    configuration: list[Difference]
    figures: list[Difference]


def list_runs(project: Project) -> list[Run]:
    """Return every run that left its folder, newest first."""
    found = [_read(project, folder) for folder in _folders(project)]
    return sorted(found, key=lambda run: datetime.datetime.fromisoformat(run.started), reverse=True)


def find_run(project: Project, name: str | None = None) -> Run:
    """Return a run by id, by the beginning of its id or of its key, or the newest of a workflow.

    Args:
        project: The project.
        name: What was asked for; the newest run of all where left out.

    Raises:
        ScaffolderError: Nothing ran yet.
        UsageError: No run is meant, or several are.
    """
    runs = list_runs(project)
    if not runs:
        raise ScaffolderError("nothing ran in this project yet", hint="scaffolder run all")
    if name is None:
        return runs[0]
    for run in runs:
        if name in (run.id, run.workflow):
            return run
    meant = [run for run in runs if run.id.startswith(name) or key_of(run.id).startswith(name)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise UsageError(
            f"`{name}` begins {len(meant)} runs: {', '.join(run.id for run in meant)}", hint="give more of one"
        )
    if name in project.manifest.workflows:
        raise ScaffolderError(f"{name} has not run yet", hint=f"scaffolder run {name}")
    known = list(dict.fromkeys(name for run in runs for name in (run.workflow, run.id, key_of(run.id))))
    near = difflib.get_close_matches(name, known, n=1)
    suggestion = f"did you mean `{near[0]}`? " if near else ""
    raise UsageError(f"unknown run `{name}`", hint=suggestion + "`scaffolder runs list` shows them all")


def look_again(project: Project, run: Run) -> Run:
    """Return a run as it is now."""
    return _read(project, project.root / run.folder)


def attempt(project: Project, run: Run) -> list[dict[str, Any]]:
    """Return the events of a run's last attempt."""
    return _last_attempt(read_events(project.root / run.folder))


def key_of(run_id: str) -> str:
    """Return the part of a run's id that its content gave it."""
    return run_id.rpartition("-")[2]


def lineage(project: Project, run: Run) -> Lineage:
    """Return all that is known of a run."""
    folder = project.root / run.folder
    events = read_events(folder)
    record = _record(project, folder) if run.state == "verified" else None
    begun: dict[str, Any] = next((event for event in reversed(events) if event["event"] == "begin"), {})
    known = begun.get("fingerprint")
    curve = curves.of_events(events)
    fingerprint = record.fingerprint if record else Fingerprint(**known) if known else Fingerprint({}, {}, "", "")
    config = record.config if record else begun.get("config", {})
    return Lineage(
        run=run,
        inputs=fingerprint.inputs,
        versions=fingerprint.versions,
        accelerator=fingerprint.accelerator,
        config=config,
        changes=_changes(project, run, config),
        metrics=record.metrics if record else {},
        training=record.training if record else _training(events, curve),
        peak_memory=max((int(event.get("peak_memory") or event.get("memory") or 0) for event in events), default=0),
        files={name: size for name, (size, _) in record.files.items()} if record else {},
        parents=_parents(project, fingerprint.inputs),
        log=f"{run.folder}/{LOG}",
        plot=f"{run.folder}/{PLOT}" if (folder / PLOT).is_file() else None,
        curve=curve,
    )


def compare(old: Lineage, new: Lineage) -> Comparison:
    """Say where two runs differ."""
    return Comparison(
        old,
        new,
        inputs=differences(old.inputs, new.inputs),
        versions=differences(
            {**old.versions, "accelerator": old.accelerator}, {**new.versions, "accelerator": new.accelerator}
        ),
        configuration=differences(flat(old.config), flat(new.config)),
        figures=differences(_figures(old), _figures(new)),
    )


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[Difference]:
    """Return the keys with other values, sorted."""
    return [
        Difference(key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of a configuration by dotted path, as `--set` takes them."""
    if isinstance(value, dict) and value:
        entries = [(str(key), child) for key, child in value.items()]
    elif isinstance(value, list) and any(isinstance(child, dict) for child in value):
        entries = [
            (str(child.get("name", index)) if isinstance(child, dict) else str(index), child)
            for index, child in enumerate(value)
        ]
    else:
        return {path: value} if path else {}
    found: dict[str, Any] = {}
    for name, child in entries:
        found |= flat(child, f"{path}.{name}" if path else name)
    return found


def _folders(project: Project) -> list[Path]:
    roots = {(project.root / workflow.config).parent / "runs" for workflow in project.manifest.workflows.values()}
    return [path.parent for root in roots for path in root.glob(f"*/{EVENTS}")]


def _read(project: Project, folder: Path) -> Run:
    events = read_events(folder)
    attempt = _last_attempt(events)
    begun: dict[str, Any] = attempt[0] if attempt and attempt[0]["event"] == "begin" else {}
    state, message = _state(attempt, _holder(project))
    record = _record(project, folder) if state == "verified" else None
    first, last = _span(attempt, folder)
    seconds = last - first if state != "running" else datetime.datetime.now().timestamp() - first
    steps = [event for event in events if event["event"] in ("training", "step")]
    curve = curves.of_events(events)
    verified: dict[str, Any] = next((event for event in reversed(attempt) if event["event"] == "verified"), {})
    after = verified.get("metrics", {}).get("after")
    workflow, preset = begun.get("workflow"), begun.get("preset")
    if workflow is None or preset is None:
        workflow, preset = _name_parts(project, folder.name)
    started = datetime.datetime.fromtimestamp(first).astimezone().isoformat(timespec="seconds")
    return Run(
        id=folder.name,
        workflow=workflow,
        preset=preset,
        state=state,
        message=message,
        started=record.started if record else started,
        seconds=record.seconds if record else round(seconds, 2),
        step=steps[-1]["step"] if steps else None,
        steps=steps[-1]["steps"] if steps else None,
        last_loss=curve.training[-1][1] if curve.training else None,
        evaluation_loss=after["loss"] if after else None,
        size=verified.get("size"),
        attempts=max(sum(event["event"] == "begin" for event in events), 1),
        folder=project.relative(folder),
        output=record.output if record else begun.get("output"),
    )


def _last_attempt(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    starts = [index for index, event in enumerate(events) if event["event"] == "begin"]
    return events[starts[-1] :] if starts else events


def _state(attempt: list[dict[str, Any]], holder: int | None) -> tuple[str, str]:
    """Return the state of an attempt, and why it failed."""
    if attempt and attempt[-1]["event"] == "ended":
        return attempt[-1]["state"], attempt[-1].get("message", "")
    if holder is not None and attempt and attempt[0].get("pid") == holder:
        return "running", ""
    # The command itself died, or was of a release that did not write an end.
    for event in reversed(attempt):
        if event["event"] in ("verified", "failed", "stopped"):
            return event["event"], event.get("message", "")
    return "died", ""


def _holder(project: Project) -> int | None:
    """Return the process that works in the project now."""
    found = lock.last_holder(project.root / plan.STATE_FOLDER)
    return int(found["pid"]) if found and process.alive(int(found["pid"])) else None


def _span(attempt: list[dict[str, Any]], folder: Path) -> tuple[float, float]:
    times = [event["time"] for event in attempt if isinstance(event.get("time"), (int, float))]
    return (times[0], times[-1]) if times else (2 * ((folder / EVENTS).stat().st_mtime,))


def _name_parts(project: Project, run_id: str) -> tuple[str, str]:
    """Return workflow and preset of a run whose events do not tell: both may hold hyphens."""
    name = run_id.rpartition("-")[0]
    known = sorted(project.manifest.workflows, key=len, reverse=True)
    workflow = next((found for found in known if name.startswith(f"{found}-")), name.partition("-")[0])
    return workflow, name.removeprefix(f"{workflow}-")


def _record(project: Project, folder: Path) -> RunRecord | None:
    own = read_record(folder)
    return own or next((record for record in find_runs(project) if record.id == folder.name), None)


def _training(events: list[dict[str, Any]], curve: Curve) -> dict[str, Any]:
    """Return what a record would say of the training so far."""
    last: dict[str, Any] = next((event for event in reversed(events) if event["event"] == "step"), {})
    figures: dict[str, Any] = {key: last[key] for key in ("steps", "tokens", "tokens_per_second") if key in last}
    if curve.training:
        figures |= {"first_loss": curve.training[0][1], "last_loss": curve.training[-1][1]}
    return figures


def _changes(project: Project, run: Run, config: dict[str, Any]) -> list[Difference]:
    section = project.manifest.workflows.get(run.workflow)
    if section is None or not config:
        return []
    path = (project.root / section.config).with_name(f"{run.preset}.json")
    try:
        file = plan.read_config(path, project.relative(path))
    except ScaffolderError:  # gone since
        return []
    return differences(flat(file), flat(config))


def _parents(project: Project, inputs: dict[str, str]) -> list[str]:
    records = [record for folder in _folders(project) if (record := read_record(folder)) is not None]
    candidates = {record.id: record for record in [*find_runs(project), *records]}
    return sorted(
        record.id
        for record in candidates.values()
        if any(_published(record, path) == sha for path, sha in inputs.items())
    )


def _published(record: RunRecord, path: str) -> str | None:
    """Return the content hash that `path` had when `record` published it."""
    if not path.startswith(f"{record.output}/"):
        return None
    inside = path.removeprefix(f"{record.output}/")
    if inside in record.files:
        return str(record.files[inside][1])
    folder = {
        name.removeprefix(f"{inside}/"): sha for name, (_, sha) in record.files.items() if name.startswith(f"{inside}/")
    }
    return digest(folder) if folder else None


def _figures(found: Lineage) -> dict[str, Any]:
    run = found.run
    own = {"state": run.state, "seconds": run.seconds, "size": run.size, "peak_memory": found.peak_memory}
    return {**own, **_prefixed(found.training, "training"), **_prefixed(found.metrics, "metrics")}


def _prefixed(figures: dict[str, Any], name: str) -> dict[str, Any]:
    return flat(figures, name) if figures else {}
