"""What a model has to hold, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaffolder.artefacts import find_artefact
from scaffolder.errors import ConfigError, GateFailed, ScaffolderError, UsageError
from scaffolder.evaluation.compare import Score
from scaffolder.project import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaffolder.artefacts import Artefact
    from scaffolder.project import Project


@dataclass(frozen=True, slots=True)
class Gate:
    """One limit and how the model stands to it.

    Attributes:
        key: As in `[gates]`.
        model: Which model was judged.
        limit: What was asked.
        value: What was measured.
        passed: Whether it holds.
        advice: What to try where it does not.
    """

    key: str
    model: str
    limit: float
    value: float
    passed: bool
    advice: str


@dataclass(frozen=True, slots=True)
class _Rule:
    figure: Callable[[Score, Mapping[str, Score]], float | None]
    advice: str


_FINER = "try `scaffolder run gen-model --preset onnx-int8`, or `--search` for the smallest export that passes"
_SMALLER = "try `scaffolder run gen-model --preset onnx-int4-fast` or `--preset onnx-int4-small`"
_LEARN = "train longer (max_steps), on more examples, or with a higher rank"
_RULES = {
    "max_loss": _Rule(lambda score, _: score.loss, _LEARN),
    "max_loss_increase_vs_merged": _Rule(lambda score, all_: score.loss - all_["merged"].loss, _FINER),
    "min_improvement_vs_base": _Rule(lambda score, all_: 1 - score.loss / all_["base"].loss, _LEARN),
    "min_top1_agreement": _Rule(lambda score, _: 1.0 if score.form == "adapter" else score.top1_agreement, _FINER),
    "max_kl": _Rule(lambda score, _: 0.0 if score.form == "adapter" else score.kl, _FINER),
    "max_size_gb": _Rule(lambda score, _: score.size / 1e9, _SMALLER),
    "max_memory_gb": _Rule(lambda score, _: score.memory / 1e9, _SMALLER),
    "min_tokens_per_s": _Rule(
        lambda score, _: score.tokens_per_second, f"{_SMALLER}, on a machine with nothing else to do"
    ),
    "max_first_token_s": _Rule(lambda score, _: score.first_token_seconds, "shorten the system prompt; " + _SMALLER),
}


def models_needed(project: Project) -> dict[str, Artefact]:
    """Return the models that have to be measured for the gates, by name; the judged one comes last.

    Raises:
        ConfigError: The manifest names no model for the gates.
        ScaffolderError: One of them has not been made.
    """
    if not project.manifest.gates.limits():
        return {}
    model = project.manifest.gates.model
    try:
        artefact = find_artefact(project, model)
    except UsageError as error:
        raise ConfigError(f"{MANIFEST}: `gates.model`: {error.message}", hint=error.hint) from error
    # Exports go by their folder's name.
    judged = artefact.path.name if artefact.form == "onnx" else model
    others = {name: other for name, other in compared_with(project).items() if name != judged}
    return {**others, judged: artefact}


def judgeable(project: Project) -> dict[str, Artefact] | None:
    """Return what `models_needed` does, or None where one of them has not been made yet.

    Raises:
        ConfigError: The manifest names no model for the gates.
    """
    try:
        return models_needed(project)
    except ConfigError:
        raise
    except ScaffolderError:
        return None


def compared_with(project: Project) -> dict[str, Artefact]:
    """Return the models that the gates compare with, by name."""
    needed = {"base": "min_improvement_vs_base", "merged": "max_loss_increase_vs_merged"}
    limits = project.manifest.gates.limits()
    return {name: find_artefact(project, name) for name, key in needed.items() if key in limits}


def judge(limits: Mapping[str, float], score: Score, others: Mapping[str, Score]) -> list[Gate]:
    """Hold a model against its gates.

    Args:
        limits: By key of `[gates]`.
        score: The model that is judged.
        others: Those to compare with, see `compared_with`.

    Raises:
        ScaffolderError: A figure was not measured.
    """
    gates = []
    for key, limit in limits.items():
        value = _figure(key, score, others)
        # Figures are rounded: what is equal as shown passes.
        passed = value <= limit + 1e-9 if key.startswith("max_") else value >= limit - 1e-9
        gates.append(Gate(key, score.name, limit, round(value, 4), passed, _advice(key)))
    return gates


def judge_project(project: Project, models: Mapping[str, Artefact], scores: Sequence[Score]) -> list[Gate] | None:
    """Hold the project's model against its gates; None where not all that they need was measured.

    Args:
        project: The project.
        models: What was measured, under whichever names.
        scores: The figures, by the same names.
    """
    by_name = {score.name: score for score in scores}
    found: dict[str, Score] = {}
    needed = judgeable(project)
    if needed is None:
        return None
    for name, artefact in needed.items():
        measured = next((known for known, other in models.items() if other == artefact), None)
        if measured is None:
            return None
        found[name] = by_name[measured]
    return judge(project.manifest.gates.limits(), list(found.values())[-1], found) if found else []


def fail_if_missed(gates: Sequence[Gate]) -> None:
    """Raise where a gate does not hold.

    Raises:
        GateFailed: The message names each with its figure, the hint what to try.
    """
    missed = [gate for gate in gates if not gate.passed]
    if missed:
        lines = [f"{gate.model} fails the gate {gate.key} = {gate.limit:g}: it has {gate.value:g}" for gate in missed]
        raise GateFailed("\n".join(lines), hint="\n      ".join(dict.fromkeys(gate.advice for gate in missed)))


def _figure(key: str, score: Score, scores: Mapping[str, Score]) -> float:
    metric = key.removeprefix("min_metrics.")
    value = score.metrics.get(metric) if metric != key else _RULES[key].figure(score, scores)
    if value is None:
        raise ScaffolderError(f"the gate {key} cannot be judged: nothing was tuned to compare {score.name} with")
    return value


def _advice(key: str) -> str:
    return _RULES[key].advice if key in _RULES else _LEARN
