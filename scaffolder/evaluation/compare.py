"""Measure the forms of a model on the evaluation examples; what is known is not measured again."""

from __future__ import annotations

import os
import platform
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import plan
from scaffolder.artefacts import Artefact, find_artefact
from scaffolder.content import Hashes
from scaffolder.dataset import check_data, project_sources, refuse
from scaffolder.environment import find_environment
from scaffolder.errors import ConfigError, ScaffolderError
from scaffolder.process import Worker
from scaffolder.records import find_runs
from scaffolder.scores import Scores
from scaffolder.settings import answering_environment
from scaffolder.support import can_be_merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scaffolder.project import Project

LOG = "evaluate.log"
_SHOWN_QUESTIONS = 3
_REFERENCE = "reference.npy"


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
        first_token_seconds: For a question of the median length.
        prefill_tokens_per_second: Reading 256 tokens.
        tokens_per_second: Writing, after the first token.
        memory: Most memory above the libraries, bytes.
        top1_agreement: Share of places with the same likeliest token as the tuned PyTorch model has; None for itself.
        kl: Mean divergence from it, nats.
        metrics: Of generated answers, as `evaluation.metrics` names them.
        lm_eval: Of lm-eval's tasks.
        answers: Greedy answers to the questions asked.
    """

    name: str
    form: str
    loss: float
    perplexity: float
    tokens: int
    size: int
    load_seconds: float
    first_token_seconds: float
    prefill_tokens_per_second: float
    tokens_per_second: float
    memory: int
    top1_agreement: float | None = None
    kl: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    lm_eval: dict[str, float] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Models measured on the same examples.

    Attributes:
        scores: One a model, in the order asked for.
        questions: What every model answered.
        expected: The examples' own answers to them; None for questions of the user's.
        lengths: Tokens of the examples' prompts and responses.
        reference: What agreement was measured with; None where nothing was tuned.
    """

    scores: list[Score]
    questions: list[str]
    expected: list[str | None]
    lengths: dict[str, list[int]]
    reference: str | None


def candidates(project: Project) -> dict[str, Artefact]:
    """Return every form that exists, by name: base, adapter, merged, and each ONNX folder that was published.

    An adapter that cannot be merged has no merged form.
    """
    found: dict[str, Artefact] = {}
    for name in ("base", "adapter", "merged"):
        try:
            artefact = find_artefact(project, name)
        except ScaffolderError:
            continue
        if name != "merged" or artefact.adapter is None or can_be_merged(artefact.adapter):
            found[name] = artefact
    for record in find_runs(project):
        if record.metrics.get("kind") == "onnx":
            found[Path(record.output).name] = find_artefact(project, record.output)
    return found


def evaluate(
    project: Project,
    models: dict[str, Artefact],
    *,
    prompts: Sequence[str] = (),
    on_event: Callable[[dict[str, Any]], None],
) -> Comparison:
    """Measure models on the project's evaluation examples, each in a process of its own.

    Args:
        project: The project.
        models: What to measure, by name.
        prompts: Questions that every model answers greedily; the first examples' where there are none.
        on_event: Gets the worker's events, each with the `model`'s name.

    Raises:
        ConfigError: There is no model, or the evaluation examples or a metric's file are missing or damaged.
        ScaffolderError: A model cannot be loaded.
    """
    if not models:
        base = project.manifest.model.path
        raise ConfigError(f"there is no model to evaluate, not even {base}", hint=project.how_to_get(base))
    dataset = project.manifest.dataset
    refuse(check_data(project, project_sources(project, [project.root / dataset.eval])))
    state = project.root / plan.STATE_FOLDER
    state.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=state, prefix="evaluate-") as aside:
        run = _Run(project, models, Path(aside), [dataset.question(prompt) for prompt in prompts], on_event)
        figures = run.measure()
    scores = [_score(name, artefact, figures[name]) for name, artefact in models.items()]
    asked = figures[next(iter(models))]
    lengths = {part: asked[part] for part in ("prompts", "responses")}
    return Comparison(scores, asked["questions"], asked["expected"], lengths, run.reference_name)


def _score(name: str, artefact: Artefact, figures: dict[str, Any]) -> Score:
    known = {key: value for key, value in figures.items() if key in Score.__dataclass_fields__}
    return Score(name=name, form=artefact.form, size=artefact.model_bytes(), **known)


class _Run:
    """Measurements of one call: what is known, what is not, and the reference that models are compared with."""

    def __init__(
        self,
        project: Project,
        models: dict[str, Artefact],
        aside: Path,
        prompts: list[str],
        on_event: Callable[[dict[str, Any]], None],
    ) -> None:
        self._project = project
        self._models = models
        self._aside = aside
        self._on_event = on_event
        self._environment = find_environment(project.root)
        self._hashes = Hashes(project.root / plan.STATE_FOLDER / "hashes.json")
        self._memory = Scores(project, self._environment, self._hashes)
        self._settings = project.manifest.evaluation
        self._asked = {
            "prompts": prompts,
            "examples": 0 if prompts else _SHOWN_QUESTIONS,
            "max_new_tokens": project.manifest.evaluation.max_new_tokens,
        }
        self._reference = _tuned(project)
        self.reference_name = self._reference.form if self._reference else None

    def measure(self) -> dict[str, dict[str, Any]]:
        """Return every model's figures by its name; those of the first hold the examples' lengths too."""
        # What the others are compared with comes first: its worker writes that down while it has the model.
        names = sorted(self._models, key=lambda name: self._models[name] != self._reference)
        found = {name: self._measure(name, self._models[name]) for name in names}
        self._hashes.save()
        return found

    def _measure(self, name: str, artefact: Artefact) -> dict[str, Any]:
        keys = self._parts(artefact)
        if name == next(iter(self._models)):
            keys["lengths"] = ["lengths"]
        found = {part: self._memory.known(artefact, key) for part, key in keys.items()}
        missing = [part for part, figures in found.items() if figures is None]
        if missing:
            arguments = {part: self._arguments(part) for part in missing}
            if artefact == self._reference and self._to_compare():
                arguments["reference"] = {"file": str(self._aside / _REFERENCE)}
            for part, figures in self._work(name, artefact, arguments):
                if part in keys:
                    self._memory.remember(artefact, figures, keys[part])
                    found[part] = figures
        figures = {key: value for part in found.values() if part for key, value in part.items()}
        return figures | self._lm_eval(name, artefact)

    def _to_compare(self) -> bool:
        """Whether agreement with the reference is not known yet for a model."""
        keys = [(artefact, self._parts(artefact).get("agreement")) for artefact in self._models.values()]
        return any(key is not None and self._memory.known(artefact, key) is None for artefact, key in keys)

    def _parts(self, artefact: Artefact) -> dict[str, Any]:
        """Return what to measure, with what each result depends on beside model and examples."""
        parts: dict[str, Any] = {
            "loss": None,
            "speed": ["speed", platform.machine(), os.cpu_count()],
            "answers": ["answers", self._asked],
        }
        if self._reference is not None and artefact != self._reference:
            parts["agreement"] = ["agreement", self._memory.content(self._reference)]
        if self._settings.metrics:
            parts["metrics"] = ["metrics", self._metric_files(), self._settings.examples, self._settings.max_new_tokens]
        return parts

    def _metric_files(self) -> list[list[str]]:
        found = []
        for name in self._settings.metrics:
            path = self._project.root / name.partition(":")[0]
            if ".py:" in name and not path.is_file():
                shown = self._project.relative(path)
                raise ConfigError(
                    f"scaffolder.toml: `evaluation.metrics` names {name}, but there is no {shown}",
                    hint="a metric is a function of an answer and what was expected that returns a number",
                )
            found.append([name, self._hashes.file(path) if ".py:" in name else ""])
        return found

    def _arguments(self, part: str) -> dict[str, Any]:
        match part:
            case "agreement":
                return {"file": str(self._written_reference())}
            case "answers":
                return self._asked
            case "metrics":
                return self._settings.model_dump(include={"metrics", "examples", "max_new_tokens"})
        return {}

    def _written_reference(self) -> Path:
        file = self._aside / _REFERENCE
        if not file.is_file():
            assert self._reference is not None
            for _ in self._work("tuned model, to compare with", self._reference, {"reference": {"file": str(file)}}):
                pass
        return file

    def _work(
        self, name: str, artefact: Artefact, parts: dict[str, dict[str, Any]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        dataset = self._project.manifest.dataset
        job = {
            "task": "evaluate",
            "root": str(self._project.root),
            "model": artefact.spec(),
            "dataset": dataset.reader(dataset.eval),
            "parts": parts,
        }
        log = self._project.root / plan.STATE_FOLDER / LOG
        self._on_event({"event": "model", "model": name})
        with Worker(self._environment.python, job, log, answering_environment()) as worker:
            for event in worker.events():
                if event["event"] == "failed":
                    raise ScaffolderError(f"{name}: {event['message']}", hint=event["hint"] or f"the log: {log}")
                if event["event"] == "measured":
                    yield event["part"], event["figures"]
                self._on_event({**event, "model": name})
            if worker.wait() != 0:
                raise ScaffolderError(f"{name}: the worker ended early", hint=f"the log: {log}")

    def _lm_eval(self, name: str, artefact: Artefact) -> dict[str, Any]:
        tasks = self._settings.lm_eval
        if not tasks:
            return {}
        from scaffolder.evaluation import lm_eval

        key = ["lm_eval", tasks, lm_eval.version(self._environment)]
        known = self._memory.known(artefact, key)
        if known is None:
            self._on_event({"event": "model", "model": f"{name}, lm-eval"})
            known = {"lm_eval": lm_eval.run(self._environment, artefact, tasks)}
            self._memory.remember(artefact, known, key)
        return known


def _tuned(project: Project) -> Artefact | None:
    """Return the tuned PyTorch model, where there is one."""
    try:
        return find_artefact(project, "adapter")
    except ScaffolderError:
        return None
