"""Split examples into training and evaluation, so that nothing of one side is known from the other.

Rows are placed in their order. A row goes where its group, its equals, its nearly equals and those with the same
question are; a row that belongs to both sides is left out. Others are placed by a hash of the seed and their
content (or group), corrected where the share of a stratum would be off by more than one row. A row's place depends
on the rows before it alone: appending never moves what was placed.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..explain import TaskError
from .check import comparable
from .findings import ERROR, Findings
from .judge import Columns, Judge, Problem
from .sensitive import surrogates
from .tables import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..channel import Channel
    from .judge import Example
    from .similar import Links

TRAIN, EVAL, LEFT_OUT = 0, 1, 2
# Lower than what is told as nearly the same: an estimate that is off must not let a pair through.
_KEPT_TOGETHER = 0.6
_LARGEST = 2**64


@dataclass(slots=True)
class Rows:
    """What decides about rows: a hash of each, its group's, and its stratum."""

    hashes: array[int] = field(default_factory=lambda: array("Q"))
    groups: array[int] = field(default_factory=lambda: array("Q"))
    strata: array[int] = field(default_factory=lambda: array("Q"))


def split_file(job: dict[str, Any], channel: Channel) -> None:
    """Split `job["files"]` into `job["train"]` and `job["eval"]`; reports once as `split`.

    The job: `files` (with their columns), `share` of evaluation, `seed`, `by` (a column whose shares are kept),
    `group` (a column whose equal values stay together), `train`, `eval`, `left_out` and `temporary`.

    Raises:
        TaskError: Rows are no examples, or lack a column.
    """
    from .similar import Similar

    rows, findings = Rows(), [Findings(spec["path"]) for spec in job["files"]]
    with Similar(Path(job["temporary"])) as similar:
        for spec, found in zip(job["files"], findings, strict=True):
            for examples in _blocks(spec, found):
                similar.add(*comparable([example for _, _, example in examples]))
                for line, row, example in examples:
                    _note(rows, row, example, line, job, found)
        _refuse(findings)
        links = similar.links(_KEPT_TOGETHER)
    sides = assign(rows, links, share=job["share"], seed=job["seed"])
    counts = Counter(sides)
    if not counts[EVAL] or not counts[TRAIN]:
        side = "evaluation" if counts[TRAIN] else "training"
        raise TaskError(f"nothing is left for {side}: too few rows, or all belong together", "another --eval or --seed")
    _write(job, sides)
    channel.emit(
        "split", train=counts[TRAIN], eval=counts[EVAL], left_out=counts[LEFT_OUT], strata=_strata(rows, sides)
    )


_Row = tuple[int, dict[str, Any], "Example"]


def _blocks(spec: dict[str, Any], findings: Findings) -> Iterator[list[_Row]]:
    judge = Judge(Columns.of(spec))
    for block in read_rows(Path(spec["path"]), findings):
        found: list[_Row] = []
        for row, line in zip(block.rows, block.lines, strict=True):
            problems: list[Problem] = []
            example = judge.example(row, problems)
            for kind, message in problems:
                findings.add(kind, message, line)
            if example is None:
                continue
            if surrogates(example.texts) is not None:
                findings.add("encoding", "half a character (a lone surrogate)", line)
                continue
            found.append((line, row, example))
        if found:
            yield found


def _note(
    rows: Rows, row: dict[str, Any], example: Example, line: int, job: dict[str, Any], findings: Findings
) -> None:
    rows.hashes.append(number("\n".join(example.texts).encode()))
    for column, values in ((job.get("group"), rows.groups), (job.get("by"), rows.strata)):
        if column is None:
            continue
        if column not in row:
            findings.add("missing-column", f"missing column `{column}`", line)
        values.append(number(json.dumps(row.get(column), sort_keys=True).encode()))


def _refuse(findings: Sequence[Findings]) -> None:
    """Raise what keeps rows from being split, all at once."""
    errors = [
        f"{found.file}:{place['line'] or 1}: {place['message']}"
        for found in findings
        for finding in found.listed()
        if finding["severity"] == ERROR
        for place in finding["places"]
    ]
    if errors:
        raise TaskError("\n".join(errors), "`scaffolder data check FILE` tells more")


def _strata(rows: Rows, sides: bytearray) -> list[list[int]]:
    """Return [training rows, evaluation rows] of each stratum, largest first."""
    counts = Counter(zip(rows.strata, sides, strict=False))
    strata = {stratum for stratum, _ in counts}
    return sorted(([counts[s, TRAIN], counts[s, EVAL]] for s in strata), reverse=True)


def _write(job: dict[str, Any], sides: bytearray) -> None:
    """Write each row to its side's file; a file without rows is not made."""
    names = {TRAIN: job["train"], EVAL: job["eval"], LEFT_OUT: job["left_out"]}
    row_number = 0
    with ExitStack() as stack:
        streams = {
            side: stack.enter_context(Path(names[side]).open("w", encoding="utf-8", newline="\n"))
            for side in set(sides)
        }
        for spec in job["files"]:
            for examples in _blocks(spec, Findings(spec["path"])):
                for _, row, _ in examples:
                    streams[sides[row_number]].write(json.dumps(row, ensure_ascii=False) + "\n")
                    row_number += 1


def assign(rows: Rows, links: Links, *, share: float, seed: int) -> bytearray:
    """Return the side of each row.

    Args:
        rows: What decides about them.
        links: Which belong together.
        share: Of rows for evaluation, between 0 and 1.
        seed: Another one gives another split.
    """
    near: dict[int, list[int]] = {}
    for earlier, later in links.near.tolist():
        near.setdefault(later, []).append(earlier)
    same = dict(links.same[:, ::-1].tolist())
    asked = dict(links.asked[:, ::-1].tolist())
    bound: dict[tuple[str, int], int] = {}
    placed: Counter[tuple[int, int]] = Counter()
    sides = bytearray(len(rows.hashes))
    for row in range(len(sides)):
        keys = [("same", same.get(row, row)), ("asked", asked.get(row, row))]
        if rows.groups:
            keys.append(("group", rows.groups[row]))
        found = {bound[key] for key in keys if key in bound} | {sides[other] for other in near.get(row, ())}
        found.discard(LEFT_OUT)
        stratum = rows.strata[row] if rows.strata else 0
        if len(found) == 2 or (row in same and sides[same[row]] == LEFT_OUT):
            sides[row] = LEFT_OUT
            continue
        content = rows.groups[row] if rows.groups else rows.hashes[row]
        sides[row] = found.pop() if found else _drawn(content, stratum, placed, share, seed)
        placed[stratum, sides[row]] += 1
        bound.update(dict.fromkeys(keys, sides[row]))
    return sides


def _drawn(content: int, stratum: int, placed: Counter[tuple[int, int]], share: float, seed: int) -> int:
    taken = placed[stratum, EVAL]
    wanted = share * (placed[stratum, TRAIN] + taken + 1)
    if taken >= wanted + 1:
        return TRAIN
    if taken <= wanted - 1:
        return EVAL
    return EVAL if number(f"{seed}:{content}".encode()) < share * _LARGEST else TRAIN


def number(content: bytes) -> int:
    """Return 64 bits that stand for a content."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
