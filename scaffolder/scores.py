"""What was measured once holds as long as model, examples, questions and versions stay the same."""

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
        folders = [path for path in (artefact.path, artefact.adapter, artefact.template) if path]
        content = [artefact.form, *(self._hashes.path(folder) for folder in folders)]
        return self._folder / f"{digest([*self._common, content, question])}.json"
