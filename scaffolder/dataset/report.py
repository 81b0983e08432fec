"""What a check says: files with their figures, findings with their places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was found; lines count from 1, of tables they are numbers of rows."""

    line: int | None
    column: int | None
    message: str


@dataclass(frozen=True, slots=True)
class Finding:
    """All findings of one kind in one file.

    Attributes:
        file: As the user would write it.
        kind: A word for it, stable across releases.
        severity: Errors keep a run from starting.
        count: How often.
        hint: What mends it.
        places: The first ten.
    """

    file: str
    kind: str
    severity: Literal["error", "warning"]
    count: int
    hint: str
    places: tuple[Place, ...]

    def lines(self) -> list[str]:
        """Return a line for each place, and one for those that are not shown."""
        shown = [f"{self._where(place)}: {place.message}" for place in self.places]
        rest = self.count - len(self.places)
        return [*shown, f"{self.file}: {rest:,} more of this kind ({self.kind})"] if rest > 0 else shown

    def _where(self, place: Place) -> str:
        return ":".join(str(part) for part in (self.file, place.line, place.column) if part is not None)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of rows in tokens, as training sees them.

    Attributes:
        counted_rows: Rows that were counted; of large files a part.
        tokens: Of the counted rows.
        learnt: Tokens with a loss, within `max_seq_len`.
        kept: Tokens within `max_seq_len`.
        cut_rows: Rows beyond `max_seq_len`.
        cut_tokens: Tokens that these lose.
        untrained: Rows whose question alone fills `max_seq_len`.
        longest: Tokens of the longest row.
        longest_line: Its line.
        median: Tokens.
        p95: Tokens that 95 % of the rows do not exceed.
        p99: The same for 99 %.
        histogram: [first length, last length, rows] of each bar.
    """

    counted_rows: int
    tokens: int
    learnt: int
    kept: int
    cut_rows: int
    cut_tokens: int
    untrained: int
    longest: int
    longest_line: int
    median: int
    p95: int
    p99: int
    histogram: list[list[int]]


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file.

    Attributes:
        path: As the user would write it.
        size: Bytes.
        rows: That could be read.
        good: Of these, examples that training can use.
        columns: Number of values by type, by column.
        max_seq_len: Longest sequence of the training that reads it, in tokens.
        every: 1 where all rows were counted in tokens, n where every n-th was.
        lengths: None where the tokenizer is not there.
    """

    path: str
    size: int
    rows: int
    good: int
    columns: dict[str, dict[str, int]]
    max_seq_len: int | None
    every: int
    lengths: Lengths | None


@dataclass(frozen=True, slots=True)
class Report:
    """A whole check.

    Attributes:
        files: In the order asked for.
        findings: Errors first in each file.
        notes: What could not be looked at, and why.
        seconds: That the check took.
        peak_memory: Bytes of the process that checked.
        cached: Whether it was known from before.
    """

    files: tuple[FileReport, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    seconds: float
    peak_memory: int
    cached: bool

    def of(self, severity: str) -> list[Finding]:
        """Return the findings of a severity."""
        return [finding for finding in self.findings if finding.severity == severity]


def read_report(data: dict[str, Any], *, cached: bool) -> Report:
    """Build a report from the worker's event, or from the memory of one."""
    files = tuple(
        FileReport(**{**file, "lengths": Lengths(**file["lengths"]) if file["lengths"] else None})
        for file in data["files"]
    )
    findings = tuple(
        Finding(**{**finding, "places": tuple(Place(**place) for place in finding["places"])})
        for finding in data["findings"]
    )
    return Report(files, findings, tuple(data["notes"]), data["seconds"], data["peak_memory"], cached)
