"""What two sides cannot agree on, and how the user wants it settled."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from scaffolder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Mode(StrEnum):
    """What becomes of a conflict.

    `stop` touches nothing; `inline` writes both sides between markers; `rej` keeps the user's side and puts the
    template's into a `.rej` file; `ours` is the user's side, `theirs` the template's.
    """

    STOP = "stop"
    INLINE = "inline"
    REJ = "rej"
    OURS = "ours"
    THEIRS = "theirs"

    @property
    def settles(self) -> bool:
        """Whether nothing is left for the user to do."""
        return self in (Mode.OURS, Mode.THEIRS)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A file that both sides changed in ways that do not go together.

    Attributes:
        path: The file.
        kind: `content`, `keys`, `binary`, `deleted by the template`, `added by both`, or git's own word.
        hunks: Places in it; 1 where the file is one whole.
        keys: Keys that both sides changed, where it is JSON or TOML.
        mode: How it was settled.
    """

    path: str
    kind: str
    hunks: int = 1
    keys: tuple[str, ...] = ()
    mode: Mode = Mode.STOP


@dataclass(frozen=True, slots=True)
class Choices:
    """How conflicts are to be settled.

    Attributes:
        everywhere: For files without a choice of their own.
        by_path: Pattern and mode; the first that matches counts.
    """

    everywhere: Mode = Mode.STOP
    by_path: tuple[tuple[str, Mode], ...] = field(default=())

    @property
    def need_hands(self) -> bool:
        """Whether one of them leaves its conflicts for the user to settle in the files."""
        return any(mode in (Mode.INLINE, Mode.REJ) for mode in (self.everywhere, *(mode for _, mode in self.by_path)))

    def of(self, path: str) -> Mode:
        """Return the choice for a file."""
        return next((mode for pattern, mode in self.by_path if fnmatchcase(path, pattern)), self.everywhere)


def read_choices(texts: Sequence[str]) -> Choices:
    """Read `MODE` and `PATH=MODE` texts.

    Raises:
        UsageError: A mode is not known.
    """
    everywhere, by_path = Mode.STOP, []
    for text in texts:
        path, sign, word = text.rpartition("=")
        try:
            mode = Mode(word)
        except ValueError:
            known = ", ".join(Mode)
            raise UsageError(f"`--conflict {text}`: `{word}` is none of {known}") from None
        if sign:
            by_path.append((path, mode))
        else:
            everywhere = mode
    return Choices(everywhere, tuple(by_path))
