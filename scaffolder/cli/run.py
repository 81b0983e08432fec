"""`scaffolder run`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaffolder.cli.options import Json, Quiet, key_values
from scaffolder.cli.output import Output
from scaffolder.cli.progress import forecast_text, show_progress
from scaffolder.errors import ScaffolderError, SomeFailed, UsageError

if TYPE_CHECKING:
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
    wait: Annotated[bool, typer.Option("--wait", help="Wait for another run of this project.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a workflow and what it needs; done means that the result was opened and works."""
    from scaffolder.project import find_project
    from scaffolder.workflow import preview_workflows, run_workflows

    output = Output(json=json, quiet=quiet)
    if workflow == "all" and (preset or values):
        raise UsageError("--preset and --set go with one workflow, not with all")
    project = find_project()
    overrides = key_values(values or [], "--set")
    with show_progress(output) as on_event:
        if dry_run:
            planned = preview_workflows(
                project,
                workflow,
                preset=preset,
                overrides=overrides,
                restart=restart,
                rehash=rehash,
                on_event=on_event,
            )
            output.data(planned, "\n".join(_line(entry) for entry in planned))
            return
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
    shown = [result.record.output for result in results if workflow in (result.record.workflow, "all")]
    output.data([_summary(result) for result in results], "\n".join(shown) if shown else None)
    if failed:
        raise _some_failed(failed, len(results))


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


def _line(planned: Planned) -> str:
    state = "would run" if planned.would_run else "up to date"
    line = f"{planned.workflow} ({planned.preset}): {state}: {planned.reason}"
    if planned.forecast is None:
        return line
    return f"{line}\n  {forecast_text(asdict(planned.forecast))}"
