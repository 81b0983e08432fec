"""Figures of answers, by hand where they can be counted by hand."""

import pytest

from scaffolder.worker.explain import TaskError
from scaffolder.worker.metrics import score

pytestmark = pytest.mark.olive


def test_known_answers_have_known_figures():
    answers, expected = ["The cat sat.", "a dog"], ["the cat sat", "one dog ran"]
    found = score(["exact_match", "f1", "rouge_l"], answers, expected)
    # Articles, case and punctuation do not count: all of the first; of the second one word of one and of three.
    assert found["exact_match"] == 0.5
    assert found["f1"] == pytest.approx((1 + 0.5) / 2, abs=1e-4)
    # Here articles count: one of two words and of three.
    assert found["rouge_l"] == pytest.approx((1 + 0.4) / 2, abs=1e-4)


def test_own_metric_is_called_for_every_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def same(answer, expected):\n    return answer == expected\n")
    assert score(["mine.py:same"], ["a", "b", "c", "d"], ["a", "b", "c", "x"]) == {"mine.py:same": 0.75}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("def other(answer, expected): return 1", "has no function `score`"),
        ("def score(answer): return 1", "takes an answer and what was expected"),
        ("def score(answer, expected): return 1 / 0", "failed: ZeroDivisionError"),
        ("def score(answer, expected): return float('nan')", "returned nan, which is no finite number"),
        ("def score(", "cannot be loaded: SyntaxError"),
        ("raise SystemExit(3)", "cannot be loaded: SystemExit"),
        (None, "has no file mine.py"),
    ],
)
def test_a_metric_that_does_not_work_is_explained(tmp_path, monkeypatch, script, message):
    monkeypatch.chdir(tmp_path)
    if script is not None:
        (tmp_path / "mine.py").write_text(script)
    with pytest.raises(TaskError, match=message):
        score(["mine.py:score"], ["a"], ["b"])
