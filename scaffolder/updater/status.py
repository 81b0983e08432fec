"""What a project's owner should know before an update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaffolder.merging import Conflict
from scaffolder.updater.changelog import Notes, notes
from scaffolder.updater.trial import Change, Trial

if TYPE_CHECKING:
    from scaffolder.templating import History, Version


@dataclass(frozen=True, slots=True)
class Status:
    """A project against its template.

    Attributes:
        root: The project.
        source: The template, as recorded.
        version: The version it is on.
        newest: The version an update would bring it to.
        behind: Releases after its own, oldest first.
        commits: Subjects of the template's commits between, newest first.
        notes: What the changelog says of these releases.
        new_answers: Questions that the project has not answered, with the answer they would get.
        changed_answers: Recorded answers that the new version would change or drop, with what was and what will be.
        new_meanings: Answered questions that are now asked otherwise, with both wordings.
        user_changes: What was changed of what the template had made.
        changes: What the update would change.
        conflicts: Where the two do not go together.
        upgraded: Olive configurations that get today's keys.
        stale: Why newer versions may exist, or empty.
    """

    root: str
    source: str
    version: str
    newest: str
    behind: tuple[str, ...]
    commits: tuple[str, ...]
    notes: tuple[Notes, ...]
    new_answers: dict[str, object]
    changed_answers: dict[str, tuple[object, object]]
    new_meanings: dict[str, tuple[str, str]]
    user_changes: tuple[Change, ...]
    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]
    upgraded: tuple[str, ...]
    stale: str

    @property
    def up_to_date(self) -> bool:
        """Whether there is nothing newer."""
        return self.version == self.newest


def status(trial: Trial) -> Status:
    """Return what a trial of an update shows."""
    old, new = trial.before, trial.after
    behind = _between(trial.history, trial.old, trial.new)
    changed = {
        name: (answer, new.answers.get(name)) for name, answer in old.answers.items() if new.answers.get(name) != answer
    }
    return Status(
        root=trial.subject.root.as_posix(),
        source=trial.history.origin.recorded or trial.history.origin.place,
        version=trial.old.name,
        newest=trial.new.name,
        behind=tuple(behind),
        commits=tuple(trial.history.commits(trial.old, trial.new)),
        notes=notes(trial.history.changelog(trial.new), behind),
        new_answers={name: answer for name, answer in new.answers.items() if name not in old.answers},
        changed_answers=changed,
        new_meanings=_new_meanings(trial),
        user_changes=tuple(trial.user_changes()),
        changes=tuple(trial.changes()),
        conflicts=trial.merge.conflicts,
        upgraded=trial.upgraded,
        stale=trial.history.stale,
    )


def _between(history: History, old: Version, new: Version) -> list[str]:
    tags = history.tags()
    start = tags.index(old.name) + 1 if old.name in tags else 0
    stop = tags.index(new.name) + 1 if new.name in tags else len(tags)
    return tags[start:stop] if old.name in tags else [tag for tag in tags[:stop] if tag == new.name]


def _new_meanings(trial: Trial) -> dict[str, tuple[str, str]]:
    found = {}
    for name, question in trial.before.questions.items():
        asked = trial.after.questions.get(name)
        if name in trial.before.answers and asked and (asked.help, asked.type) != (question.help, question.type):
            found[name] = (f"{question.help} ({question.type})", f"{asked.help} ({asked.type})")
    return found
