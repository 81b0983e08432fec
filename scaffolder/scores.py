"""Losses that were measured once and hold as long as model, examples and versions stay the same."""

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


class Losses:
    """The memory of losses of one project, in `.scaffolder/losses/`.

    Args:
        project: The project.
        environment: Its versions count.
        hashes: Content hashes.
    """

    def __init__(self, project: Project, environment: Environment, hashes: Hashes) -> None:
        dataset = project.manifest.dataset
        self._folder = project.root / STATE_FOLDER / "losses"
        self._common = [
            hashes.file(project.root / dataset.eval),
            dataset.model_dump(),
            environment.versions(),
        ]
        self._hashes = hashes

    def known(self, artefact: Artefact) -> dict[str, Any] | None:
        """Return `loss`, `perplexity` and `tokens` of a model, or None."""
        try:
            found: dict[str, Any] = json.loads(self._path(artefact).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found

    def remember(self, artefact: Artefact, loss: dict[str, Any]) -> None:
        """Keep the figures of a model."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path(artefact), json.dumps(loss))

    def _path(self, artefact: Artefact) -> Path:
        folders = [artefact.path, artefact.adapter] if artefact.adapter else [artefact.path]
        content = [artefact.form, *(self._hashes.path(folder) for folder in folders)]
        return self._folder / f"{digest([*self._common, content])}.json"
