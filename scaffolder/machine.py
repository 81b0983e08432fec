"""What this machine has for a run: memory, disk and the accelerator."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from scaffolder import process
from scaffolder.errors import EnvironmentFault

_CONTROL_GROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU.

    Attributes:
        name: As its driver says it.
        memory: Bytes, all of it.
        free: Bytes that nothing holds.
        driver: Release of the driver.
    """

    name: str
    memory: int
    free: int
    driver: str


def cards() -> list[Card]:
    """Return the NVIDIA GPUs of this machine; none where there is no driver.

    Raises:
        EnvironmentFault: There is a driver, and it does not answer.
    """
    if shutil.which("nvidia-smi") is None:
        return []
    fields = "name,memory.total,memory.free,driver_version"
    result = process.capture(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
    if result.returncode != 0:
        raise EnvironmentFault("`nvidia-smi` fails", hint="check the NVIDIA driver: `nvidia-smi`")
    found = []
    for line in result.stdout.strip().splitlines():
        name, total, free, driver = (part.strip() for part in line.split(","))
        found.append(Card(name, _mebibytes(total), _mebibytes(free), driver))
    return found


def _mebibytes(text: str) -> int:
    return int(text) * 2**20 if text.isdigit() else 0  # "[N/A]" where the card shares the machine's memory


def total_memory() -> int:
    """Return the bytes of memory that processes here may use: the machine's, or the container's limit."""
    import psutil

    return min([psutil.virtual_memory().total, *_container()[:1]])


def free_memory() -> int:
    """Return the bytes of memory that a new process can take without swapping."""
    import psutil

    available = psutil.virtual_memory().available
    limit = _container()
    return min(available, max(0, limit[0] - limit[1])) if limit else available


def _container() -> list[int]:
    """Return limit and use of the control group that this process lives in, in bytes; empty without a limit."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            return [int((_CONTROL_GROUP / name).read_text(encoding="ascii")) for name in (limit, used)]
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return []


def free_disk(folder: Path) -> int:
    """Return the free bytes of the file system that `folder` lies or will lie on."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
