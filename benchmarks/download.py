"""How fast `scaffolder download` is beside `hf download`, and what a broken download costs again.

    python benchmarks/download.py [RUNS] [MEGABYTES]

A hub on loopback serves one repository, six large files and some small ones, to both commands in turn; start-up
counts. Then a download is killed in the middle, and what the next one asks for is compared with what lay on disk.
Run it in the project's environment (`make venv`).
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
BIN = Path(sys.executable).parent
REPO = "acme/bench"
BAR = 0.95


def hub(channel: Connection, megabytes: int) -> None:
    """Serve until the channel closes; answer each message with the bytes sent since the last one."""
    from tests.hub_server import serve

    noise = random.Random(0).randbytes(megabytes * 10**6 // 6)
    files = {f"model-{i:05}-of-00006.safetensors": bytes([i]) + noise for i in range(1, 7)}
    files |= {"model.safetensors.index.json": b"{}", "config.json": b"{}", "tokenizer.json": noise[:2_000_000]}
    with serve() as found:
        found.put(REPO, files)
        channel.send((found.url, {name: len(content) for name, content in files.items()}))
        while channel.recv():
            channel.send(dict(found.bodies))
            found.bodies.clear()


def environment(url: str, home: Path) -> dict[str, str]:
    return {**os.environ, "HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}


def seconds(command: list[str], folder: Path, url: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment(url, folder / "hf"), check=True, capture_output=True)
    return time.perf_counter() - start


def compare(project: Path, url: str, runs: int) -> float:
    """Time both in turn, the second first every other time, and return the ratio of medians, theirs to ours."""
    ours = [str(BIN / "scaffolder"), "download", REPO]
    theirs = [str(BIN / "hf"), "download", REPO, "--local-dir", "there"]
    times: dict[str, list[float]] = {"scaffolder": [], "hf": []}
    for turn in range(runs + 1):
        pairs = [("scaffolder", ours), ("hf", theirs)]
        for name, command in pairs if turn % 2 else reversed(pairs):
            spent = seconds(command, project, url)
            if turn:  # the first turn fills the file cache
                times[name].append(spent)
            for made in (project / "model-cache" / "acme", project / "there", project / "hf"):
                shutil.rmtree(made, ignore_errors=True)
            (project / "model-cache" / "models.lock").unlink(missing_ok=True)
    for name, values in times.items():
        print(f"{name + ' download':<20} {statistics.median(values):6.2f} s   {min(values):.2f} to {max(values):.2f}")
    return statistics.median(times["hf"]) / statistics.median(times["scaffolder"])


def resume(project: Path, url: str, sizes: dict[str, int], channel: Connection) -> int:
    """Kill a download in the middle; return the bytes that the next one fetched though they lay on disk."""
    partial = project / "model-cache" / "acme" / ".bench.partial"
    command = [str(BIN / "scaffolder"), "download", REPO]
    child = subprocess.Popen(command, cwd=project, env=environment(url, project / "hf"), stderr=subprocess.DEVNULL)
    while size(partial) < sum(sizes.values()) // 3 and child.poll() is None:
        time.sleep(0.005)
    child.kill()
    child.wait()
    kept = size(partial)
    time.sleep(1)  # what was on its way arrives nowhere, and is counted
    channel.send(True)
    first = sum(channel.recv().values())
    subprocess.run(command, cwd=project, env=environment(url, project / "hf"), check=True, capture_output=True)
    channel.send(True)
    second = sum(channel.recv().values())
    print(f"killed after {kept / 1e6:.1f} MB on disk ({first / 1e6:.1f} MB sent); then {second / 1e6:.1f} MB sent")
    return second - (sum(sizes.values()) - kept)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    megabytes = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    channel, other = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=hub, args=(other, megabytes), daemon=True)
    server.start()
    url, sizes = channel.recv()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        command = [str(BIN / "scaffolder"), "new", str(project), "--defaults", "--quiet"]
        subprocess.run(command, check=True, capture_output=True)
        ratio = compare(project, url, runs)
        print(f"ratio of medians, hf to scaffolder: {ratio:.2f} (bar: at least {BAR})")
        channel.send(True)
        channel.recv()
        twice = resume(project, url, sizes, channel)
        print(f"fetched twice of what lay on disk: {twice} bytes (bar: 0)")
    channel.send(False)
    server.join()
    sys.exit(0 if ratio >= BAR and twice == 0 else 1)


if __name__ == "__main__":
    main()
