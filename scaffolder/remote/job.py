"""What is asked of an engine, and what it says: a job, its reference, its status."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "unknown"]
ENDED: tuple[State, ...] = ("succeeded", "failed", "cancelled")
# In a job's folder.
SPEC, LOG, EXIT_CODE = "job.json", "job.log", "exit_code"
WORKER = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One workflow to run elsewhere; every path is relative to the project, with forward slashes.

    `folder` holds `job.json` (see `worker/node.py`) and `worker/`, all that a node needs beside `inputs` and Python:

        PYTHON folder/worker node folder/job.json [--run DIR]

    in the project's folder, once on every node, does the whole job. It writes `events.jsonl`, `work/` (checkpoints) and
    `output/` into `run`, or into the DIR given, which all nodes have to see. Exit code 0: `output/` is verified.

    Attributes:
        id: Of ours, unique in the project.
        target: Name in scaffolder.toml.
        workflow: Its name.
        preset: The configuration it runs with.
        overrides: Values set over the configuration, by dotted path.
        run: The run's folder.
        folder: What belongs to this attempt at the run, below `run`.
        nodes: Machines.
        processes: Training processes on each; "gpus" for one a card.
        inputs: Files and folders that the job reads, beside its own folder.
        output: Where the result will be published.
        key: Of the fingerprint.
        tags: Lineage in short texts, for engines that show such: workflow, preset, key, base model.
    """

    id: str
    target: str
    workflow: str
    preset: str
    overrides: dict[str, Any]
    run: str
    folder: str
    nodes: int
    processes: int | Literal["gpus"]
    inputs: tuple[str, ...]
    output: str
    key: str
    tags: dict[str, str]

    @property
    def spec(self) -> str:
        """The file that says what to do."""
        return f"{self.folder}/{SPEC}"

    @property
    def worker(self) -> str:
        """The folder that Python is started with."""
        return f"{self.folder}/{WORKER}"

    @property
    def log(self) -> str:
        """The file that takes what the job prints."""
        return f"{self.folder}/{LOG}"

    @property
    def exit_code(self) -> str:
        """The file that takes its exit code, at the very end."""
        return f"{self.folder}/{EXIT_CODE}"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A file that submits jobs, also by hand.

    Attributes:
        path: Where it is kept, relative to the project.
        text: Its content.
        command: What submits it, in the project's folder; empty for a file that another one reads.
    """

    path: str
    text: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReference:
    """What finds a submitted job again, from any machine that has the project; kept as `jobs/ID.json`.

    Attributes:
        id: Of ours.
        engine: Kind of the target.
        native: The engine's own id.
        submitted: Local time with its offset, ISO 8601.
        job: What was submitted.
        place: What else the engine needs to find it (host, folder, workspace, …); no secret.
        ended: Its last status, as a dictionary, once that is final; engines leave it alone.
    """

    id: str
    engine: str
    native: str
    submitted: str
    job: Job
    place: dict[str, str] = field(default_factory=dict)
    ended: dict[str, Any] | None = None

    def as_data(self) -> dict[str, Any]:
        """Return it for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> JobReference:
        """Return what `as_data` gave.

        Raises:
            KeyError, TypeError: It is none.
        """
        job = {**data["job"], "inputs": tuple(data["job"]["inputs"])}
        return cls(**{**data, "job": Job(**job)})


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a job stands.

    Attributes:
        state: In our words.
        native: In the engine's own.
        exit_code: Of the job, where it ended and the engine tells.
        message: Why it failed or waits, where the engine tells.
    """

    state: State
    native: str = ""
    exit_code: int | None = None
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED


def references(jobs: Sequence[Job], natives: Sequence[str], engine: str, **place: str) -> list[JobReference]:
    """Return a reference for each job, submitted now."""
    import datetime

    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return [
        JobReference(id=job.id, engine=engine, native=native, submitted=now, job=job, place=place)
        for job, native in zip(jobs, natives, strict=True)
    ]
