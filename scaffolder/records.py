"""What is written beside a finished artefact and in the folder of every run, and what is read back from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from scaffolder import curves
from scaffolder.content import Hashes, digest, write_atomically
from scaffolder.plan import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from scaffolder.project import Project

RECORD = "run.json"
EVENTS = "events.jsonl"
LOG = "run.log"
PLOT = "loss.svg"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The lineage of an artefact; no absolute path, no name of a user or machine.

    Attributes:
        id: Name of the run's folder.
        workflow: The workflow.
        preset: The configuration it ran with.
        output: Where it was published, relative to the project.
        started: Local time with its offset, ISO 8601.
        seconds: Wall time.
        fingerprint: What the result depends on.
        config: The configuration as resolved.
        metrics: Figures of the verification.
        training: Steps, tokens and tokens per second, where something was trained.
        size: Bytes of the artefact.
        peak_memory: Bytes.
        files: Size and SHA-256 by path inside the artefact.
        command_version: Release of scaffolder.
        model: `source` of the base model and its `commit`, as `models.lock` says; None where the files are others.
        parents: Ids of the runs that published one of the inputs.
        estimate: What the training was expected to take, see `workflow.room.Forecast`.
        made_on: Target, engine, job, nodes and processes, where it was not made by a run here.
    """

    id: str
    workflow: str
    preset: str
    output: str
    started: str
    seconds: float
    fingerprint: Fingerprint
    config: dict[str, Any]
    metrics: dict[str, Any]
    training: dict[str, Any]
    size: int
    peak_memory: int
    files: dict[str, list[Any]]
    command_version: str
    model: dict[str, str] | None = None
    parents: list[str] = field(default_factory=list)
    estimate: dict[str, Any] | None = None
    made_on: dict[str, Any] | None = None
    schema: int = field(default=SCHEMA)

    def write(self, folder: Path) -> None:
        """Write `run.json` into `folder`."""
        text = json.dumps({**asdict(self), "key": self.fingerprint.key}, indent=2, ensure_ascii=False)
        write_atomically(folder / RECORD, text + "\n")

    def intact(self, folder: Path, hashes: Hashes) -> bool:
        """Whether the files in `folder` are still the ones that were verified."""
        try:
            return all(
                (folder / name).stat().st_size == size and hashes.file(folder / name) == sha
                for name, (size, sha) in self.files.items()
            )
        except OSError:
            return False


def read_record(folder: Path) -> RunRecord | None:
    """Return the record in `folder`, or None where there is none that this release can read."""
    try:
        data = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        data.pop("key")
        if data["schema"] != SCHEMA:
            return None
        return RunRecord(**{**data, "fingerprint": Fingerprint(**data["fingerprint"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def adapter_of(config: dict[str, Any]) -> str | None:
    """Return the adapter that a configuration builds its model with, merged or as an input; None without one."""
    options = [settings.get("extra_options", {}) for settings in config.get("passes", {}).values()]
    named = [config.get("input_model", {}).get("adapter_path"), *(option.get("lora_inputs") for option in options)]
    return next((adapter for adapter in named if isinstance(adapter, str)), None)


def base_of(record: RunRecord) -> str | None:
    """Return the content hash of the model that a run started from."""
    return record.fingerprint.inputs.get(str(record.config.get("input_model", {}).get("model_path")))


def makers(records: Iterable[RunRecord], inputs: Mapping[str, str]) -> list[str]:
    """Return the ids of the runs that published one of the inputs, by path and content hash."""
    return sorted({one.id for one in records if any(_published(one, path) == sha for path, sha in inputs.items())})


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


def other_template(project: Project, record: RunRecord) -> str | None:
    """Return the adapter that was trained with another chat template than `record` carries, or None.

    A model that is asked in other words than it was taught in answers worse, and nothing else says so.
    """
    adapter = adapter_of(record.config)
    if adapter is None:
        return None
    trained = read_record((project.root / adapter).parent)
    if trained is None or trained.metrics.get("template") == record.metrics.get("template"):
        return None
    return adapter


def find_runs(project: Project) -> list[RunRecord]:
    """Return the records of everything published in the project, oldest first."""
    folders = {project.root / workflow.config.rsplit("/", 1)[0] for workflow in project.manifest.workflows.values()}
    found = [
        record
        for folder in folders
        for path in (*folder.glob(f"*/{RECORD}"), *folder.glob(f"adapters/*/{RECORD}"))
        if not path.parent.name.startswith(".") and (record := read_record(path.parent)) is not None
    ]
    return sorted(found, key=lambda record: record.started)


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Return the events of a run's folder, of every attempt; a line that is only half there does not count."""
    try:
        lines = (folder / EVENTS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [event for line in lines if (event := read_event(line)) is not None]


def read_event(line: str) -> dict[str, Any] | None:
    """Return the event in a line, or None where it holds none."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def draw_loss(folder: Path, *, title: str) -> Path | None:
    """Write the loss curve of a run's folder as SVG beside its events, where something was trained."""
    curve = curves.of_events(read_events(folder))
    if len(curve.training) < curves.FEWEST_POINTS:
        return None
    try:
        write_atomically(folder / PLOT, curves.svg(curve, title=title))
    except OSError:  # a full disk; what went wrong before matters more
        return None
    return folder / PLOT
