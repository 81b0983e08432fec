"""What an evaluation leaves behind: figures beside each model, all of them together, and the report.

Beside the record of every model that was published lies its own `evaluation.json`, which `scores.read_evaluation`
reads; all that were compared are in `evaluation/evaluation.json`, with the questions and their answers.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from scaffolder import curves
from scaffolder.artefacts import published
from scaffolder.content import write_atomically
from scaffolder.evaluation.report import render
from scaffolder.records import RECORD, read_events, read_record
from scaffolder.scores import EVALUATION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scaffolder.artefacts import Artefact
    from scaffolder.curves import Curve
    from scaffolder.evaluation.compare import Comparison
    from scaffolder.evaluation.gates import Gate
    from scaffolder.project import Project

FOLDER = "evaluation"
REPORT = "report.html"


def write_results(
    project: Project, models: Mapping[str, Artefact], comparison: Comparison, gates: Sequence[Gate]
) -> Path:
    """Write `evaluation.json` and the report into `evaluation/`; return the report.

    Beside each model's record its own figures go too, with its gates: they travel with the model.
    """
    for score in comparison.scores:
        folder = _recorded(models[score.name])
        if folder is not None:
            own = [asdict(gate) for gate in gates if gate.model == score.name]
            _write(folder / EVALUATION, {"score": asdict(score), "gates": own})
    folder = project.root / FOLDER
    folder.mkdir(exist_ok=True)
    manifest = project.manifest
    _write(folder / EVALUATION, {**asdict(comparison), "gates": [asdict(gate) for gate in gates]})
    page = render(manifest.project.name, manifest.model.id, comparison, gates, _curve(project))
    write_atomically(folder / REPORT, page)
    return folder / REPORT


def _write(path: Path, value: object) -> None:
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _recorded(artefact: Artefact) -> Path | None:
    """Return the folder with the model's record; a merged model has none, it is the adapter's."""
    folder = artefact.adapter.parent if artefact.form == "adapter" and artefact.adapter else artefact.path
    return folder if artefact.form != "merged" and (folder / RECORD).is_file() else None


def _curve(project: Project) -> Curve | None:
    """Return the loss curve of the adapter that is in place."""
    adapter = published(project, "adapter")
    record = read_record(adapter.parent) if adapter else None
    if record is None:
        return None
    run = next(project.root.glob(f"*/runs/{record.id}"), None)
    return curves.of_events(read_events(run)) if run else None
