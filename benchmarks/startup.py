"""How long `--help` takes: ours against olive's, hf's, copier's and bare Python, in turn, in one run.

    python benchmarks/startup.py [RUNS]

Prints the median wall time of each and the ratio to ours. Run it in the project's environment (`make venv`).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "scaffolder --help": [str(BIN / "scaffolder"), "--help"],
    "copier --help": [str(BIN / "copier"), "--help"],
    "hf --help": [str(BIN / "hf"), "--help"],
    "olive --help": [str(BIN / "olive"), "--help"],
}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    environment = {**os.environ, "CI": "1", "OLIVE_DISABLE_TELEMETRY": "1", "ORT_DISABLE_TELEMETRY": "1"}
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(runs + 1):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, env=environment, check=True, capture_output=True)
            if turn:  # the first turn fills the file cache
                times[name].append(time.perf_counter() - start)
    ours = statistics.median(times["scaffolder --help"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:<20} {median:6.3f} s   {median / ours:5.1f} times ours")


if __name__ == "__main__":
    main()
