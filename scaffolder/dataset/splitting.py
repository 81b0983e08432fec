"""Training and evaluation examples out of one set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder.dataset.outputs import refuse_existing, written_aside
from scaffolder.dataset.sources import project_sources
from scaffolder.dataset.worker import run_job
from scaffolder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scaffolder.project import Project

LEFT_OUT = "left-out.jsonl"


@dataclass(frozen=True, slots=True)
class Split:
    """What became of the rows.

    Attributes:
        train: File, relative to the root.
        eval: The same.
        train_rows: How many went there.
        eval_rows: The same.
        left_out_rows: Rows that belong to both sides.
        left_out: File that holds them; None where there are none.
        strata: [training rows, evaluation rows] of each value of the column, largest first.
    """

    train: str
    eval: str
    train_rows: int
    eval_rows: int
    left_out_rows: int
    left_out: str | None
    strata: list[list[int]]


def split(
    project: Project,
    files: list[Path],
    *,
    share: float,
    seed: int = 0,
    by: str | None = None,
    group: str | None = None,
    force: bool = False,
    on_event: Callable[[dict[str, Any]], None] = lambda _event: None,
) -> Split:
    """Write the manifest's training and evaluation file from others.

    Args:
        project: The project.
        files: Examples, in an order that later calls keep: rows are added at the end.
        share: Of the rows for evaluation.
        seed: Another one gives another split.
        by: Column whose values are represented alike on both sides.
        group: Column whose equal values stay on one side.
        force: Replace the files that are there; these stay as `.old`.
        on_event: Gets `rows`.

    Raises:
        UsageError: The share is impossible, or a file would be overwritten.
        ScaffolderError: Rows are no examples.
    """
    if not 0 < share < 1:
        raise UsageError("the share of evaluation is between 0 and 1", hint="--eval 10%")
    dataset = project.manifest.dataset
    sources = project_sources(project, files)
    train, evaluation = project.root / dataset.train, project.root / dataset.eval
    outputs = [train, evaluation, train.with_name(LEFT_OUT)]
    both = [source.path for source in sources if project.root / source.path in outputs]
    if both:
        raise UsageError(
            f"{both[0]} is one of the files to be written", hint=f"rename it first: mv {both[0]} datasets/all.jsonl"
        )
    refuse_existing(outputs[:2], [dataset.train, dataset.eval], force=force)
    with written_aside(outputs) as (aside_train, aside_eval, aside_left):
        job = {
            "files": [source.spec() for source in sources],
            "share": share,
            "seed": seed,
            "by": by,
            "group": group,
            "train": str(aside_train),
            "eval": str(aside_eval),
            "left_out": str(aside_left),
        }
        found = next(event for event in run_job(project, "data split", job, on_event) if event["event"] == "split")
    return Split(
        train=dataset.train,
        eval=dataset.eval,
        train_rows=found["train"],
        eval_rows=found["eval"],
        left_out_rows=found["left_out"],
        left_out=project.relative(outputs[2]) if found["left_out"] else None,
        strata=found["strata"],
    )
