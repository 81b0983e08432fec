"""A split never leaks, and stays as it is when rows are added."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaffolder.worker.data.check import comparable
from scaffolder.worker.data.judge import Example
from scaffolder.worker.data.similar import Similar
from scaffolder.worker.data.split import EVAL, LEFT_OUT, TRAIN, Rows, assign, number
from tests.data.test_similar import jaccard

LETTERS = "abcdefghijklmnoprstuvw "


@st.composite
def examples(draw):
    """Rows of which many are copies of others, a little changed, with a group and a stratum each."""
    bases = draw(st.lists(st.text(LETTERS, min_size=70, max_size=120), min_size=1, max_size=6, unique=True))
    count = draw(st.integers(2, 40))
    found = []
    for _ in range(count):
        base = draw(st.sampled_from(bases))
        at, change = draw(st.integers(0, len(base) - 1)), draw(st.sampled_from(["none", "case", "word", "new", "part"]))
        if change == "case":
            base = base.upper() + "!"
        elif change == "word":
            base = base[:at] + draw(st.text(LETTERS, max_size=4)) + base[at + 2 :]
        elif change == "new":
            base = draw(st.text(LETTERS, min_size=1, max_size=90))
        elif change == "part":
            base = base[:at] + draw(st.text(LETTERS, min_size=10, max_size=40))
        question = draw(st.sampled_from(["Why?", "Who is it?"])) + draw(st.text(LETTERS, max_size=3))
        found.append((question, base, draw(st.integers(0, 12)), draw(st.integers(0, 2))))
    return found


def sides_of(found, *, grouped, share, seed):
    rows = Rows()
    for question, answer, group, stratum in found:
        rows.hashes.append(number(f"{question}\n{answer}".encode()))
        rows.strata.append(stratum)
        if grouped:
            rows.groups.append(group)
    conversations = [Example(("user", "assistant"), (question, answer)) for question, answer, *_ in found]
    with tempfile.TemporaryDirectory() as folder, Similar(Path(folder)) as similar:
        similar.add(*comparable(conversations))
        return assign(rows, similar.links(0.6), share=share, seed=seed)


def plain(text):
    return "".join(sign for sign in text.lower() if sign.isalnum())


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(examples(), st.booleans(), st.sampled_from([0.1, 0.3, 0.5]), st.integers(0, 3))
def test_split_never_leaks_a_group_a_question_or_a_near_duplicate(found, grouped, share, seed):
    sides = sides_of(found, grouped=grouped, share=share, seed=seed)
    train = [row for row, side in zip(found, sides, strict=True) if side == TRAIN]
    evaluation = [row for row, side in zip(found, sides, strict=True) if side == EVAL]
    if grouped:
        assert not {row[2] for row in train} & {row[2] for row in evaluation}
    assert not {plain(row[0]) for row in train} & {plain(row[0]) for row in evaluation}
    for question, answer, *_ in evaluation:
        for other_question, other, *_ in train:
            one, two = question + answer, other_question + other
            assert plain(one) != plain(two)
            if min(len(plain(one)), len(plain(two))) >= 48:
                assert jaccard(one, two) < 0.85


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(examples(), st.booleans(), st.data())
def test_split_of_the_first_rows_stays_when_rows_are_appended(found, grouped, data):
    first = data.draw(st.integers(1, len(found)))
    before = sides_of(found[:first], grouped=grouped, share=0.3, seed=1)
    assert sides_of(found, grouped=grouped, share=0.3, seed=1)[:first] == before


def test_shares_hold_in_every_stratum():
    found = [(f"Question {number(str(i).encode())}", f"{number(b'%d' % i):x}" * 4, i, i % 3) for i in range(900)]
    sides = sides_of(found, grouped=False, share=0.1, seed=7)
    assert LEFT_OUT not in sides
    for stratum in range(3):
        assert abs(sum(side == EVAL for side in sides[stratum::3]) - 30) <= 2


def test_seeds_differ():
    found = [(f"Question {number(str(i).encode())}", f"{number(b'%d' % i):x}" * 4, i, 0) for i in range(100)]
    splits = {bytes(sides_of(found, grouped=False, share=0.3, seed=seed)) for seed in range(4)}
    assert len(splits) == 4
