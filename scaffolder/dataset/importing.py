"""Examples from elsewhere, as JSON Lines in `datasets/`."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder.dataset import hub
from scaffolder.dataset.outputs import refuse_existing, written_aside
from scaffolder.dataset.report import Finding, Place
from scaffolder.dataset.worker import run_job, temporary_place
from scaffolder.errors import ScaffolderError, UsageError
from scaffolder.worker.data.judge import Columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from scaffolder.project import Project

# A hub id never begins with a dot or a slash, as paths do.
_HUB = re.compile(r"(?:hf://(?:datasets/)?)?([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which columns to take; where none is named, the shape of each row is recognised.

    Attributes:
        prompt: Column with the question.
        response: Column with the answer.
        messages: Column with conversations.
        text: Column with plain text.
        keep: More columns, taken as they are.
    """

    prompt: str | None = None
    response: str | None = None
    messages: str | None = None
    text: str | None = None
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it.

    Attributes:
        output: File, relative to the root.
        rows: Written.
        left_out: Rows that could not be taken.
        shapes: Rows by recognised shape.
        columns: Of the file.
        encodings: Files by the encoding they were read in.
        findings: Why rows were left out.
        commit: Of the hub's data set.
        advice: How the project comes to read these columns, where it does not; else empty.
    """

    output: str
    rows: int
    left_out: int
    shapes: dict[str, int]
    columns: list[str]
    encodings: dict[str, int]
    findings: tuple[Finding, ...]
    commit: str | None
    advice: str


def import_data(
    project: Project,
    source: str,
    *,
    output: str | None = None,
    chosen: Chosen = Chosen(),
    encoding: str | None = None,
    limit: int | None = None,
    part: str = "train",
    force: bool = False,
    on_event: Callable[[dict[str, Any]], None] = lambda _event: None,
) -> Imported:
    """Write examples to a JSON Lines file.

    Args:
        project: The project.
        source: A file or folder, or a data set of the hub: `organisation/name`, `hf://organisation/name@revision`.
        output: Relative to the root; the manifest's training file where left out.
        chosen: Columns to take.
        encoding: Of text; told from the content where left out.
        limit: Take at most this many rows.
        part: Of a hub data set: "train", "test", "validation", or a pattern of its files' names.
        force: Replace what is there; it stays as `.old`.
        on_event: Gets `rows`.

    Raises:
        UsageError: There is no such source, or the output is there already.
        ScaffolderError: Nothing in it can be read as examples.
    """
    target = project.root / (output or project.manifest.dataset.train)
    name = project.relative(target)
    if target.suffix != ".jsonl":
        raise UsageError(f"{name}: examples are written as JSON Lines", hint="a name that ends in .jsonl")
    refuse_existing([target], [name], force=force)
    with tempfile.TemporaryDirectory(dir=temporary_place(project), prefix="tmp-") as folder:
        place, commit = _fetched(source, part, Path(folder))
        with written_aside([target]) as (aside,):
            job = {
                "source": str(place),
                "output": str(aside),
                "encoding": encoding,
                "limit": limit,
                "prompt": chosen.prompt,
                "response": chosen.response,
                "messages": chosen.messages,
                "text": chosen.text,
                "keep": list(chosen.keep),
            }
            events = run_job(project, "data import", job, on_event)
            found = next(event for event in events if event["event"] == "imported")
            findings = _findings(found["findings"])
            if not found["rows"]:
                lines = [line for finding in findings for line in finding.lines()][:10]
                message = "\n".join([f"nothing in {source} can be taken as an example", *lines])
                raise ScaffolderError(message, hint="choose the columns with --prompt and --response, or --messages")
    keys = ("rows", "left_out", "shapes", "columns", "encodings")
    advice = _advice(project, found["columns"])
    return Imported(output=name, **{key: found[key] for key in keys}, findings=findings, commit=commit, advice=advice)


def _advice(project: Project, columns: list[str]) -> str:
    """Say what to do where the project reads other columns than were written."""
    wanted = Columns.of(project.manifest.dataset.reader("")).wanted
    if set(wanted) <= set(columns):
        return ""
    reads = f"this project reads {' and '.join(f'`{name}`' for name in wanted)}"
    form = "messages" if "messages" in columns else "columns" if "response" in columns else None
    if form is None:
        return f"{reads}: plain text holds no answer to learn"
    return f"{reads}; for these rows: scaffolder update --answers -d data_format={form}"


def _findings(found: list[dict[str, Any]]) -> tuple[Finding, ...]:
    return tuple(
        Finding(**{**finding, "places": tuple(Place(**place) for place in finding["places"])}) for finding in found
    )


def _fetched(source: str, part: str, folder: Path) -> tuple[Path, str | None]:
    local = Path(source).expanduser()
    if local.exists():
        return local.resolve(), None
    named = _HUB.fullmatch(source)
    # A name with an ending of a file is a file that is missing.
    if named is None or (not source.startswith("hf://") and local.suffix in (".json", ".jsonl", ".csv", ".txt")):
        raise UsageError(f"no file or folder {source}", hint="a data set of the hub has the form organisation/name")
    try:
        return hub.fetch_dataset(named[1], named[2], part, folder)
    except ScaffolderError as error:
        if not isinstance(error, UsageError) and not source.startswith("hf://"):
            error.message = f"no file or folder {source} here, and {error.message}"
        raise
