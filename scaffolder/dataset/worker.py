"""Jobs about data in the worker, which has the tokenizer and the readers of tables."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder.environment import find_environment
from scaffolder.errors import EnvironmentFault, ScaffolderError
from scaffolder.plan import STATE_FOLDER
from scaffolder.process import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scaffolder.project import Project

LOG = "data.log"


def run_job(
    project: Project, task: str, job: dict[str, Any], on_event: Callable[[dict[str, Any]], None]
) -> Iterator[dict[str, Any]]:
    """Yield the events of a job other than `rows`, which go to `on_event`.

    Args:
        project: The project.
        task: As in `scaffolder/worker/main.py`.
        job: What else the task takes; `root` and `temporary` are added.
        on_event: Gets how far it is.

    Raises:
        ScaffolderError: The job failed.
    """
    state = project.root / STATE_FOLDER
    temporary = state / "data" / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    whole = {"task": task, "root": str(project.root), "temporary": str(temporary), **job}
    # Tokenizers count with all processors; nothing else runs beside them here.
    environment = {"TOKENIZERS_PARALLELISM": "true"}
    try:
        with Worker(interpreter(project.root), whole, state / LOG, environment) as worker:
            for event in worker.events():
                match event["event"]:
                    case "failed":
                        raise ScaffolderError(event["message"], hint=event["hint"] or f"the log: {state / LOG}")
                    case "rows":
                        on_event(event)
                    case _:
                        yield event
            if worker.wait() != 0:
                raise ScaffolderError("the worker ended early", hint=f"the log: {state / LOG}")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def interpreter(root: Path) -> Path:
    """Return the project's interpreter; before `setup` the one of this command, which knows no tokens."""
    try:
        return find_environment(root).python
    except EnvironmentFault as fault:
        if fault.hint != "scaffolder setup":
            raise
        return Path(sys.executable)
