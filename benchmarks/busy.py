"""What other work costs a training on processors, as PyTorch's threads wait by themselves and as ours do.

    python benchmarks/busy.py PROJECT [--rounds 3] [--steps 3]

Times a forward and a backward pass of the project's base model, two rows of 64 tokens, in processes of their own, alone
and beside one and two processes that only count. Both ways run in turn, whoever was second is first in the next
round; the ratio is that of their medians. Ends by itself, and everything that it started with it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from scaffolder.project import find_project
from scaffolder.settings import SPIN_VARIABLE, child_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS, TOKENS = 2, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--step", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(step(arguments.step, arguments.steps))
        return
    os.environ.pop(SPIN_VARIABLE, None)
    ours = child_environment()
    by_itself = {name: value for name, value in ours.items() if name != SPIN_VARIABLE}
    model = find_project(arguments.project).model_folder
    command = [sys.executable, __file__, str(arguments.project), "--step", str(model), "--steps", str(arguments.steps)]
    print(f"seconds a step, {os.cpu_count()} processors")
    for beside in (0, 1, 2):
        seconds: dict[str, list[float]] = {"by itself": [], "ours": []}
        with counting(beside):
            for round_ in range(arguments.rounds):
                ways = [("by itself", by_itself), ("ours", ours)]
                for way, environment in ways if round_ % 2 == 0 else ways[::-1]:
                    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                    seconds[way].append(float(result.stdout))
        plain, own = (statistics.median(each) for each in seconds.values())
        print(f"beside {beside}: by itself {plain:.2f}, ours {own:.2f}, ratio {plain / own:.2f}", flush=True)


def step(folder: Path, steps: int) -> float:
    """Return the median seconds of a forward and a backward pass of the model in a folder."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.arange(5, 5 + ROWS * TOKENS).reshape(ROWS, TOKENS)
    seconds = []
    for _ in range(steps + 1):
        begin = time.monotonic()
        model(ids, labels=ids).loss.backward()
        model.zero_grad()
        seconds.append(time.monotonic() - begin)
    return statistics.median(seconds[1:])


@contextlib.contextmanager
def counting(processes: int) -> Iterator[None]:
    """Keep processes busy, each for ten minutes at most."""
    program = "import time\nend = time.monotonic() + 600\nwhile time.monotonic() < end: pass"
    busy = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
