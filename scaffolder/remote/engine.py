"""The one interface of everything that runs jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from scaffolder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from scaffolder.project import Project
    from scaffolder.remote.job import Job, JobReference, JobStatus, Rendered


class Engine(Protocol):
    """Runs jobs somewhere; made by `engine_for`, holds no state of a job.

    Methods take several jobs where they come from one sweep; most engines treat each alone. Everything raises
    `ScaffolderError` with a hint: `EnvironmentFault` where the engine or its client does not answer, `ConfigError`
    where the target's table or the job cannot work.
    """

    def check(self, jobs: Sequence[Job]) -> list[str]:
        """Return what is wrong with target and jobs, all at once, without a network and without the engine."""

    def render(self, jobs: Sequence[Job]) -> list[Rendered]:
        """Return the files that submit the jobs; the caller keeps them before `submit` is called."""

    def submit(self, jobs: Sequence[Job]) -> list[JobReference]:
        """Submit what was rendered, after asking the engine whether it can run at all; return a reference a job."""

    def status(self, reference: JobReference) -> JobStatus:
        """Return how a job stands; `unknown` where the engine does not know it."""

    def logs(self, reference: JobReference, *, follow: bool) -> Iterator[str]:
        """Yield what the job printed, line by line; with `follow` until it ends. Events are lines of JSON among it."""

    def cancel(self, reference: JobReference) -> None:
        """End a job that has not ended; it is `cancelled` or about to be when this returns."""

    def fetch(self, reference: JobReference, into: Path) -> Path:
        """Copy the run's files (`events.jsonl`, `output/`) into the folder `into`, new or empty, and return it."""


def engine_for(project: Project, name: str, kind: str | None = None) -> Engine:
    """Return the engine of a target.

    Args:
        project: The project.
        name: Of the target; for a job's, it may be gone or changed since.
        kind: Of the target when the job was submitted.

    Raises:
        UsageError: There is no such target, or it is of another kind now.
    """
    target = find_target(project, name)
    if kind is not None and target.kind != kind:
        raise UsageError(f"the target `{name}` is now of kind {target.kind}, and the job was submitted to {kind}")
    if target.kind == "local":
        from scaffolder.remote.local import LocalEngine

        return LocalEngine(project, target)
    if target.kind == "slurm":
        from scaffolder.remote.slurm import SlurmEngine

        return SlurmEngine(project, target)
    from scaffolder.remote.azureml import AzureMLEngine

    return AzureMLEngine(project, target)


def find_target(project: Project, name: str) -> Any:
    """Return a target's table.

    Raises:
        UsageError: There is none; the nearest names are suggested.
    """
    import difflib

    from scaffolder.targets import LocalTarget

    targets = project.manifest.targets
    if name in targets:
        return targets[name]
    if name == "local":  # needs no table
        return LocalTarget(kind="local")
    near = difflib.get_close_matches(name, targets, n=1)
    there = f"scaffolder.toml has: {', '.join(targets)}" if targets else "scaffolder.toml has no [targets] yet"
    raise UsageError(f"unknown target `{name}`", hint=(f"did you mean `{near[0]}`? " if near else "") + there)
