"""The forms of a model side by side on the evaluation examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import plan
from scaffolder.artefacts import Artefact, find_artefact
from scaffolder.content import Hashes
from scaffolder.environment import find_environment
from scaffolder.errors import ScaffolderError
from scaffolder.examples import check_examples
from scaffolder.process import Worker
from scaffolder.records import find_runs
from scaffolder.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scaffolder.project import Project

_MAX_NEW_TOKENS = 80
LOG = "evaluate.log"


@dataclass(frozen=True, slots=True)
class Score:
    """One form of the model.

    Attributes:
        name: How the user would name it.
        form: "base", "adapter", "merged" or "onnx".
        loss: Mean cross-entropy on the response tokens, nats.
        perplexity: exp(loss).
        tokens: Response tokens counted.
        size: Bytes of weights and graphs.
        load_seconds: Time to open it.
        tokens_per_second: Median decoding speed over the answers.
        answers: Greedy answers to the prompts asked.
    """

    name: str
    form: str
    loss: float
    perplexity: float
    tokens: int
    size: int
    load_seconds: float
    tokens_per_second: float | None
    answers: list[str]


def candidates(project: Project) -> dict[str, Artefact]:
    """Return every form that exists, by name: base, adapter, merged, and each ONNX folder that was published."""
    found: dict[str, Artefact] = {}
    for name in ("base", "adapter", "merged"):
        try:
            found[name] = find_artefact(project, name)
        except ScaffolderError:
            continue
    for record in find_runs(project):
        if record.metrics.get("kind") == "onnx":
            found[Path(record.output).name] = find_artefact(project, record.output)
    return found


def evaluate(
    project: Project,
    models: dict[str, Artefact],
    *,
    prompts: Sequence[str],
    on_event: Callable[[dict[str, Any]], None],
) -> list[Score]:
    """Score models on the project's evaluation examples; what is known is not computed again.

    Args:
        project: The project.
        models: What to score, by name.
        prompts: Questions that every model answers greedily.
        on_event: Gets the worker's events.

    Raises:
        ConfigError: The evaluation examples are missing or damaged.
        ScaffolderError: A model cannot be loaded.
    """
    dataset = project.manifest.dataset
    check_examples(project.root / dataset.eval, [], shown_as=dataset.eval)
    environment = find_environment(project.root)
    state = project.root / plan.STATE_FOLDER
    hashes = Hashes(state / "hashes.json")
    memory = Scores(project, environment, hashes)
    question = [list(prompts), _MAX_NEW_TOKENS]
    found = {name: memory.known(artefact, question) for name, artefact in models.items()}
    hashes.save()
    missing = [
        {"name": name, **models[name].spec(), "loss": memory.known(models[name])}
        for name, known in found.items()
        if known is None
    ]
    if missing:
        job = {
            "task": "evaluate",
            "root": str(project.root),
            "models": missing,
            "dataset": dataset.reader(dataset.eval),
            "prompts": [[{"role": "user", "content": dataset.question(prompt)}] for prompt in prompts],
            "max_new_tokens": _MAX_NEW_TOKENS,
        }
        for event in _events(environment.python, job, state / LOG):
            on_event(event)
            if event["event"] == "scored":
                name = event["name"]
                figures = {key: event[key] for key in Score.__dataclass_fields__ if key in event}
                memory.remember(models[name], figures, question)
                found[name] = figures
                memory.remember(models[name], {key: event[key] for key in ("loss", "perplexity", "tokens")})
    return [_score(name, known, models[name]) for name, known in found.items() if known]


def _score(name: str, figures: dict[str, Any], artefact: Artefact) -> Score:
    return Score(**{**figures, "name": name, "form": artefact.form, "size": artefact.model_bytes()})


def _events(python: Path, job: dict[str, Any], log: Path) -> Any:
    with Worker(python, job, log) as worker:
        for event in worker.events():
            if event["event"] == "failed":
                raise ScaffolderError(event["message"], hint=event["hint"] or f"the log: {log}")
            yield event
        if worker.wait() != 0:
            raise ScaffolderError("the worker ended early", hint=f"the log: {log}")
