"""Run workflows one after the other, each after what it needs; what only a run needs is imported when there is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import plan
from scaffolder.content import Hashes
from scaffolder.environment import find_environment
from scaffolder.errors import EnvironmentFault, Interrupted, RunFailed, ScaffolderError
from scaffolder.lock import project_lock
from scaffolder.records import RunRecord
from scaffolder.workflow.current import Context, EventSink, compare, resolve_workflows, since

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
        on_event: Gets every event of the worker, and `waiting`, `workflow`, `estimate` and `result` of ours.

    Raises:
        ScaffolderError: A workflow could not run, failed, or made something that does not work.
    """
    workflows = resolve_workflows(project, name, preset=preset, overrides=overrides)
    environment = _environment(project, workflows, on_event)
    state = project.root / plan.STATE_FOLDER
    again = {workflow.name for workflow in workflows if restart and name in (workflow.name, "all")}
    results = []
    with project_lock(
        state,
        purpose=f"run {name}",
        wait=wait,
        on_wait=lambda message: on_event({"event": "waiting", "message": message}),
    ):
        hashes = Hashes(state / "hashes.json", fresh=rehash)
        project.check_model(hashes)
        runner = _Runner(project, environment, hashes, force, on_event)
        runner.check(workflows, again)
        for workflow in workflows:
            try:
                _check_needs(workflow, failed or {})
                result = runner.run(workflow, restart=workflow.name in again)
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


def _environment(project: Project, workflows: list[Workflow], on_event: EventSink) -> Environment:
    """Return the project's environment; without one, mistakes in the workflows are still told first."""
    try:
        return find_environment(project.root)
    except EnvironmentFault:
        from scaffolder.workflow.ready import check_inputs

        for workflow in workflows:
            check_inputs(project, workflow, on_event)
        raise


def _check_needs(workflow: Workflow, failed: dict[str, ScaffolderError]) -> None:
    missing = [need for need in workflow.needs if need in failed]
    if missing:
        raise RunFailed(f"not run: it needs {', '.join(missing)}, which failed")


@dataclass(frozen=True, slots=True)
class _Runner(Context):
    """Runs what is not up to date, and checks each before it costs anything."""

    checked: set[str] = field(default_factory=set)

    def check(self, workflows: list[Workflow], restarted: set[str]) -> None:
        """Tell mistakes in the last workflow before the first one trains; what holds has passed before."""
        for workflow in workflows:
            reason, _ = compare(workflow, self._fingerprint(workflow), self.hashes, restart=workflow.name in restarted)
            if reason is not None:
                self._check(workflow)

    def run(self, workflow: Workflow, *, restart: bool) -> RunResult:
        """Leave a workflow alone that is up to date, else run it aside, verify and publish it."""
        wanted = self._fingerprint(workflow)
        reason, published = compare(workflow, wanted, self.hashes, restart=restart)
        if reason is None:
            assert published is not None
            return RunResult(published, workflow.output, False, since(published))
        from scaffolder.workflow.make import make_artefact
        from scaffolder.workflow.ready import check_adapter

        # What it needs has run by now.
        check_adapter(self.project, workflow)
        self._check(workflow)
        return RunResult(make_artefact(self, workflow, wanted, reason, restart=restart), workflow.output, True, reason)

    def _fingerprint(self, workflow: Workflow) -> Fingerprint:
        return plan.fingerprint(self.project, workflow, self.environment, self.hashes)

    def _check(self, workflow: Workflow) -> None:
        from scaffolder.workflow.ready import check_inputs, check_support

        if workflow.name not in self.checked:
            check_inputs(self.project, workflow, self.on_event)
        self.checked.add(workflow.name)
        check_support(self.project, workflow, self.environment)
