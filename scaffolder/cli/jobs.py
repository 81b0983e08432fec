"""`scaffolder jobs`, and `scaffolder run --on`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaffolder.cli.options import Json, Quiet
from scaffolder.cli.output import Output
from scaffolder.errors import RunFailed, ScaffolderError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from scaffolder.project import Project
    from scaffolder.remote.collect import Fetched
    from scaffolder.remote.job import JobReference, JobStatus

app = typer.Typer(help="Runs on other machines: how they stand, what they print, what they made.", no_args_is_help=True)

JobName = Annotated[
    str | None,
    typer.Argument(metavar="[ID|WORKFLOW]", help="The beginning of an id, or a workflow's newest; else the newest."),
]
_STATE_STYLES = {"running": "cyan", "succeeded": "green", "failed": "red", "cancelled": "yellow"}


@app.command("list")
def list_(json: Json = False) -> None:
    """List every job submitted from this project, newest first, and ask its engine how it stands."""
    from scaffolder.project import find_project
    from scaffolder.remote import store

    output = Output(json=json)
    project = find_project()
    found = store.all_references(project)
    if not found:
        output.say("no job was submitted from this project yet")
    rows = [(reference, _status(project, reference)) for reference in found]
    output.data([_summary(*row) for row in rows], _table(rows) if rows else None)


@app.command("show")
def show(job: JobName = None, json: Json = False) -> None:
    """Show one job: where it runs, how it stands, why it failed."""
    from scaffolder.project import find_project
    from scaffolder.remote import store
    from scaffolder.remote.submit import status_of

    project = find_project()
    reference = store.find(project, job)
    shown = _details(project, reference, status_of(project, reference))
    width = max(map(len, shown))
    lines = [f"{key:<{width}}  {value}" for key, value in shown.items() if value not in ("", None)]
    Output(json=json).data(shown, "\n".join(lines))


@app.command("logs")
def logs(
    job: JobName = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Until it ends; Ctrl-C ends the watching alone.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print its events alone, each a line of JSON.")] = False,
) -> None:
    """Print what a job has printed; with --follow until it ends, and fail when it does."""
    from scaffolder.project import find_project
    from scaffolder.remote import store

    project = find_project()
    reference = store.find(project, job)
    _print_log(project, reference, Output(json=json), follow=follow)
    if follow:
        _check_success(project, reference)


@app.command("cancel")
def cancel(job: JobName = None, json: Json = False) -> None:
    """End a job."""
    from scaffolder.project import find_project
    from scaffolder.remote import store
    from scaffolder.remote.submit import cancel_job

    project = find_project()
    reference = store.find(project, job)
    status = cancel_job(project, reference)
    Output(json=json).data(_summary(reference, status), f"{reference.id} {status.state}")


@app.command("fetch")
def fetch(
    job: JobName = None,
    into: Annotated[
        Path | None, typer.Option("--into", help="Copy what the job made into a new folder, and publish nothing.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Publish also what was made from other inputs.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch what a job made, verify it here, and publish it like a result of `run`."""
    from scaffolder.project import find_project
    from scaffolder.remote import store

    output = Output(json=json, quiet=quiet)
    project = find_project()
    reference = store.find(project, job)
    if into is None:
        fetched = fetch_and_show(project, reference, output, force=force)
        output.data(_made(fetched), fetched.record.output)
        return
    from scaffolder.remote.engine import engine_for

    if into.exists() and any(into.iterdir()):
        raise UsageError(f"{into} is not empty")
    place = engine_for(project, reference.job.target, reference.engine).fetch(reference, into)
    output.data({"id": reference.id, "folder": place}, str(place))


def run_on(
    project: Project,
    workflow: str,
    target: str,
    output: Output,
    *,
    preset: str | None,
    overrides: dict[str, Any],
    sweep: list[str],
    restart: bool,
    dry_run: bool,
    follow: bool,
) -> None:
    """Submit a workflow; print the jobs' ids, or with `dry_run` what would be submitted.

    Raises:
        ScaffolderError: It cannot run there; with `follow`, also whatever its end brings.
    """
    from scaffolder.cli.progress import Lines
    from scaffolder.remote.submit import submit_workflow

    submission = submit_workflow(
        project,
        workflow,
        target,
        preset=preset,
        overrides=overrides,
        sweep=sweep_values(sweep),
        restart=restart,
        dry_run=dry_run,
        on_event=Lines(output),
    )
    for place, since in submission.up_to_date.items():
        output.say(f"{place}: {since}")
    if dry_run:
        output.data(
            list(submission.rendered), "\n".join(each.text for each in submission.rendered if each.command) or None
        )
        return
    for reference in submission.references:
        output.say(f"{reference.id}: submitted to {target} as {reference.native}")
    if follow:
        fetched = [_follow(project, reference, output) for reference in submission.references]
        shown = [*submission.up_to_date, *(each.record.output for each in fetched)]
        output.data([_made(each) for each in fetched], "\n".join(shown))
        return
    if submission.references:
        output.say("`scaffolder jobs logs --follow` watches, `scaffolder jobs fetch` brings the result")
    ids = [reference.id for reference in submission.references]
    output.data([reference.as_data() for reference in submission.references], "\n".join(ids) if ids else None)


def sweep_values(texts: list[str]) -> dict[str, list[Any]]:
    """Return `key=a,b,c` texts as lists by key; values are JSON where they can be, else text.

    Raises:
        UsageError: A text is of another form.
    """
    from scaffolder.cli.options import key_values

    found = {}
    for text in texts:
        key, sign, values = text.partition("=")
        parts = [part.strip() for part in values.split(",")]
        if not sign or not key or not all(parts):
            raise UsageError(f"`--sweep {text}` is not of the form key=a,b,c")
        found[key.strip()] = [key_values([f"value={part}"], "--sweep")["value"] for part in parts]
    return found


def fetch_and_show(project: Project, reference: JobReference, output: Output, *, force: bool = False) -> Fetched:
    """Fetch a job's result with its verification shown live."""
    from scaffolder.cli.progress import show_progress
    from scaffolder.remote.collect import fetch_job

    with show_progress(output) as on_event:
        fetched = fetch_job(project, reference, force=force, on_event=on_event)
    output.say(f"{reference.id}: {'verified and published' if fetched.fresh else 'was published before'}")
    return fetched


def _follow(project: Project, reference: JobReference, output: Output) -> Fetched:
    """Tell what a job does, as a run here is told, then publish its result."""
    from scaffolder.cli.progress import Lines
    from scaffolder.cli.runs import event_line
    from scaffolder.records import read_event
    from scaffolder.remote.engine import engine_for

    lines = Lines(output)
    for line in engine_for(project, reference.job.target, reference.engine).logs(reference, follow=True):
        event = read_event(line)
        shown = event_line(lines, event) if event is not None else None
        if shown is not None:
            output.say(shown)
    return fetch_and_show(project, reference, output)


def _print_log(project: Project, reference: JobReference, output: Output, *, follow: bool) -> None:
    """Print a job's log: its events in the words that a run here has, all else as it is."""
    from scaffolder.cli.progress import Lines
    from scaffolder.cli.runs import event_line
    from scaffolder.records import read_event
    from scaffolder.remote.engine import engine_for

    lines = Lines(output)
    engine = engine_for(project, reference.job.target, reference.engine)
    for line in engine.logs(reference, follow=follow):
        event = read_event(line)
        if output.json:
            shown = line if event is not None else None
        else:
            shown = event_line(lines, event) if event is not None else line
        if shown is not None:
            output.line(shown)


def _check_success(project: Project, reference: JobReference) -> None:
    """Raise for a job that did not succeed."""
    from scaffolder.remote.submit import status_of

    status = status_of(project, reference)
    if status.state != "succeeded":
        why = _details(project, reference, status)["message"]
        raise RunFailed(f"{reference.id} {status.state}" + (f": {why}" if why else f" ({status.native})"))


def _status(project: Project, reference: JobReference) -> JobStatus:
    """Ask for a job among others: one engine that does not answer must not hide the rest."""
    from scaffolder.remote.job import JobStatus
    from scaffolder.remote.submit import status_of

    try:
        return status_of(project, reference)
    except ScaffolderError as error:
        return JobStatus("unknown", message=error.message)


def _summary(reference: JobReference, status: JobStatus) -> dict[str, Any]:
    return {
        "id": reference.id,
        "target": reference.job.target,
        "engine": reference.engine,
        "native_id": reference.native,
        "state": status.state,
        "native_state": status.native,
        "exit_code": status.exit_code,
        "message": status.message,
        "submitted": reference.submitted,
    }


def _details(project: Project, reference: JobReference, status: JobStatus) -> dict[str, Any]:
    from scaffolder.remote.told import failure

    job = reference.job
    told = failure(project, reference) if status.state == "failed" else {}
    return {
        **_summary(reference, status),
        "message": told.get("message") or status.message,
        "hint": told.get("hint", ""),
        "workflow": job.workflow,
        "preset": job.preset,
        "nodes": job.nodes,
        "processes": job.processes,
        "folder": job.folder,
        "output": job.output,
        **reference.place,
    }


def _made(fetched: Fetched) -> dict[str, Any]:
    record = fetched.record
    return {
        "workflow": record.workflow,
        "preset": record.preset,
        "output": record.output,
        "fresh": fetched.fresh,
        "seconds": record.seconds,
        "size": record.size,
        "metrics": record.metrics,
        "training": record.training,
        "made_on": record.made_on,
    }


def _table(rows: Sequence[tuple[JobReference, JobStatus]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("job", no_wrap=True)
    for name in ("target", "as", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("engine says", overflow="ellipsis", no_wrap=True)
    for reference, status in rows:
        table.add_row(
            reference.id,
            reference.job.target,
            reference.native,
            Text(status.state, _STATE_STYLES.get(status.state, "")),
            status.native or status.message,
        )
    return table
