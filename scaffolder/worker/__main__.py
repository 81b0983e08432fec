"""Entry point, started by path: load this folder as a package, then run one job, or a node's part of one."""

from __future__ import annotations

import atexit
import importlib.util
import os
import sys
from pathlib import Path

ending = {"code": 1}


def leave() -> None:
    """End here: all is written, and taking PyTorch's and Olive's modules apart would take seconds more."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ending["code"])


if __name__ == "__main__":
    # Registered first, it is called last: after threads have ended and what libraries do at the end.
    atexit.register(leave)
    folder = Path(__file__).resolve().parent
    sys.path.pop(0)  # this folder: its module names are ours alone
    spec = importlib.util.spec_from_file_location(
        "scaffolder_worker", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["scaffolder_worker"] = package
    spec.loader.exec_module(package)
    start = importlib.import_module("scaffolder_worker.main").start
    ending["code"] = start(sys.argv[1:])
