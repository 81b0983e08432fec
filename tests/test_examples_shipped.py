"""The sample data: what the README promises of it."""

import json
import re

import pytest

from tests.conftest import REPOSITORY

STYLE = re.compile(r"Pick: [^\n]+\.\nReason: [^\n]+\.\nTip: [^\n]+\.")


def rows(name):
    path = REPOSITORY / "template" / "datasets" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("name", "least"), [("train", 300), ("eval", 60)])
def test_examples_are_many_and_of_one_style(name, least):
    found = rows(name)
    assert len(found) >= least
    for row in found:
        assert row.keys() == {"prompt", "response"}
        assert STYLE.fullmatch(row["response"]), row["response"]


def test_no_example_is_in_both():
    train, evaluation = rows("train"), rows("eval")
    for key in ("prompt", "response"):
        both = [row[key].casefold() for row in (*train, *evaluation)]
        assert len(set(both)) == len(both)
    picks = [{row["response"].split("\n")[0].casefold() for row in part} for part in (train, evaluation)]
    assert picks[0].isdisjoint(picks[1])
