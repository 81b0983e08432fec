"""What an up-to-date workflow was compared by, so that the next command sees at once that nothing changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from scaffolder import plan, unchanged
from scaffolder.environment import find_environment
from scaffolder.project import MANIFEST
from scaffolder.records import RECORD
from scaffolder.workflow.current import resolve_workflows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scaffolder.project import Project
    from scaffolder.workflow.execute import RunResult


def remember_results(
    project: Project, name: str, results: list[RunResult], *, begun: int, told: list[str], shown: list[str]
) -> None:
    """Keep that a workflow, or all, with what it needs is up to date; nothing is kept where that cannot be watched.

    Args:
        project: The project.
        name: As the command named it.
        results: None of them fresh.
        begun: When the command began, before it read anything; nanoseconds since 1970.
        told: What the command said of them.
        shown: What it gave as its result.
    """
    looked = {project.root / MANIFEST, *find_environment(project.root).looked_at(project.root)}
    for workflow in resolve_workflows(project, name, preset=None, overrides=None):
        named = plan.looked_for(project, workflow)
        if named is None:
            return
        looked |= {workflow.config_path, *(inner for path in named for inner in _with_content(path))}
    for result in results:
        looked |= {result.output / file for file in (RECORD, *result.record.files)}
    unchanged.remember(
        project.root,
        name,
        looked,
        begun=begun,
        told=told,
        shown=shown,
    )


def _with_content(path: Path) -> Iterator[Path]:
    """Yield a path and, of a folder, all that a content hash goes through."""
    yield path
    for folder, folders, files in os.walk(path):
        yield from (Path(folder, name) for name in (*folders, *files))
