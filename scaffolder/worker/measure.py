"""Memory and size figures of this process and of folders."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_CONTROL_GROUP = Path("/sys/fs/cgroup")
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def peak_memory() -> int:
    """Return the largest resident size of this process so far, in bytes; 0 where it cannot be told.

    Linux counts the process that started this one in `ru_maxrss` (getrusage(2): it survives execve),
    so the high-water mark of this program's own memory is read instead.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:  # not Linux
        status = ""
    if found := re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE):
        return int(found[1]) * 2**10
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_gpu_memory() -> int:
    """Return the most memory that torch held on the first GPU, in bytes; 0 without one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return 0
    return int(torch.cuda.max_memory_allocated())


def folder_size(folder: Path) -> int:
    """Return the size of all files under `folder`, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def resident_memory() -> int:
    """Return what this process holds in memory now, in bytes."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def memory_limit() -> int:
    """Return the bytes that this process may use: the machine's, its container's or its own limit; 0 if unknown."""
    try:
        import psutil

        limits = [psutil.virtual_memory().total]
    except ImportError:
        limits = []
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limits.append(int((_CONTROL_GROUP / name).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no control groups, or "max"
            continue
    try:
        import resource
    except ImportError:  # Windows
        return min(limits, default=0)
    own = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    limits += [limit for limit in own if limit != resource.RLIM_INFINITY]
    return min(limits, default=0)


def _held() -> int:
    """Return what counts against a limit of this process: its addresses where those are limited, else its pages."""
    try:
        import resource

        import psutil
    except ImportError:
        return peak_memory()
    limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    return int(psutil.Process().memory_info().vms) if limited else peak_memory()


def memory_figures(error: BaseException) -> str:
    """Say what was held, what was there and what more was asked for when memory ran out."""
    if "CUDA" in str(error) or peak_gpu_memory():
        import torch

        held, limit, place = peak_gpu_memory(), int(torch.cuda.mem_get_info()[1]), "the card's "
    else:
        held, limit, place = _held(), memory_limit(), ""
    asked = re.search(r"tried to allocate ([\d.]+) (bytes|[KMG]iB)", str(error), re.IGNORECASE)
    more = f", {float(asked[1]) * _UNITS[asked[2]] / 1e9:.1f} GB more were asked for" if asked else ""
    return f"{held / 1e9:.1f} GB of {place}{limit / 1e9:.1f} GB were held{more}"
