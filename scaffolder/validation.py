"""Strict checks of configurations before anything heavy starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaffolder import oliveconfig, plan
from scaffolder.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from scaffolder.project import Project


def validate_file(path: Path, *, root: Path) -> list[oliveconfig.Problem]:
    """Check one Olive configuration; its relative paths relate to `root`."""
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    return oliveconfig.check(oliveconfig.read(path, name=name), root=root)


def validate_project(project: Project, workflow: str | None = None) -> list[oliveconfig.Problem]:
    """Check every configuration of a project, or those of one workflow's folder.

    A workflow's own configuration is checked with the manifest's values set over it; the presets beside it
    are checked as they are.
    """
    names = [workflow] if workflow else list(project.manifest.workflows)
    found: list[oliveconfig.Problem] = []
    seen: set[Path] = set()
    for name in names:
        own = plan.resolve(project, name)
        found += plan.problems(project, own)
        seen.add(own.config_path)
    for folder in sorted({path.parent for path in seen}):
        for path in sorted(folder.glob("*.json")):
            if path not in seen:
                found += validate_file(path, root=project.root)
    return found


def files_checked(project: Project, workflow: str | None = None) -> int:
    """Return how many configurations `validate_project` looks at."""
    names = [workflow] if workflow else list(project.manifest.workflows)
    folders = {(project.root / plan.section(project, name).config).parent for name in names}
    return sum(1 for folder in folders for _ in folder.glob("*.json"))


def upgrade_file(path: Path) -> tuple[str, str, oliveconfig.Upgrade]:
    """Return a configuration's text, the text for today's Olive, and what changed.

    Raises:
        UsageError: The file is no JSON object.
    """
    document = oliveconfig.read(path)
    config = document.data() if document.root is not None else None
    if not isinstance(config, dict):
        lines = [oliveconfig.describe(problem) for problem in document.problems]
        raise UsageError("\n".join(lines) or f"{path}: a JSON object is expected")
    upgraded = oliveconfig.upgrade(config)
    before = path.read_text(encoding="utf-8-sig")
    return before, oliveconfig.dumps(upgraded.config) if upgraded.changes else before, upgraded
