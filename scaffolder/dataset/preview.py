"""Rows as training gets them, through the configuration's own code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder.dataset.sources import data_configs, training_data
from scaffolder.dataset.worker import run_job
from scaffolder.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scaffolder.project import Project


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens beside each other that are all learnt, or all only read.

    Attributes:
        learnt: Whether the loss counts them.
        text: What they say, special tokens included.
        ids: Their numbers.
        tokens: The text of each.
    """

    learnt: bool
    text: str
    ids: list[int]
    tokens: list[str]


@dataclass(frozen=True, slots=True)
class Previewed:
    """One row.

    Attributes:
        line: Where it begins.
        runs: Its tokens in order; none where training leaves it out.
        count: Tokens in all.
        learnt: Tokens with a loss.
        error: Why training leaves it out.
    """

    line: int
    runs: tuple[Run, ...]
    count: int
    learnt: int
    error: str


def preview(project: Project, count: int, *, skip: int = 0, path: str | None = None) -> Iterator[Previewed]:
    """Yield rows of the training file as the data component makes them.

    Args:
        project: The project.
        count: Rows.
        skip: Rows to pass over first.
        path: Another file with the same columns, relative to the root.

    Raises:
        ConfigError: No workflow trains on the project's file, a file is missing, or there is no model yet.
        ScaffolderError: The component cannot be loaded.
    """
    found = training_data(project)
    if found is None:
        raise ConfigError(
            f"no workflow trains on {project.manifest.dataset.train}",
            hint="name it in `data_files` of the workflow's configuration",
        )
    workflow, data = found
    model = workflow.config.get("input_model", {}).get("model_path", project.manifest.model.path)
    if not (project.root / model).is_dir():
        raise ConfigError(f"missing model {model}", hint="scaffolder download")
    chosen = path or project.manifest.dataset.train
    if not (project.root / chosen).is_file():
        raise ConfigError(f"missing dataset {chosen}", hint="put your examples there")
    # Scripts of other entries change the tokenizer too: a project's own prompt template is one.
    scripts = [entry["user_script"] for entry in data_configs(workflow.config) if entry.get("user_script")]
    job = {"path": chosen, "skip": skip, "count": count, "model": model, "data": data, "scripts": scripts}
    for event in run_job(project, "data preview", job, lambda _event: None):
        if event["event"] == "previewed":
            yield _row(event)


def _row(event: dict[str, Any]) -> Previewed:
    runs = tuple(Run(**run) for run in event.get("runs", ()))
    return Previewed(event["line"], runs, event.get("count", 0), event.get("learnt", 0), event.get("error", ""))
