"""Entry point, started by path: load this folder as a package, then run one job, or a node's part of one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if __name__ == "__main__":
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
    sys.exit(importlib.import_module("scaffolder_worker.main").start(sys.argv[1:]))
