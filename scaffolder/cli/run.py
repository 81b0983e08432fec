"""`scaffolder run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from scaffolder.cli.options import Json, Quiet, key_values
from scaffolder.cli.output import Output
from scaffolder.cli.search import search_exports

if TYPE_CHECKING:
    from scaffolder.project import Project
    from scaffolder.workflow import Planned, RunResult


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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Say what would run and why; with --json its configuration too.")
    ] = False,
    search: Annotated[
        bool, typer.Option("--search", help="Try exports, the smallest first, until one holds the gates; keep it.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for another run of this project.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a workflow and what it needs; done means that the result was opened and works."""
    from scaffolder.cli.progress import show_progress
    from scaffolder.errors import UsageError
    from scaffolder.project import find_project
    from scaffolder.workflow import preview_workflows, run_workflows

    output = Output(json=json, quiet=quiet)
    if workflow == "all" and (preset or values):
        raise UsageError("--preset and --set go with one workflow, not with all")
    project = find_project()
    overrides = key_values(values or [], "--set")
    if search:
        _refuse_beside_search(workflow, preset, overrides, restart=restart, dry_run=dry_run)
        search_exports(project, workflow, output)
        return
    with show_progress(output) as on_event:
        if dry_run:
            planned = preview_workflows(
                project, workflow, preset=preset, overrides=overrides, restart=restart, on_event=on_event
            )
            output.data(planned, "\n".join(_line(entry) for entry in planned))
            return
        results = run_workflows(
            project,
            workflow,
            preset=preset,
            overrides=overrides,
            restart=restart,
            wait=wait,
            on_event=on_event,
        )
    _renew_adapters(project, results, output)
    summary = [
        {
            "workflow": result.record.workflow,
            "preset": result.record.preset,
            "output": result.record.output,
            "fresh": result.fresh,
            "reason": result.reason,
            "seconds": result.record.seconds,
            "size": result.record.size,
            "metrics": result.record.metrics,
            "training": result.record.training,
        }
        for result in results
    ]
    output.data(summary, "\n".join(result.record.output for result in results if _named(result.record, workflow)))
    if workflow == "all":
        _hold_gates(project, output)


def _refuse_beside_search(
    workflow: str, preset: str | None, overrides: object, *, restart: bool, dry_run: bool
) -> None:
    from scaffolder.errors import UsageError

    if workflow == "all" or preset or overrides or restart or dry_run:
        raise UsageError("--search chooses a workflow's preset itself", hint="scaffolder run gen-model --search")


def _hold_gates(project: Project, output: Output) -> None:
    """Everything was made; where the project asks something of it, it has to hold that too."""
    from scaffolder import evaluation
    from scaffolder.cli.evaluate import evaluate_models

    needed = evaluation.models_needed(project)
    if needed:
        evaluate_models(project, needed, output, silent=True)


def _renew_adapters(project: Project, results: list[RunResult], output: Output) -> None:
    """An export with adapters as inputs gets every adapter that fits; its base is not made again for that."""
    from scaffolder import adapters

    exports = adapters.serving_exports(project)
    for result in results:
        if result.output not in exports:
            continue
        for fit in adapters.renew_adapters(project, result.output):
            if fit.state == "added":
                output.say(f"adapter {fit.adapter} added to {fit.export}")
            for problem in fit.problems:
                output.say(f"adapter {fit.adapter} not added to {fit.export}: {problem}")


def _named(record: object, workflow: str) -> bool:
    return workflow == "all" or getattr(record, "workflow", None) == workflow


def _line(planned: Planned) -> str:
    state = "would run" if planned.would_run else "up to date"
    return f"{planned.workflow} ({planned.preset}): {state}: {planned.reason}"
