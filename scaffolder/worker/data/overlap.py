"""What the comparison of rows means for files: repeats within one, and what two share."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .findings import Findings
    from .similar import Links

# Places told of one kind; the rest is counted.
_TOLD = 10


class Places:
    """Files whose rows were compared, in order: their findings, and the line of each row."""

    def __init__(self) -> None:
        self.findings: list[Findings] = []
        self._first: list[int] = []
        self._lines: list[Sequence[int]] = []

    def begin(self, findings: Findings, first: int, lines: Sequence[int]) -> None:
        """Add a file whose rows are numbered from `first`; `lines` may still grow."""
        self.findings.append(findings)
        self._first.append(first)
        self._lines.append(lines)

    def file(self, row: int) -> int:
        """Return the index of a row's file."""
        return bisect_right(self._first, row) - 1

    def files(self, rows: Any) -> Any:
        """Return the indices of rows' files."""
        return np.searchsorted(np.array(self._first), rows, side="right") - 1

    def line(self, row: int) -> int:
        """Return a row's line."""
        file = self.file(row)
        return self._lines[file][row - self._first[file]]


def tell(places: Places, links: Links) -> None:
    """Add findings of repeats to the files of the later rows."""
    exact = np.ones(len(links.same))
    _tell_pairs(places, links.same, exact, "duplicate", "in-both", "the same as")
    near, similarity = _best(links.near, links.similarity)
    _tell_pairs(places, near, similarity, "near-duplicate", "near-in-both", "nearly the same as")
    known = np.union1d(links.same[:, 1], near[:, 1])
    asked = links.asked[~np.isin(links.asked[:, 1], known)]
    asked = asked[places.files(asked[:, 0]) != places.files(asked[:, 1])]
    _tell_pairs(places, asked, np.ones(len(asked)), "", "prompt-in-both", "the same question as")


def _best(pairs: Any, similarity: Any) -> tuple[Any, Any]:
    """Keep, of each later row, the pair that is most alike."""
    order = np.lexsort((pairs[:, 0], -similarity, pairs[:, 1]))
    pairs, similarity = pairs[order], similarity[order]
    first = np.ones(len(pairs), bool)
    first[1:] = pairs[1:, 1] != pairs[:-1, 1]
    return pairs[first], similarity[first]


def _tell_pairs(places: Places, pairs: Any, similarity: Any, within: str, across: str, words: str) -> None:
    files = places.files(pairs)
    for index, findings in enumerate(places.findings):
        here = files[:, 1] == index
        for kind, chosen in ((within, here & (files[:, 0] == index)), (across, here & (files[:, 0] != index))):
            rows, alike = pairs[chosen], similarity[chosen]
            order = np.argsort(rows[:, 1], kind="stable")[:_TOLD]
            for (earlier, later), share in zip(rows[order].tolist(), alike[order].tolist(), strict=True):
                other = places.findings[places.file(earlier)].file
                where = f"line {places.line(earlier)}" if kind == within else f"{other}:{places.line(earlier)}"
                percent = "" if share == 1 or words != "nearly the same as" else f" ({100 * share:.0f} % alike)"
                findings.add(kind, f"{words} {where}{percent}", places.line(later))
            if len(rows) > _TOLD:
                findings.add(kind, "", count=len(rows) - _TOLD)
