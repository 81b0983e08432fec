"""The only printer: data goes to standard output, talk to standard error."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder.errors import ScaffolderError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class Output:
    """Where a command's results and talk go.

    Attributes:
        json: Results are one JSON document on standard output.
        quiet: No talk.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self._talk: Console | None = None

    @property
    def talk(self) -> Console:
        """The console on standard error."""
        from rich.console import Console

        if self._talk is None:
            self._talk = Console(stderr=True, quiet=self.quiet, highlight=False)
        return self._talk

    @property
    def live(self) -> bool:
        """Whether a view that redraws itself can be shown."""
        return not self.quiet and sys.stderr.isatty() and self.talk.is_terminal

    @property
    def pause(self) -> float:
        """Seconds between pieces of a result that comes bit by bit: as often as eyes follow, where they do."""
        return 0.05 if sys.stdout.isatty() and not self.json else 0.5

    def say(self, text: str = "") -> None:
        """Tell what is going on; not part of the result."""
        if self._talk is not None:  # there may be a live view, which has to move out of the way
            self._talk.print(text, markup=False, soft_wrap=True)
        elif not self.quiet:
            # The same without loading rich, which takes longer than a run that finds nothing to do.
            print(text, file=sys.stderr)  # noqa: T201 - the only printer

    def data(self, value: Any, text: RenderableType | None = None, *, wide: bool = False) -> None:
        """Print a result: as JSON where that was asked for, else as `text`; `wide` lines are left whole."""
        if self.json:
            sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=_plain) + "\n")
        elif isinstance(text, str):
            sys.stdout.write(text + "\n")
        elif text is not None:
            from rich.console import Console

            Console(highlight=False).print(text, soft_wrap=wide)
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """Print one line of a result that has many, as soon as it is there."""
        self.stream(text + "\n")

    def stream(self, text: str) -> None:
        """Print a piece of a result as it comes."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def ask(self, prompt: str) -> str:
        """Read a line that the user writes, with the prompt where there is a user.

        Raises:
            EOFError: The input ended.
        """
        if not sys.stdin.isatty():
            line = sys.stdin.readline()
            if not line:
                raise EOFError
            return line
        with contextlib.suppress(ImportError):  # Windows
            import readline  # noqa: F401 (gives the line its keys and history)
        return input("" if self.quiet else prompt)

    def error(self, error: ScaffolderError) -> None:
        """Print an error, and the next step."""
        from rich.console import Console
        from rich.text import Text

        console = Console(stderr=True, highlight=False)
        lines = error.message.splitlines() or [type(error).__name__]
        console.print(Text("error: ", style="bold red") + Text(lines[0], style="bold"), soft_wrap=True)
        for line in lines[1:]:
            console.print(Text("       " + line), soft_wrap=True)
        if error.hint:
            console.print()
            console.print(Text("hint: ", style="bold cyan") + Text(error.hint), soft_wrap=True)


def _plain(value: Any) -> Any:
    import dataclasses  # loads more than a run needs that finds nothing to do

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"cannot print {type(value).__name__}")


def size_text(size: float) -> str:
    """Return a size in bytes as people say it, in decimal units."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.2f} GB" if size < 100 else f"{size:.0f} GB"


def time_text(seconds: float) -> str:
    """Return a duration as people say it."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
