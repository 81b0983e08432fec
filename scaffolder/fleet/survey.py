"""How every project of a fleet stands."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scaffolder import process, updater
from scaffolder.errors import ScaffolderError
from scaffolder.fleet.members import Member, bring
from scaffolder.fleet.pool import spread
from scaffolder.merging import Conflict
from scaffolder.project import MANIFEST, Project, read_manifest
from scaffolder.records import find_runs
from scaffolder.templating import find_origin, open_history, read_answers
from scaffolder.updater import Notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


GOOD = ("up to date", "behind", "updated", "proposed", "already proposed")


@dataclass(frozen=True, slots=True)
class Row:
    """A project in the table.

    Attributes:
        name: What the table calls it.
        folder: Where it lies.
        state: `up to date`, `behind`, `conflict` or `failed`; after an update also `proposed`, `updated`,
            `already proposed` or `waiting`.
        version: The template's version it is on.
        newest: The version it could be on.
        behind: Releases between.
        user_changes: Files that were changed since the template made them.
        changes: Files that an update changes.
        conflicts: Where the two do not go together.
        last_run: When a run was last verified, ISO 8601; empty where none was.
        notes: What the changelog says of the releases between.
        message: Why it failed, or what else is worth knowing.
        branch: Branch of the update.
        commit: Its commit.
        request: Address of the pull request.
    """

    name: str
    folder: str
    state: str
    version: str = ""
    newest: str = ""
    behind: int = 0
    user_changes: int = 0
    changes: int = 0
    conflicts: tuple[Conflict, ...] = ()
    last_run: str = ""
    notes: tuple[Notes, ...] = ()
    message: str = ""
    branch: str = ""
    commit: str = ""
    request: str = ""


def survey(
    members: Sequence[Member], *, to: str | None = None, template: str | None = None, jobs: int = 0
) -> Iterator[Row]:
    """Yield a row a project, as they come.

    Raises:
        Interrupted: The user stopped it.
    """
    ready, failed = prepare(members, template=template, jobs=jobs)
    yield from failed
    work = functools.partial(look, to=to, template=template)
    yield from spread(work, ready, jobs=jobs or process.processor_count(), lost=died)


def prepare(members: Sequence[Member], *, template: str | None, jobs: int) -> tuple[list[Member], list[Row]]:
    """Bring clones and templates up to date, each once; return the members to go on with, and failed rows."""
    remote = [member for member in members if member.address]
    rows = list(spread(_bring, remote, jobs=jobs or process.processor_count(), lost=died)) if remote else []
    failed = {row.folder for row in rows if row.state == "failed"}
    ready = [member for member in members if str(member.folder) not in failed]
    for source in {found for member in ready if (found := template or _source(member))}:
        try:
            open_history(find_origin(source))
        except ScaffolderError:
            continue  # each project's own row says it
    return ready, [row for row in rows if row.state == "failed"]


def look(member: Member, *, to: str | None, template: str | None) -> Row:
    """Return a project's row; whatever goes wrong is in it."""
    return guarded(member, lambda: _look(member, to, template))


def guarded(member: Member, work: Callable[[], Row]) -> Row:
    """Return what `work` returns, or a row that says what went wrong."""
    try:
        return work()
    except ScaffolderError as error:
        return Row(member.name, str(member.folder), "failed", message=error.message)
    except Exception as error:
        # Whatever is broken in one project must not stop the others.
        return Row(member.name, str(member.folder), "failed", message=f"unexpected {type(error).__name__}: {error}")


def died(member: Member) -> Row:
    """Return the row of a project whose process ended without a word."""
    return Row(member.name, str(member.folder), "failed", message="its process died: out of memory?")


def row_of(member: Member, trial: updater.Trial) -> Row:
    """Return the row that a trial gives."""
    found = updater.status(trial)
    state = "conflict" if trial.merge.open else "up to date" if found.up_to_date else "behind"
    return Row(
        name=member.name,
        folder=str(member.folder),
        state=state,
        version=found.version,
        newest=found.newest,
        behind=len(found.behind) or len(found.commits),
        user_changes=len(found.user_changes),
        changes=len(found.changes),
        conflicts=trial.merge.open,
        last_run=_last_run(member),
        notes=found.notes,
        message=found.stale,
    )


def _look(member: Member, to: str | None, template: str | None) -> Row:
    subject = updater.open_subject(member.folder, template=template, committed=True)
    taken_back = updater.recover(subject.repository)
    history = updater.history_of(subject, refresh=False)
    with updater.trial_of(subject, history, to=to, committed=True) as trial:
        row = row_of(member, trial)
    return replace(row, message="an interrupted update was taken back") if taken_back else row


def _bring(member: Member) -> Row:
    def work() -> Row:
        bring(member)
        return Row(member.name, str(member.folder), "behind")

    return guarded(member, work)


def _source(member: Member) -> str | None:
    try:
        return read_answers(member.folder).source
    except ScaffolderError:
        return None


def _last_run(member: Member) -> str:
    try:
        project = Project(member.folder, read_manifest(member.folder / MANIFEST))
        runs = find_runs(project)
    except (ScaffolderError, OSError):
        return ""
    return runs[-1].started if runs else ""
