"""Strict checks of configurations before anything heavy starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaffolder import catalogue, machine, oliveconfig, plan, support
from scaffolder.environment import find_environment, own_python
from scaffolder.errors import EnvironmentFault, UsageError
from scaffolder.estimate import estimate_training, smaller
from scaffolder.settings import chosen_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scaffolder.project import Project

_ANSWERS = ".copier-answers.yml"


def validate_file(path: Path, *, root: Path, project: Project | None = None) -> list[oliveconfig.Problem]:
    """Check one Olive configuration; its relative paths relate to `root`.

    Where it belongs to a project, its packages, its model and this machine's memory are looked at as well.
    """
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    document = oliveconfig.read(path, name=name)
    found = oliveconfig.check(document, root=root)
    if project is not None and not any(problem.severity == "error" for problem in found):
        found += _use(project, document, document.data())
    return found


def validate_project(project: Project, workflow: str | None = None) -> list[oliveconfig.Problem]:
    """Check every configuration of a project, or those of one workflow's folder.

    A workflow's own configuration is checked with the manifest's values set over it, and against the packages of
    the project's environment and the memory there is; the presets beside it are checked as they are.
    """
    names = [workflow] if workflow else list(project.manifest.workflows)
    found: list[oliveconfig.Problem] = []
    seen: set[Path] = set()
    for name in names:
        own = plan.resolve(project, name)
        problems = plan.problems(project, own)
        if not any(problem.severity == "error" for problem in problems):
            document = oliveconfig.read(own.config_path, name=project.relative(own.config_path))
            problems += _use(project, document, own.config)
        found += problems
        seen.add(own.config_path)
    for folder in sorted({path.parent for path in seen}):
        for path in sorted(folder.glob("*.json")):
            if path not in seen:
                found += validate_file(path, root=project.root)
    return found


def _use(project: Project, document: oliveconfig.Document, config: dict[str, Any]) -> Iterator[oliveconfig.Problem]:
    """What of a valid configuration cannot run here: passes, packages, memory."""
    hub_id = project.manifest.model.id
    card = _card()
    installed = _installed(project, here=card is not None or plan.accelerator(config) == "cpu")
    for obstacle in support.obstacles(config, project.root, hub_id, installed):
        yield _problem(document, obstacle.key, obstacle.message, obstacle.hint)
    estimate = estimate_training(config, project.root, hub_id)
    if estimate is None:
        return
    for owner, memory, severity in _memories(project, estimate.training.device, card):
        if estimate.memory > memory > 0:
            fitting = smaller(config, project.root, hub_id, available=memory)
            rows = f"{estimate.training.batch} x {estimate.training.sequence} tokens"
            yield _problem(
                document,
                f"passes.{estimate.training.name}.training_args.per_device_train_batch_size",
                f"training on {rows} takes about {estimate.memory / 1e9:.1f} GB, {owner} has {memory / 1e9:.1f} GB",
                f"about {fitting[1] / 1e9:.1f} GB with {fitting[0]}" if fitting else "take a smaller model",
                severity,
            )
            return


def _installed(project: Project, *, here: bool) -> Callable[[str], str | None]:
    """Say what is installed for the project; where it has no environment yet, everything will be.

    The command's own packages stand for a project's that has none, if this is a machine to run on.
    """
    if not here and own_python(project.root) is None and chosen_python() is None:
        return lambda _: "to come"
    try:
        return find_environment(project.root).version
    except EnvironmentFault:
        return lambda _: "to come"


def _card() -> machine.Card | None:
    try:
        return next(iter(machine.cards()), None)
    except EnvironmentFault:  # `doctor` says what is wrong with the driver
        return None


def _memories(
    project: Project, device: str, card: machine.Card | None
) -> Iterator[tuple[str, int, oliveconfig.Severity]]:
    """Yield whose memory must hold the training, its bytes, and how bad it is if it does not.

    A configuration must fit the card that the project was made for; this machine need not be the one that trains.
    """
    if device == "cpu":
        yield "this machine", machine.total_memory(), "warning"
        return
    meant = catalogue.hardware().get(_hardware(project.root))
    if meant is not None and meant.memory_gb is not None:
        yield "the card that this project was made for", int(meant.memory_gb * 1e9), "error"
    if card is not None:
        yield f"the {card.name} of this machine", card.memory, "warning"


def _hardware(root: Path) -> str:
    import yaml

    try:
        answers = yaml.safe_load((root / _ANSWERS).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    return str(answers.get("hardware", "")) if isinstance(answers, dict) else ""


def _problem(
    document: oliveconfig.Document, key: str, message: str, hint: str, severity: oliveconfig.Severity = "error"
) -> oliveconfig.Problem:
    """Place a problem at its key, or at the nearest one above that the file has; the file was read to its end."""
    node, parts = document.root, key.split(".")
    assert node is not None
    for part in parts:
        node = node.get(part) or node
    return oliveconfig.Problem(document.file, node.key_line, node.key_column, key, message, hint, severity)


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
