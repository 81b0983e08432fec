"""Causes and remedies for what Olive and the libraries under it raise."""

from __future__ import annotations

import errno
import re
from pathlib import Path


class TaskError(Exception):
    """A failure of ours that already says what is wrong and what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def explain(error: BaseException) -> tuple[str, str]:
    """Return a message and a hint in the user's words for `error` or the first known cause behind it."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        known = _known(current)
        if known is not None:
            return known
        current = current.__cause__ or current.__context__
    text = str(error).strip().splitlines()
    return (f"{type(error).__name__}: {text[0]}" if text else type(error).__name__), ""


def _known(error: BaseException) -> tuple[str, str] | None:
    if isinstance(error, TaskError):
        return str(error), error.hint
    text = str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full", "free some space, then run the same command again: it resumes"
    for matches, message, hint in _CAUSES:
        found = re.search(matches, f"{type(error).__name__}: {text}", re.DOTALL)
        if found:
            return message.format(*found.groups()), hint
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"missing file {Path(str(error.filename)).name}", f"looked for {error.filename}"
    return None


# pattern on "Type: text", message (with the pattern's groups), hint
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"OutOfMemoryError|DefaultCPUAllocator: can't allocate|^MemoryError|bad_alloc|CUDA out of memory",
        "out of memory",
        "lower per_device_train_batch_size or max_seq_len, or set gradient_checkpointing to true",
    ),
    (r"missing column '([^']+)'; the data has (.*)", "missing column `{0}`; the data has {1}", ""),
    (
        r"KeyError: '([^']+)'.*text_template|SchemaInferenceError|no row has a token to learn",
        "the training data gave no example",
        "check the columns, and that rows are longer than nothing and max_seq_len is large enough",
    ),
    (
        r"FileNotFoundError: Unable to find '([^']+)'",
        "missing data file {0}",
        "put the file there, or change data_files in the configuration",
    ),
    (
        r"JSON parse error: (.*?) in row (\d+)",
        "a data file is not JSON Lines: {0} in row {1}",
        "one JSON object a line",
    ),
    (
        r"No module named '?([\w.]+)",
        "missing package {0} in the project's environment",
        "scaffolder doctor names what to install",
    ),
    (r"Target modules? (.*?) not found in the base model", "no such target_modules: {0}", ""),
    (
        r"(?:ConnectionError|LocalEntryNotFoundError|OfflineModeIsEnabled)",
        "something was looked for on the model hub, which is off during runs",
        "scaffolder download fetches models; data sets belong into datasets/",
    ),
)
