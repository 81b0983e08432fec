"""Causes and remedies for what Olive and the libraries under it raise."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import remedies

if TYPE_CHECKING:
    from collections.abc import Callable


class TaskError(Exception):
    """A failure of ours that already says what is wrong and what to do."""

    def __init__(self, message: str, hint: str = "", *, kind: str = "run") -> None:
        super().__init__(message)
        self.hint = hint
        self.kind = kind


class Explained(NamedTuple):
    """A failure in the user's words.

    Attributes:
        message: What went wrong.
        hint: What to do about it, or empty.
        kind: "run", "environment" (packages, devices) or "memory".
    """

    message: str
    hint: str = ""
    kind: str = "run"


def explain(error: BaseException, job: dict[str, Any]) -> Explained:
    """Say what `error`, or the first known cause behind it, means for whoever asked for `job`."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        known = _known(current, job)
        if known is not None:
            return known
        current = current.__cause__ or current.__context__
    text = str(error).strip().splitlines()
    message = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
    return Explained(message, remedies.other_versions(job))


class Cause(NamedTuple):
    """What tells a cause, and what to say of it.

    Attributes:
        pattern: Searched in "Type: text" of the error.
        message: With the pattern's groups in braces.
        hint: A text, or what makes one of the match and the job.
        kind: See `Explained`.
    """

    pattern: str
    message: str
    hint: str | Callable[[re.Match[str], dict[str, Any]], str] = ""
    kind: str = "run"


def _known(error: BaseException, job: dict[str, Any]) -> Explained | None:
    if isinstance(error, TaskError):
        return Explained(str(error), error.hint, error.kind)
    if isinstance(error, OSError) and error.errno in _FULL:
        return Explained(_FULL[error.errno], _room(error.errno, job))
    described = f"{type(error).__name__}: {error}"
    for cause in _CAUSES:
        found = re.search(cause.pattern, described, re.DOTALL)
        if found:
            return Explained(cause.message.format(*found.groups()), _hint(cause, found, job), cause.kind)
    if isinstance(error, FileNotFoundError) and error.filename:
        return Explained(f"missing file {Path(str(error.filename)).name}", f"looked for {error.filename}")
    return None


def _hint(cause: Cause, found: re.Match[str], job: dict[str, Any]) -> str:
    try:
        hint = cause.hint if isinstance(cause.hint, str) else cause.hint(found, job)
    except Exception:  # whatever is broken here is not what the user has to hear of
        hint = ""
    versions = remedies.other_versions(job) if cause.kind == "environment" else ""
    return "\n      ".join(text for text in (hint, versions) if text)


def _room(code: int, job: dict[str, Any]) -> str:
    return remedies.more_room(job) if code != errno.EFBIG else "`ulimit -f` and the file system set the limit"


_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk is full",
    errno.EFBIG: "a file would become larger than is allowed here",
}

_CAUSES: tuple[Cause, ...] = (
    # memory and disk
    Cause(
        r"OutOfMemoryError|can't allocate memory|^MemoryError|bad_alloc|CUDA out of memory|Cannot allocate memory"
        r"|Failed to allocate memory",
        "out of memory",
        kind="memory",
    ),
    Cause(
        r"No space left on device|os error 28|PytorchStreamWriter failed writing|basic_ios::clear: iostream error",
        _FULL[errno.ENOSPC],
        lambda _, job: _room(errno.ENOSPC, job),
    ),
    Cause(r"File too large|os error 27", _FULL[errno.EFBIG], lambda _, job: _room(errno.EFBIG, job)),
    # data
    Cause(
        r"missing column '([^']+)'; the data has (.*)",
        "missing column `{0}`; the data has {1}",
        "name the right one in pre_process_data_config: prompt_column, response_column or messages_column",
    ),
    Cause(
        r"KeyError: '([^']+)'.*text_template",
        "missing column `{0}`, which text_template names",
        "correct the template, or the data",
    ),
    Cause(
        r"SchemaInferenceError|no row has a token to learn", "the training data gave no example", remedies.no_example
    ),
    Cause(
        r"FileNotFoundError: Unable to find '([^']+)'",
        "missing data file {0}",
        "put the file there, or change data_files in the configuration",
    ),
    Cause(
        r"JSON parse error: (.*?) in row (\d+)",
        "a data file is not JSON Lines: {0} in row {1}",
        "one JSON object a line",
    ),
    # the model
    Cause(
        r"SafetensorError: Error while deserializing|PytorchStreamReader failed|invalid load key",
        "the weights of a model are damaged or incomplete",
        remedies.whole_model,
    ),
    Cause(
        r"Error no file named (\S+?),?\s.*found in directory (\S+?)\.?$",
        "{1} has no weights ({0})",
        "scaffolder download fetches the base model again; scaffolder run makes the others again",
    ),
    Cause(
        r"chat_template is not set",
        "the model's tokenizer has no chat template, so it was not made for conversations",
        "choose the model's -Instruct variant, or put its chat_template.jinja into the model's folder",
    ),
    Cause(
        r"NotImplementedError: The (?:.*) model is not currently supported",
        "ModelBuilder cannot export this architecture",
        remedies.exportable,
    ),
    Cause(
        r"model type `([^`]+)` but Transformers does not recognize",
        "transformers does not know the architecture {0}",
        "`scaffolder presets` lists models that work",
    ),
    Cause(
        r"Target modules? (.*?) not found in the base model",
        "the model has no layer named {0}",
        remedies.layers,
    ),
    # packages and devices
    Cause(
        r"(KeyError: 'hf_details'|No module named '?onnxruntime_genai\.models\.\w+)",
        "this release of onnxruntime-genai does not fit Olive's ModelBuilder pass",
        lambda _, job: remedies.callable_builder(job),
        kind="environment",
    ),
    Cause(
        r"ImportError: (\S+?)([=<>!~]\S*) is required for a normal functioning.*but found \S+?==([\d.]+\d)",
        "transformers needs {0}{1}, and {2} is installed",
        lambda found, job: remedies.install(found[1], job),
        kind="environment",
    ),
    Cause(
        r"No module named '?([\w]+)",
        "missing package {0} in the project's environment",
        lambda found, job: remedies.install(found[1], job),
        kind="environment",
    ),
    Cause(
        r"(?:requires|Please install|install) the? ?`?(\w+)`? (?:library|package)",
        "missing package {0} in the project's environment",
        lambda found, job: remedies.install(found[1], job),
        kind="environment",
    ),
    Cause(
        r"Cuda interface not available|CUDA execution provider is not enabled|NVIDIA driver|compiled with CUDA enabled"
        r"|CUDA driver|no CUDA-capable device",
        "CUDA is not available here",
        remedies.NO_CUDA,
        kind="environment",
    ),
    Cause(
        r"ConnectionError|LocalEntryNotFoundError|OfflineModeIsEnabled",
        "something was looked for on the model hub, which is off during runs",
        "scaffolder download fetches models; data sets belong into datasets/",
    ),
)
