"""`scaffolder run --search`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaffolder.cli.output import Output, size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from scaffolder.project import Project
    from scaffolder.search import Trial


def search_exports(project: Project, workflow: str, output: Output, *, dry_run: bool) -> None:
    """Search, show what was tried, and say what was kept; for a dry run, what would be tried.

    Raises:
        GateFailed: None of the exports holds the gates.
    """
    from scaffolder.cli.progress import planned_text, show_progress
    from scaffolder.errors import GateFailed
    from scaffolder.search import best_of, preview, search

    with show_progress(output) as on_event:

        def hear(event: dict[str, Any]) -> None:
            if event["event"] == "model":
                output.say(f"measuring {event['model']}")
            elif "model" not in event:
                on_event(event)

        if dry_run:
            planned = preview(project, workflow, on_event=hear)
            output.data(planned, planned_text(planned))
            return
        trials, winner = search(project, workflow, on_event=hear)
    output.data({"trials": trials, "kept": winner.preset if winner else None}, _table(trials))
    if winner is None:
        nearest = best_of(trials)
        missed = (
            [f"{gate.key} = {gate.limit:g} (it has {gate.value:g})" for gate in nearest.gates if not gate.passed]
            if nearest
            else []
        )
        hint = f"{nearest.preset} comes nearest, but fails {', '.join(missed)}" if nearest else "see the table"
        raise GateFailed("no export holds the gates", hint=hint)
    output.say(f"kept: {winner.preset} is now the configuration of {workflow} in scaffolder.toml")


def _table(trials: Sequence[Trial]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("export", "size", "loss", "write/s", "gates"):
        table.add_column(name, justify="left" if name in ("export", "gates") else "right")
    for trial in trials:
        score = trial.score
        if score is None:
            table.add_row(trial.preset, "", "", "", trial.problem)
            continue
        missed = ", ".join(f"{gate.key} {gate.value:g}" for gate in trial.gates if not gate.passed)
        state = f"fails {missed}" if missed else "holds all"
        table.add_row(trial.preset, size_text(score.size), f"{score.loss:.3f}", f"{score.tokens_per_second:.0f}", state)
    return table
