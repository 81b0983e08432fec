"""Jobs about data in the worker, which has the tokenizer and the readers of tables."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder.environment import find_interpreter
from scaffolder.errors import EnvironmentFault, ScaffolderError
from scaffolder.plan import STATE_FOLDER
from scaffolder.process import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scaffolder.project import Project

LOG = "data.log"
_ABANDONED_SECONDS = 24 * 3600


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
    temporary = Path(tempfile.mkdtemp(prefix="tmp-", dir=temporary_place(project)))
    whole = {"task": task, "root": str(project.root), "temporary": str(temporary), **job}
    # Tokenizers count with all processors; nothing else runs beside them here.
    environment = {"TOKENIZERS_PARALLELISM": "true"}
    try:
        with Worker(find_interpreter(project.root), whole, state / LOG, environment) as worker:
            for event in worker.events():
                match event["event"]:
                    case "failed":
                        kind = EnvironmentFault if event["kind"] == "environment" else ScaffolderError
                        hints = [event["hint"], f"the log: {state / LOG}"]
                        raise kind(event["message"], hint="\n      ".join(hint for hint in hints if hint))
                    case "rows":
                        on_event(event)
                    case _:
                        yield event
            if worker.wait() != 0:
                raise ScaffolderError("the worker ended early", hint=f"the log: {state / LOG}")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def temporary_place(project: Project) -> Path:
    """Return the folder for temporary ones (`tmp-…`), without those that killed commands left there."""
    folder = project.root / STATE_FOLDER / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("tmp-*"):
        if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
    return folder
