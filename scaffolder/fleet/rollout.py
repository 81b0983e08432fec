"""Updates every project of a fleet on a branch of its own, in waves."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from scaffolder import process, updater
from scaffolder.content import write_atomically
from scaffolder.fleet import publish
from scaffolder.fleet.pool import spread
from scaffolder.fleet.survey import GOOD, Row, died, guarded, prepare, row_of
from scaffolder.merging import Choices
from scaffolder.templating.history import cache_folder
from scaffolder.updater.branch import branch_name, set_branch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from scaffolder.fleet.members import Member


@dataclass(frozen=True, slots=True)
class Plan:
    """How a fleet is updated.

    Attributes:
        to: Version to go to; the newest release where None.
        template: Another template than the recorded ones.
        choices: How conflicts are settled.
        run: Command that must succeed in each result before it counts.
        push: Push the branch.
        request: Open a pull request.
        direct: Commit to the current branch instead of a new one.
        first: Size of the first wave; 0 for no waves.
        wave: Size of each further wave; 0 for all that remain.
        max_failures: Failures after which no further wave starts; None for no limit.
        resume: Leave out what an earlier call finished.
        jobs: Processes at a time; 0 for one a processor.
    """

    to: str | None = None
    template: str | None = None
    choices: Choices | None = None
    run: str | None = None
    push: bool = False
    request: bool = False
    direct: bool = False
    first: int = 0
    wave: int = 0
    max_failures: int | None = None
    resume: bool = False
    jobs: int = 0


def roll_out(members: Sequence[Member], plan: Plan) -> Iterator[Row]:
    """Update projects and yield a row each, as they come; those that no wave reached come last.

    Raises:
        Interrupted: The user stopped it; every project is updated or as it was.
    """
    ledger = _Ledger(members, plan)
    finished = ledger.read() if plan.resume else {}
    yield from (row for row in finished.values())
    open_members = [member for member in members if str(member.folder) not in finished]
    ready, failed = prepare(open_members, template=plan.template, jobs=plan.jobs)
    yield from failed
    failures = len(failed)
    work = functools.partial(_update, plan=plan)
    jobs = plan.jobs or process.processor_count()
    for wave in _waves(ready, plan):
        if plan.max_failures is not None and failures > plan.max_failures:
            yield from (Row(member.name, str(member.folder), "waiting") for member in wave)
            continue
        for row in spread(work, wave, jobs=jobs, lost=died):
            failures += row.state == "failed"
            ledger.add(row)
            yield row


def _waves(members: list[Member], plan: Plan) -> Iterator[list[Member]]:
    start = 0
    size = plan.first or plan.wave or len(members)
    while start < len(members):
        yield members[start : start + size]
        start += size
        size = plan.wave or len(members)


def _update(member: Member, *, plan: Plan) -> Row:
    return guarded(member, lambda: _direct(member, plan) if plan.direct else _branch(member, plan))


def _direct(member: Member, plan: Plan) -> Row:
    done = updater.update(member.folder, to=plan.to, template=plan.template, choices=plan.choices, commit=True)
    state = "conflict" if done.open else "updated" if done.done else "up to date"
    return Row(
        member.name,
        str(member.folder),
        state,
        version=done.old,
        newest=done.new,
        changes=len(done.changes),
        conflicts=done.open,
        commit=done.commit,
    )


def _branch(member: Member, plan: Plan) -> Row:
    subject = updater.open_subject(member.folder, template=plan.template, committed=True)
    updater.recover(subject.repository)
    history = updater.history_of(subject, refresh=False)
    with updater.trial_of(subject, history, to=plan.to, choices=plan.choices, committed=True) as trial:
        row = row_of(member, trial)
        if row.state == "conflict" or not trial.changes():
            return row
        proposal = updater.propose(trial)
    publish.refuse_markers(subject.repository, proposal)
    if plan.run:
        publish.run_in_result(subject, proposal, plan.run)
    branch = branch_name(row.newest)
    if member.address:
        publish.forget_branch(subject.repository, branch)
    made = set_branch(subject.repository, branch, proposal.commit)
    row = replace(row, state="proposed" if made else "already proposed", branch=branch, commit=proposal.commit)
    return publish.publish(row, subject, proposal, push=plan.push, request=plan.request, made=made)


class _Ledger:
    """What earlier calls finished, so that a later one can leave it out."""

    def __init__(self, members: Sequence[Member], plan: Plan) -> None:
        places = sorted(str(member.folder) for member in members)
        key = json.dumps([places, plan.to, plan.template, plan.push, plan.request])
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        self._path: Path = cache_folder() / "rollouts" / f"{name}.json"
        self._rows: dict[str, dict[str, object]] = {}

    def read(self) -> dict[str, Row]:
        """Return the rows of projects that need no more."""
        try:
            self._rows = json.loads(self._path.read_text(encoding="utf-8"))
            return {folder: Row(**found) for folder, found in self._rows.items()}  # type: ignore[arg-type]
        except (OSError, ValueError, TypeError):
            return {}

    def add(self, row: Row) -> None:
        """Keep a row that is finished."""
        if row.state not in GOOD:
            return
        self._rows[row.folder] = {**asdict(row), "conflicts": [], "notes": []}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, json.dumps(self._rows))
