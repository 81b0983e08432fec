"""`scaffolder run`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaffolder.cli.jobs import run_on
from scaffolder.cli.options import Json, Quiet, key_values
from scaffolder.cli.output import Output
from scaffolder.cli.progress import planned_text, result_text, show_progress
from scaffolder.cli.search import search_exports
from scaffolder.errors import ScaffolderError, SomeFailed, UsageError

if TYPE_CHECKING:
    from scaffolder.project import Project
    from scaffolder.workflow.execute import RunResult


def run(
    workflow: Annotated[str, typer.Argument(help="A workflow of scaffolder.toml, or all.")],
    preset: Annotated[
        str | None, typer.Option("--preset", help="Another configuration in the workflow's folder.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a value over the configuration; repeatable."),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Run again from nothing.")] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", "-k", help="When one fails, run those that do not need it.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Run what the estimate says does not fit.")] = False,
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Read every input again instead of trusting its size and time.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Say what would run and why; with --json its configuration too.")
    ] = False,
    search: Annotated[
        bool, typer.Option("--search", help="Try exports, the smallest first, until one holds the gates; keep it.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for another run of this project.")] = False,
    on: Annotated[
        str | None, typer.Option("--on", metavar="TARGET", help="Submit it to a target of scaffolder.toml, as a job.")
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", metavar="KEY=A,B,…", help="With --on: one job for each value; repeatable."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="With --on: watch until it ends, then fetch and publish.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a workflow and what it needs; done means that the result was opened and works."""
    begun = time.time_ns()
    from scaffolder.project import find_project

    output = Output(json=json, quiet=quiet)
    if workflow == "all" and (preset or values):
        raise UsageError("--preset and --set go with one workflow, not with all")
    project = find_project()
    overrides = key_values(values or [], "--set")
    if on is None and (sweep or follow):
        raise UsageError("--sweep and --follow go with --on TARGET")
    if on is not None:
        _refuse_beside_target(workflow, search=search, keep_going=keep_going, force=force, wait=wait)
        run_on(
            project,
            workflow,
            on,
            output,
            preset=preset,
            overrides=overrides,
            sweep=sweep or [],
            restart=restart,
            dry_run=dry_run,
            follow=follow,
        )
        return
    if search:
        _refuse_beside_search(workflow, preset, overrides, restart=restart)
        search_exports(project, workflow, output, dry_run=dry_run)
        return
    with show_progress(output) as on_event:
        if dry_run:
            from scaffolder.workflow.preview import preview_workflows

            planned = preview_workflows(
                project,
                workflow,
                preset=preset,
                overrides=overrides,
                restart=restart,
                rehash=rehash,
                on_event=on_event,
            )
            output.data(planned, planned_text(planned))
            return
        from scaffolder.workflow.execute import run_workflows

        failed: dict[str, ScaffolderError] = {}
        results = run_workflows(
            project,
            workflow,
            preset=preset,
            overrides=overrides,
            restart=restart,
            force=force,
            rehash=rehash,
            wait=wait,
            failed=failed if keep_going else None,
            on_event=on_event,
        )
    _renew_adapters(project, results, output)
    shown = [result.record.output for result in results if workflow in (result.record.workflow, "all")]
    output.data([_summary(result) for result in results], "\n".join(shown) if shown else None)
    if failed:
        raise _some_failed(failed, len(results))
    if workflow == "all":
        _hold_gates(project, output)
    if not preset and not values:
        _remember(project, workflow, results, shown, begun)


def _refuse_beside_search(workflow: str, preset: str | None, overrides: object, *, restart: bool) -> None:
    if workflow == "all" or preset or overrides or restart:
        raise UsageError("--search chooses a workflow's preset itself", hint="scaffolder run gen-model --search")


def _refuse_beside_target(workflow: str, **flags: bool) -> None:
    if workflow == "all":
        raise UsageError("a job runs one workflow", hint="submit what the others need first, one after the other")
    given = [f"--{name.replace('_', '-')}" for name, value in flags.items() if value]
    if given:
        raise UsageError(f"{', '.join(given)} and --on do not go together")


def _hold_gates(project: Project, output: Output) -> None:
    """Everything was made; where the project asks something of it, it has to hold that too."""
    from scaffolder import evaluation
    from scaffolder.cli.evaluate import evaluate_models

    needed = evaluation.models_needed(project)
    if needed:
        evaluate_models(project, needed, output, silent=True)


def _renew_adapters(project: Project, results: list[RunResult], output: Output) -> None:
    """An export with adapters as inputs gets every adapter that fits; its base is not made again for that."""
    from scaffolder.artefacts import OWN_ADAPTER

    for result in results:
        if not (result.output / OWN_ADAPTER).is_file():
            continue
        from scaffolder import adapters

        for fit in adapters.renew_adapters(project, result.output):
            if fit.state == "added":
                output.say(f"adapter {fit.adapter} added to {fit.export}")
            for problem in fit.problems:
                output.say(f"adapter {fit.adapter} not added to {fit.export}: {problem}")


def _remember(project: Project, workflow: str, results: list[RunResult], shown: list[str], begun: int) -> None:
    """Answer at once next time, where this command found nothing to do and had nothing else to see to."""
    from scaffolder.artefacts import OWN_ADAPTER

    if any(result.fresh or (result.output / OWN_ADAPTER).is_file() for result in results):
        return
    if workflow == "all" and project.manifest.gates.limits():
        return
    from scaffolder.workflow.remember import remember_results

    told = [result_text(result.record.workflow, result.reason, fresh=False) for result in results]
    remember_results(project, workflow, results, begun=begun, told=told, shown=shown)


def _summary(result: RunResult) -> dict[str, Any]:
    record = result.record
    return {
        "workflow": record.workflow,
        "preset": record.preset,
        "output": record.output,
        "fresh": result.fresh,
        "reason": result.reason,
        "seconds": record.seconds,
        "size": record.size,
        "metrics": record.metrics,
        "training": record.training,
        "estimate": record.estimate,
    }


def _some_failed(failed: dict[str, ScaffolderError], done: int) -> SomeFailed:
    lines = [f"{name}: {error.message}" for name, error in failed.items()]
    hints = [error.hint for error in failed.values() if error.hint]
    return SomeFailed(
        "\n".join([f"{len(failed)} of {len(failed) + done} workflows failed", *lines]), hint="\n      ".join(hints)
    )
