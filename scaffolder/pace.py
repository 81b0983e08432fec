"""How fast training goes here: as this project's newest run was, else as such a machine is expected to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaffolder import machine
from scaffolder.errors import EnvironmentFault
from scaffolder.estimate import estimate_training, expected_rate
from scaffolder.process import processor_count
from scaffolder.records import find_runs

if TYPE_CHECKING:
    from scaffolder.project import Project


def training_rate(project: Project, device: str) -> float | None:
    """Return floating-point operations a second; None for a card that nothing tells of.

    Args:
        project: The project.
        device: "cpu" or "gpu".
    """
    card = first_card() if device == "gpu" else None
    return _measured_rate(project, device) or expected_rate(
        device, processors=processor_count(), card=card.name if card else None
    )


def first_card() -> machine.Card | None:
    """Return the card that training would use, or None."""
    try:
        return next(iter(machine.cards()), None)
    except EnvironmentFault:  # the run itself will say what is wrong with the card
        return None


def _measured_rate(project: Project, device: str) -> float | None:
    """Return what the newest training of this project reached on such a device."""
    for record in reversed(find_runs(project)):
        speed = record.training.get("tokens_per_second")
        if not speed or record.fingerprint.accelerator != device:
            continue
        estimate = estimate_training(record.config, project.root, project.manifest.model.id)
        if estimate is not None and estimate.training.tokens:
            return float(speed) * estimate.flop / estimate.training.tokens
    return None
