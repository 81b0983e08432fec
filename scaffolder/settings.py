"""What the environment and the settings files say, and the variables given to every child process."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

from scaffolder.errors import ConfigError

PYTHON_VARIABLE = "SCAFFOLDER_PYTHON"
TEMPLATE_VARIABLE = "SCAFFOLDER_TEMPLATE"
DEBUG_VARIABLE = "SCAFFOLDER_DEBUG"
TUNABLES_VARIABLE, LARGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
SPIN_VARIABLE, SPINS = "GOMP_SPINCOUNT", "1000"

# Olive's heartbeat is sent before its own switch is read; only a CI variable stops it. ONNX Runtime has
# telemetry of its own. The hub is for `download`; a run that reached for it would not be repeatable.
CHILD_VARIABLES = {
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
    """Return the environment for a child process: ours, telemetry off, the hub off, plus `extra`.

    PyTorch's threads wait for each other by spinning, 300,000 times by default. Beside other work that takes the
    processor from the very thread that they wait for: trainings took 1.6 to 4.7 times as long as with a thousand spins
    and sleep after them, which is what libgomp itself takes where it knows of more threads than processors (libgomp
    manual, "GOMP_SPINCOUNT"). Alone both are as fast (`benchmarks/busy.py`). What the user set stays.
    """
    decided = SPIN_VARIABLE in os.environ or "OMP_WAIT_POLICY" in os.environ
    waiting = {} if decided else {SPIN_VARIABLE: SPINS}
    return {**os.environ, **waiting, **CHILD_VARIABLES, **extra}


def answering_environment() -> dict[str, str]:
    """Return what a child that answers gets beside `child_environment`: large pages of memory on Linux.

    A token reads all weights once. In pages of 2 MB the processor finds them with fewer lookups: on two cores answers
    came 2 to 5 % faster; trainings did not. The C library hands the wish to the kernel (glibc manual, "Memory
    Allocation Tunables"); where either knows nothing of it, nothing changes. What the user set stays.
    """
    if sys.platform != "linux":
        return {}
    tunables = [part for part in os.environ.get(TUNABLES_VARIABLE, "").split(":") if part]
    if any(part.startswith(LARGE_PAGES) for part in tunables):
        return {}
    return {TUNABLES_VARIABLE: ":".join([*tunables, f"{LARGE_PAGES}=1"])}


def debug() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def template_source() -> str | None:
    """Return the template that the environment, the user's settings or the organisation's name, in this order.

    Raises:
        ConfigError: A settings file is not valid.
    """
    named = os.environ.get(TEMPLATE_VARIABLE)
    return named or next((found for path in settings_files() if (found := _template_of(path))), None)


def settings_files() -> tuple[Path, Path]:
    """Return where settings are looked for: the user's own, then the organisation's."""
    import platformdirs

    own = platformdirs.user_config_path("scaffolder", appauthor=False)
    shared = platformdirs.site_config_path("scaffolder", appauthor=False)
    return own / "settings.toml", shared / "settings.toml"


def _template_of(path: Path) -> str | None:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    problems = [f"{path}: unknown key `{key}`" for key in found if key != "template"]
    if not isinstance(found.get("template", ""), str):
        problems.append(f"{path}: `template` is a text: a git address, a folder or a bundle")
    if problems:
        raise ConfigError("\n".join(problems), hint="the only key is `template`")
    return found.get("template") or None


def chosen_python() -> Path | None:
    """Return the interpreter named by the environment for a project's heavy work, if any."""
    value = os.environ.get(PYTHON_VARIABLE)
    return Path(value) if value else None
