"""Figures of answers against what was expected."""

from __future__ import annotations

import importlib.util
import inspect
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .explain import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def score(names: Sequence[str], answers: Sequence[str], expected: Sequence[str]) -> dict[str, float]:
    """Return each metric's mean over the answers, between 0 and 1 for those named here.

    `exact_match` and `f1` compare words as SQuAD does, without articles, punctuation and case; `rouge_l` is the
    F measure over the longest common subsequence of words (all of them torchmetrics'). `FILE.py:FUNCTION` is the
    user's own: called with an answer and what was expected, it returns a number.

    Raises:
        TaskError: The user's metric cannot be loaded or fails.
    """
    found = {}
    for name in names:
        own = ".py:" in name
        found[name] = round(_own(name, answers, expected) if own else _BUILT_IN[name](answers, expected), 4)
    return found


def _squad(answers: Sequence[str], expected: Sequence[str]) -> Any:
    from torchmetrics.functional.text import squad

    return squad(
        [{"id": str(i), "prediction_text": text} for i, text in enumerate(answers)],
        [{"id": str(i), "answers": {"answer_start": [0], "text": [text]}} for i, text in enumerate(expected)],
    )


def _exact_match(answers: Sequence[str], expected: Sequence[str]) -> float:
    return float(_squad(answers, expected)["exact_match"]) / 100


def _f1(answers: Sequence[str], expected: Sequence[str]) -> float:
    return float(_squad(answers, expected)["f1"]) / 100


def _rouge_l(answers: Sequence[str], expected: Sequence[str]) -> float:
    from torchmetrics.functional.text import rouge_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(rouge_score(list(answers), list(expected), rouge_keys="rougeL")["rougeL_fmeasure"])


_BUILT_IN: dict[str, Callable[[Sequence[str], Sequence[str]], float]] = {
    "exact_match": _exact_match,
    "f1": _f1,
    "rouge_l": _rouge_l,
}


def _own(name: str, answers: Sequence[str], expected: Sequence[str]) -> float:
    function = load_function(name)
    try:
        values = [float(function(*pair)) for pair in zip(answers, expected, strict=True)]
    except (Exception, SystemExit) as error:
        raise TaskError(
            f"the metric {name} failed: {type(error).__name__}: {error}", "the log has the whole trace"
        ) from error
    wrong = next((value for value in values if not math.isfinite(value)), None)
    if wrong is not None:
        raise TaskError(f"the metric {name} returned {wrong}, which is no finite number")
    return sum(values) / len(values)


def load_function(name: str) -> Callable[[str, str], float]:
    """Return the function that `FILE.py:FUNCTION` names.

    Raises:
        TaskError: There is no such file or function, or it does not take two arguments.
    """
    path, _, function = name.partition(":")
    if not Path(path).is_file():
        raise TaskError(f"the metric {name} has no file {path}")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        found: Callable[[str, str], float] = getattr(module, function)
        inspect.signature(found).bind("answer", "expected")
    except AttributeError as error:
        raise TaskError(f"{path} has no function `{function}`") from error
    except TypeError as error:
        raise TaskError(f"{name} takes an answer and what was expected: {error}") from error
    except (Exception, SystemExit) as error:
        raise TaskError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return found
