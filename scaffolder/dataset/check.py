"""Checks, remembered by the content of what they read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from scaffolder.content import Hashes, digest, write_atomically
from scaffolder.dataset.report import Report, read_report
from scaffolder.dataset.sources import Source, existing, workflow_sources
from scaffolder.dataset.worker import run_job
from scaffolder.errors import ConfigError
from scaffolder.plan import STATE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scaffolder.project import Project

# Another number forgets what earlier releases found.
_RULES = 2
_REMEMBERED = 20
_SHOWN = 10
_TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*", "vocab.*")


def check_data(
    project: Project,
    sources: list[Source],
    *,
    all_tokens: bool = False,
    fresh: bool = False,
    on_event: Callable[[dict[str, Any]], None] = lambda _event: None,
) -> Report:
    """Check files of examples, together.

    Args:
        project: The project.
        sources: What to check; what is found in several is told of the later one.
        all_tokens: Count the tokens of every row, also in files of more than 64 MB.
        fresh: Check again what is known.
        on_event: Gets `rows` with the rows read so far.

    Raises:
        ScaffolderError: The check itself failed; what is wrong with the data stands in the report.
    """
    state = project.root / STATE_FOLDER
    hashes = Hashes(state / "hashes.json")
    key = _key(project, sources, hashes, all_tokens)
    hashes.save()
    memory = state / "data" / f"{key}.json"
    known = None if fresh else _read(memory)
    if known is not None:
        return read_report(known, cached=True)
    job = {
        "files": [source.spec() for source in sources],
        "model": str(project.model_folder) if project.model_folder.is_dir() else None,
        "all_tokens": all_tokens,
        "chat_template": project.manifest.dataset.prompt_template,
    }
    found = next(event for event in run_job(project, "data check", job, on_event) if event["event"] == "checked")
    report = {name: found[name] for name in ("files", "findings", "notes", "seconds", "peak_memory")}
    if not report["notes"]:  # what could not be looked at may be possible next time
        _remember(memory, report)
    return read_report(report, cached=False)


def check_workflow(project: Project, config: dict[str, Any], on_event: Callable[[dict[str, Any]], None]) -> None:
    """Check what a workflow's configuration reads, before it runs; warnings become events.

    Raises:
        ConfigError: A file is missing, or holds what cannot be trained on; the first ten places are named.
    """
    sources = workflow_sources(project, config)
    evaluation = project.manifest.dataset.eval
    if not sources:
        return
    if (project.root / evaluation).is_file() and all(source.path != evaluation for source in sources):
        sources = existing(project, [*sources, Source(evaluation, sources[0].columns)])
    report = check_data(project, sources)
    refuse(report)
    for finding in report.of("warning"):
        place = finding.places[0]
        more = f", and {finding.count - 1:,} more" if finding.count > 1 else ""
        where = f"{finding.file}:{place.line}" if place.line else finding.file
        on_event({"event": "warning", "message": f"{where}: {place.message}{more} (`scaffolder data check`)"})


def refuse(report: Report) -> None:
    """Raise the errors of a report as one.

    Raises:
        ConfigError: There are some.
    """
    errors = report.of("error")
    if errors:
        lines = [line for finding in errors for line in finding.lines()]
        more = [f"{len(lines) - _SHOWN} more: `scaffolder data check`"] if len(lines) > _SHOWN else []
        hints = "; ".join(dict.fromkeys(finding.hint for finding in errors))
        raise ConfigError("\n".join([*lines[:_SHOWN], *more]), hint=hints)


def _key(project: Project, sources: list[Source], hashes: Hashes, all_tokens: bool) -> str:
    folder = project.model_folder
    tokenizer = sorted({path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern) if path.is_file()})
    template = project.manifest.dataset.prompt_template
    if template and (project.root / template).is_file():
        tokenizer.append(project.root / template)
    return digest(
        [
            _RULES,
            all_tokens,
            [[source.spec(), hashes.file(project.root / source.path)] for source in sources],
            [[path.name, hashes.file(path)] for path in tokenizer],
        ]
    )


def _read(memory: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _remember(memory: Path, report: dict[str, Any]) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(memory, json.dumps(report, ensure_ascii=False))
    older = sorted(memory.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)[:-_REMEMBERED]
    for path in older:
        path.unlink(missing_ok=True)
