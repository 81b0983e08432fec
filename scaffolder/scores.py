"""What was measured once holds as long as model, examples, questions and versions stay the same.

Measurements are remembered one by one in `.scaffolder/scores/`. The figures of a model that was published travel
with it, in `evaluation.json` beside its `run.json`: `score` (an `evaluation.Score` as JSON: losses in nats per
response token, sizes in bytes, times in seconds) and `gates` (each an `evaluation.Gate`). They are those of the
last `evaluate`; a run that publishes another model in its place leaves none.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from scaffolder.content import Hashes, digest, write_atomically
from scaffolder.plan import STATE_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

    from scaffolder.artefacts import Artefact
    from scaffolder.environment import Environment
    from scaffolder.project import Project

# The figures of a model, written beside its record.
EVALUATION = "evaluation.json"


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """Return `score` and `gates` of the model published in `folder`, or None where it was not evaluated."""
    try:
        found = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
        return {"score": dict(found["score"]), "gates": list(found["gates"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Scores:
    """The memory of measurements of one project, in `.scaffolder/scores/`.

    Args:
        project: The project.
        environment: Its versions count.
        hashes: Content hashes.
    """

    def __init__(self, project: Project, environment: Environment, hashes: Hashes) -> None:
        dataset = project.manifest.dataset
        self._folder = project.root / STATE_FOLDER / "scores"
        self._common = [hashes.file(project.root / dataset.eval), dataset.model_dump(), environment.versions()]
        self._hashes = hashes

    def known(self, artefact: Artefact, question: object = None) -> dict[str, Any] | None:
        """Return what was remembered of a model, or None.

        Args:
            artefact: The model.
            question: None for its loss (`loss`, `perplexity`, `tokens`), else what else it was asked.
        """
        try:
            found: dict[str, Any] = json.loads(self._path(artefact, question).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found

    def remember(self, artefact: Artefact, figures: dict[str, Any], question: object = None) -> None:
        """Keep the figures of a model."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path(artefact, question), json.dumps(figures))

    def _path(self, artefact: Artefact, question: object) -> Path:
        return self._folder / f"{digest([*self._common, self.content(artefact), question])}.json"

    def content(self, artefact: Artefact) -> list[str | None]:
        """Return what stands for a model: its form, the content of its folders and template, the adapter in use."""
        folders = [path for path in (artefact.path, artefact.adapter, artefact.template) if path]
        hashes = [self._hashes.path(folder, without=EVALUATION) for folder in folders]
        return [artefact.form, *hashes, artefact.use if artefact.form == "onnx" else None]
