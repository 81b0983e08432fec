"""Memory and size figures of this process and of folders."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def peak_memory() -> int:
    """Return the largest resident size of this process so far, in bytes; 0 where it cannot be told."""
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
