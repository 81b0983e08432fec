"""Whether a workflow fits this machine, and about how long its training takes, before it starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from scaffolder import machine
from scaffolder.errors import ConfigError
from scaffolder.estimate import Estimate, estimate_training, smaller, too_few_steps
from scaffolder.pace import first_card, training_rate

if TYPE_CHECKING:
    from pathlib import Path

    from scaffolder.plan import Workflow
    from scaffolder.project import Project

# Passes that write a model, in times of what lies on disk: merged, quantised, and as 32-bit numbers on the way.
_WRITERS = {"mergeadapterweights": 1.0, "modelbuilder": 1.0, "rtn": 1.0, "gptq": 1.0, "kquant": 1.0}
_LEAST_DISK = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a training will take here, to compare with what it took.

    Attributes:
        memory: Bytes at the peak, of the process or of the card.
        available: Bytes there are now.
        seconds: Of all steps together; None where nothing tells how fast the card is.
        tokens: Trained on.
        steps: Optimiser steps.
        advice: What to set for more steps, where they are too few; else empty.
    """

    memory: int
    available: int
    seconds: float | None
    tokens: int
    steps: int
    advice: str

    def as_event(self) -> dict[str, Any]:
        """Return it as an event of the run."""
        return {"event": "estimate", **asdict(self)}


def check_room(project: Project, workflow: Workflow, *, force: bool) -> Forecast | None:
    """Estimate what a workflow takes, and refuse what cannot fit.

    Args:
        project: The project.
        workflow: About to run.
        force: Refuse nothing.

    Returns:
        The forecast of its training; None where it trains nothing or the model's shape is unknown.

    Raises:
        ConfigError: Memory or disk cannot hold it; the hint names the settings that would fit.
    """
    if not force:
        _check_disk(project, workflow)
    estimate = estimate_training(workflow.config, project.root, project.manifest.model.id)
    if estimate is None:
        return None
    forecast = _forecast(project, estimate)
    if not force and forecast.available and forecast.memory > forecast.available:
        raise _too_large(project, workflow, forecast)
    return forecast


def _forecast(project: Project, estimate: Estimate) -> Forecast:
    training = estimate.training
    card = first_card() if training.device == "gpu" else None
    rate = training_rate(project, training.device)
    return Forecast(
        memory=estimate.memory,
        available=machine.free_memory() if training.device == "cpu" else card.free if card else 0,
        seconds=round(estimate.seconds(rate), 1) if rate else None,
        tokens=training.tokens,
        steps=training.steps,
        advice=too_few_steps(training),
    )


def _too_large(project: Project, workflow: Workflow, forecast: Forecast) -> ConfigError:
    hub_id = project.manifest.model.id
    fitting = smaller(workflow.config, project.root, hub_id, available=forecast.available)
    if fitting is None:
        hint = "no batch or length fits: take a smaller model, or --preset qlora on a card"
    else:
        hint = f"about {_gigabytes(fitting[1])} with {fitting[0]}"
    return ConfigError(
        f"{workflow.name} ({workflow.preset}) needs about {_gigabytes(forecast.memory)} of memory,"
        f" and {_gigabytes(forecast.available)} are free",
        hint=f"{hint}\n      or --force, if you know better",
    )


def _check_disk(project: Project, workflow: Workflow) -> None:
    kinds = [str(settings.get("type", "")).lower() for settings in workflow.config.get("passes", {}).values()]
    model = project.root / str(workflow.config.get("input_model", {}).get("model_path"))
    weights = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    needed = _LEAST_DISK + int(weights * sum(_WRITERS.get(kind, 0.0) for kind in kinds))
    free = machine.free_disk(workflow.runs_folder)
    if free < needed:
        raise ConfigError(
            f"{workflow.name} ({workflow.preset}) writes about {_gigabytes(needed)},"
            f" and {_gigabytes(free)} are free on the disk of {_shown(project, workflow.runs_folder)}",
            hint="delete old runs in fine-tuning/runs/ and gen-model/runs/, or --force, if you know better",
        )


def _shown(project: Project, folder: Path) -> str:
    return f"{project.relative(folder)}/"


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
