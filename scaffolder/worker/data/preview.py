"""Rows as the training gets them: through the configuration's own data component, one at a time."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .check import load_tokenizer
from .findings import Findings
from .tables import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..channel import Channel

_IGNORED = -100  # the label that the loss leaves out


def preview_rows(job: dict[str, Any], channel: Channel) -> None:
    """Report the tokens of rows, one event `previewed` each, with which of them are learnt.

    The job: `path`, `skip`, `count`, `model`, `data`, a data configuration of Olive, and `scripts`, which it runs
    before the first pass.
    """
    from datasets import Dataset
    from olive.common.import_lib import import_user_module
    from olive.data.config import DataConfig

    for script in job["scripts"]:
        import_user_module(script)
    findings = Findings(job["path"])
    rows = itertools.islice(_rows(job["path"], findings), job["skip"], job["skip"] + job["count"])
    tokenizer = load_tokenizer(job["model"])
    config = DataConfig(**job["data"])
    config.pre_process_params["model_name"] = job["model"]
    container = config.to_data_container()
    for line, row in rows:
        try:
            data = container.pre_process(Dataset.from_list([row]))
            samples = [_sample(data[index]) for index in range(len(data))]
        except Exception as error:  # whatever a component raises about this row
            channel.emit("previewed", line=line, error=(str(error).splitlines() or [type(error).__name__])[0])
            continue
        for ids, learnt in samples:
            channel.emit("previewed", line=line, **_pieces(tokenizer, ids, learnt))


def _rows(path: str, findings: Findings) -> Iterator[tuple[int, dict[str, Any]]]:
    for block in read_rows(Path(path), findings):
        yield from zip(block.lines, block.rows, strict=True)


def _sample(item: Any) -> tuple[list[int], list[bool]]:
    features, labels = item
    attended = features["attention_mask"].tolist() if "attention_mask" in features else [1] * len(labels)
    ids, marks = features["input_ids"].tolist(), [label != _IGNORED for label in labels.tolist()]
    kept = [index for index, seen in enumerate(attended) if seen]
    return [ids[index] for index in kept], [marks[index] for index in kept]


def _pieces(tokenizer: Any, ids: list[int], learnt: list[bool]) -> dict[str, Any]:
    """Return runs of tokens of one kind with their text, and each token's own text."""
    runs = []
    for kind, run in itertools.groupby(zip(ids, learnt, strict=True), key=lambda pair: pair[1]):
        members = [token for token, _ in run]
        runs.append(
            {
                "learnt": kind,
                "text": tokenizer.decode(members),
                "ids": members,
                "tokens": [tokenizer.decode([token]) for token in members],
            }
        )
    return {"runs": runs, "count": len(ids), "learnt": sum(learnt)}
