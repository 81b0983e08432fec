"""How long a project takes to generate: ours against `copier copy` of ours and of a minimal template, in turn.

    python benchmarks/render.py [RUNS]

Prints the median wall and processor time of each, whole commands, and the ratio to the minimal template. Run it in
the project's environment (`make venv`).
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parent.parent


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        # Without git on both sides: what is timed is the rendering.
        ours = _copied(root / "ours")
        minimal = root / "minimal"
        minimal.mkdir()
        (minimal / "copier.yml").write_text("name: project\n")
        (minimal / "README.md.jinja").write_text("# {{ name }}\n")
        copier = [str(BIN / "copier"), "copy", "--quiet", "--defaults"]
        commands = {
            "copier, minimal": [*copier, str(minimal)],
            "copier, ours": [*copier, str(ours)],
            "scaffolder new": [
                str(BIN / "scaffolder"),
                "new",
                "--quiet",
                "--defaults",
                "--no-git",
                "--template",
                str(ours),
            ],
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for turn in range(runs + 1):
            for name, command in commands.items():
                measured = _timed([*command, str(root / f"{name}-{turn}".replace(" ", "-").replace(",", ""))])
                if turn:  # the first turn fills the file cache
                    times[name].append(measured)
    medians = {
        name: [statistics.median(column) for column in zip(*values, strict=True)] for name, values in times.items()
    }
    base = medians["copier, minimal"][0]
    for name, (wall, processor) in medians.items():
        print(f"{name:<16} {wall:6.2f} s wall, {processor:5.2f} s processor   {wall / base:4.1f} times the minimal")


def _copied(folder: Path) -> Path:
    for name in ("template", "scaffolder/catalog"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "copier.yml", folder)
    return folder


def _timed(command: list[str]) -> tuple[float, float]:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
