"""What the environment says: variables of ours, and those given to every child process."""

from __future__ import annotations

import os
from pathlib import Path

PYTHON_VARIABLE = "SCAFFOLDER_PYTHON"
TEMPLATE_VARIABLE = "SCAFFOLDER_TEMPLATE"
DEBUG_VARIABLE = "SCAFFOLDER_DEBUG"

# Olive's heartbeat is sent before its own switch is read; only a CI variable stops it. ONNX Runtime has
# telemetry of its own. The hub is for `download`; a run that reached for it would not be repeatable.
_CHILD_VARIABLES = {
    "CI": "1",
    "OLIVE_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUTF8": "1",
    "PYTHONUNBUFFERED": "1",
    # Progress bars belong on a terminal; the log gets events instead.
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def child_environment(**extra: str) -> dict[str, str]:
    """Return the environment for a child process: ours, telemetry off, the hub off, plus `extra`."""
    return {**os.environ, **_CHILD_VARIABLES, **extra}


def debug() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def template_source() -> str | None:
    """Return the template named by the environment, if any."""
    return os.environ.get(TEMPLATE_VARIABLE) or None


def chosen_python() -> Path | None:
    """Return the interpreter named by the environment for a project's heavy work, if any."""
    value = os.environ.get(PYTHON_VARIABLE)
    return Path(value) if value else None
