"""What a run was made from and what came of it, and how two runs differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder import curves, plan
from scaffolder.curves import Curve
from scaffolder.errors import ScaffolderError
from scaffolder.history.runs import Run, run_folders, run_record
from scaffolder.plan import Fingerprint
from scaffolder.records import LOG, PLOT, RunRecord, find_runs, makers, read_events, read_record
from scaffolder.scores import read_evaluation

if TYPE_CHECKING:
    from scaffolder.project import Project


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
        evaluation: `score` and `gates` of the last `evaluate`, while what the run made is still in place.
        training: Figures of the training.
        peak_memory: Bytes of the worker, as far as it was reported.
        files: Size in bytes by path inside the artefact.
        parents: Runs that published one of the inputs.
        model: Source and commit of the base model, where its files were as locked.
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
    evaluation: dict[str, Any] | None
    training: dict[str, Any]
    peak_memory: int
    files: dict[str, int]
    parents: list[str]
    model: dict[str, str] | None
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


def lineage(project: Project, run: Run) -> Lineage:
    """Return all that is known of a run."""
    folder = project.root / run.folder
    events = read_events(folder)
    record = run_record(project, folder) if run.state == "verified" else None
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
        evaluation=_evaluation(project, record) if record else None,
        training=record.training if record else _training(events, curve),
        peak_memory=max((int(event.get("peak_memory") or event.get("memory") or 0) for event in events), default=0),
        files={name: size for name, (size, _) in record.files.items()} if record else {},
        parents=record.parents if record and record.parents else _parents(project, fingerprint.inputs),
        model=record.model if record else None,
        log=f"{run.folder}/{LOG}",
        plot=f"{run.folder}/{PLOT}" if (folder / PLOT).is_file() else None,
        curve=curve,
    )


def measured(found: Lineage) -> dict[str, float]:
    """Return the figures of a run's evaluation by name; what lm-eval and metrics gave by `metrics.NAME`."""
    score = flat(found.evaluation["score"]) if found.evaluation else {}
    return {name: value for name, value in score.items() if isinstance(value, (int, float))}


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


def _evaluation(project: Project, record: RunRecord) -> dict[str, Any] | None:
    published = read_record(project.root / record.output)
    # A later run may have taken its place.
    same = published is not None and published.id == record.id
    return read_evaluation(project.root / record.output) if same else None


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
    records = [record for folder in run_folders(project) if (record := read_record(folder)) is not None]
    return makers([*find_runs(project), *records], inputs)


def _figures(found: Lineage) -> dict[str, Any]:
    run = found.run
    own = {"state": run.state, "seconds": run.seconds, "size": run.size, "peak_memory": found.peak_memory}
    parts = {"training": found.training, "metrics": found.metrics, "evaluation": measured(found)}
    return {**own, **{key: value for name, part in parts.items() for key, value in _prefixed(part, name).items()}}


def _prefixed(figures: dict[str, Any], name: str) -> dict[str, Any]:
    return flat(figures, name) if figures else {}
