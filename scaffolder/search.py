"""Look for the smallest export that holds the project's gates."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder import catalogue, evaluation, plan
from scaffolder.artefacts import find_artefact
from scaffolder.content import write_atomically
from scaffolder.errors import EnvironmentFault, Interrupted, ScaffolderError, UsageError
from scaffolder.evaluation import Gate, Score
from scaffolder.project import MANIFEST
from scaffolder.workflow.execute import run_workflows
from scaffolder.workflow.preview import preview_workflows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scaffolder.project import Project
    from scaffolder.workflow.preview import Planned

# From the smallest to the largest.
_PRECISIONS = ("int4", "int8", "fp16", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting and how it did.

    Attributes:
        preset: Its configuration's name.
        score: What was measured; None where it could not be built.
        gates: How it stands to each gate.
        problem: Why it could not be built, or empty.
    """

    preset: str
    score: Score | None
    gates: list[Gate]
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether it was built and holds every gate."""
        return self.score is not None and all(gate.passed for gate in self.gates)


def search(
    project: Project, workflow: str, *, on_event: Callable[[dict[str, Any]], None]
) -> tuple[list[Trial], Trial | None]:
    """Build and measure the presets beside a workflow's own, the smallest precision first, until one holds the gates.

    Of one precision all are tried. What was built and measured before is not done again. The winner becomes the
    workflow's configuration in `scaffolder.toml`.

    Args:
        project: The project.
        workflow: The workflow that exports.
        on_event: Gets the events of runs and measurements.

    Returns:
        What was tried, and the smallest that passed, if any did.

    Raises:
        UsageError: There are no gates, or no presets to try.
        ScaffolderError: What they all need could not be made.
    """
    trials: list[Trial] = []
    for presets in _groups(project, workflow):
        trials += [_try(project, workflow, preset, on_event) for preset in presets]
        passed = [trial for trial in trials if trial.passed]
        if passed:
            winner = min(passed, key=lambda trial: (trial.score.size, trial.score.loss) if trial.score else (0, 0.0))
            _record(project, workflow, winner.preset)
            return trials, winner
    return trials, None


def preview(project: Project, workflow: str, *, on_event: Callable[[dict[str, Any]], None]) -> list[Planned]:
    """Return what `search` would run, in its order, if nothing held the gates before the last; measuring aside.

    Raises:
        UsageError: There are no gates, or no presets to try.
    """
    planned = [
        entry
        for presets in _groups(project, workflow)
        for preset in presets
        for entry in preview_workflows(project, workflow, preset=preset, on_event=on_event)
    ]
    # What several need comes once.
    return list({entry.output: entry for entry in planned}.values())


def _groups(project: Project, workflow: str) -> Iterator[list[str]]:
    """Yield the presets that merge the adapter, by precision."""
    if not project.manifest.gates.limits():
        raise UsageError("there are no gates to search for", hint=f"set some under [gates] in {MANIFEST}")
    folder = (project.root / plan.section(project, workflow).config).parent
    known = [(name, entry) for name, entry in catalogue.exports().items() if entry.adapter == "merged"]
    there = [(name, entry) for name, entry in known if (folder / f"{name}.json").is_file()]
    if not there:
        raise UsageError(f"`{workflow}` has no presets to search in", hint=", ".join(name for name, _ in known))
    there.sort(key=lambda pair: _PRECISIONS.index(pair[1].precision))
    for _, group in itertools.groupby(there, key=lambda pair: pair[1].precision):
        yield [name for name, _ in group]


def _try(project: Project, workflow: str, preset: str, on_event: Callable[[dict[str, Any]], None]) -> Trial:
    try:
        *_, result = run_workflows(project, workflow, preset=preset, on_event=on_event)
    except (Interrupted, EnvironmentFault):
        raise
    except ScaffolderError as error:
        return Trial(preset, None, [], error.message)
    models = {**evaluation.compared_with(project), preset: find_artefact(project, str(result.output))}
    compared = evaluation.evaluate(project, models, on_event=on_event)
    scores = {score.name: score for score in compared.scores}
    return Trial(preset, scores[preset], evaluation.judge(project.manifest.gates.limits(), scores[preset], scores))


def _record(project: Project, workflow: str, preset: str) -> None:
    """Make a preset the workflow's configuration, and leave everything else in the manifest as it is."""
    import tomlkit

    path = project.root / MANIFEST
    manifest = tomlkit.parse(path.read_text(encoding="utf-8"))
    section: Any = manifest["workflows"][workflow]
    folder, _, _ = str(section["config"]).rpartition("/")
    section["config"] = f"{folder}/{preset}.json"
    write_atomically(path, tomlkit.dumps(manifest))


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial that fails the fewest gates."""
    built = [trial for trial in trials if trial.score is not None]
    return min(built, key=lambda trial: sum(not gate.passed for gate in trial.gates), default=None)
