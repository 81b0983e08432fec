"""What a token costs a processor, by export and beside llama.cpp: on one thread, in processor time.

    python benchmarks/processor_time.py FOLDER_OR_GGUF... [--runs 7] [--tokens 32]

Takes folders of exports and GGUF files (`llama-cpp-python` installed, or in a folder of PYTHONPATH). All are loaded at
once and take turns. Processor time leaves out the waiting for other work on the machine, in which wall-clock times
drown where others use it too; one thread leaves out the waiting of threads for each other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

PROMPT = list(range(1000, 1020))  # any tokens will do: the work does not depend on them
LONG = list(range(1000, 1256))
Writer = Callable[[list[int], int], tuple[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=32)
    arguments = parser.parse_args()
    writers = {path: export(path) if path.is_dir() else gguf(path) for path in arguments.models}
    reading: dict[Path, list[float]] = {path: [] for path in writers}
    writing: dict[Path, list[float]] = {path: [] for path in writers}
    for turn in range(arguments.runs + 1):
        for path in list(writers)[:: 1 if turn % 2 else -1]:
            _, later = writers[path](PROMPT, arguments.tokens)
            first, _ = writers[path](LONG, 1)
            if turn:  # the first warms up
                writing[path].append(1e3 * later / (arguments.tokens - 1))
                reading[path].append(1e3 * first)
    print(f"one thread, processor time, medians of {arguments.runs} [least]")
    print(f"{'':<40}{'size MB':>9}{'ms a token':>18}{'ms to read 256':>20}")
    for path in writers:
        files = [path] if path.is_file() else path.glob("model.onnx*")
        size = sum(file.stat().st_size for file in files) / 1e6
        cost, read = (f"{statistics.median(ms[path]):.2f} [{min(ms[path]):.2f}]" for ms in (writing, reading))
        print(f"{path.name:<40}{size:>9.0f}{cost:>18}{read:>20}")


def export(folder: Path) -> Writer:
    import onnxruntime_genai as og

    config = og.Config(str(folder))
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": 1}}}}))
    model = og.Model(config)

    def write(ids: list[int], tokens: int) -> tuple[float, float]:
        params = og.GeneratorParams(model)
        length = len(ids) + tokens
        params.set_search_options(max_length=length, min_length=length, do_sample=False)
        generator = og.Generator(model, params)
        started = time.process_time()
        generator.append_tokens(ids)
        generator.generate_next_token()
        first = time.process_time()
        for _ in range(tokens - 1):
            generator.generate_next_token()
        return first - started, time.process_time() - first

    return write


def gguf(file: Path) -> Writer:
    from llama_cpp import Llama

    model = Llama(str(file), n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False)

    def write(ids: list[int], tokens: int) -> tuple[float, float]:
        started = first = time.process_time()
        for count, _ in enumerate(model.generate(ids, temp=0.0, reset=True), start=1):
            first = time.process_time() if count == 1 else first
            if count == tokens:
                break
        return first - started, time.process_time() - first

    return write


if __name__ == "__main__":
    main()
