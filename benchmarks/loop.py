"""What `generate` does around ONNX Runtime GenAI, in processor time: its worker against the bare loop.

    python benchmarks/loop.py PROJECT [--model onnx] [--runs 9] [--tokens 64]

Both write the same tokens in turn, in one process, with one loaded model and one thread. What counts is this thread's
processor time, in which waiting for others does not show: all of it, and the part outside the runtime's two calls
(`append_tokens`, `generate_next_token`), which are the same for both. `benchmarks/inference.py` times whole commands.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime_genai as og

from scaffolder.artefacts import find_artefact
from scaffolder.project import find_project
from scaffolder.worker import session
from scaffolder.worker.channel import Channel
from scaffolder.worker.onnx_model import OnnxModel

MESSAGES = [{"role": "user", "content": "What is the best thing to see in Chicago?"}]
PAUSES = {"generate, piped": 0.5, "generate, on a terminal": 0.05}


@dataclass(slots=True)
class Spent:
    """Seconds inside the runtime, of the answer that is being written."""

    inside: float = 0.0


class TimedGenerator:
    """The runtime's generator, with its two calls timed."""

    spent = Spent()

    def __init__(self, model: Any, params: Any) -> None:
        self._generator = og.Generator(model, params)
        self.is_done = self._generator.is_done
        self.get_next_tokens = self._generator.get_next_tokens

    def append_tokens(self, ids: Any) -> None:
        started = time.thread_time()
        self._generator.append_tokens(ids)
        self.spent.inside += time.thread_time() - started

    def generate_next_token(self) -> None:
        started = time.thread_time()
        self._generator.generate_next_token()
        self.spent.inside += time.thread_time() - started


class TimedRuntime:
    """What `OnnxModel` uses of the runtime once it is loaded."""

    Generator = TimedGenerator
    GeneratorParams = og.GeneratorParams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--model", default="onnx")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    folder = find_artefact(find_project(arguments.project), arguments.model).path
    model = with_one_thread(folder)
    channel = silent_channel()
    ways = {name: lambda pause=pause: ours(model, channel, pause, arguments.tokens) for name, pause in PAUSES.items()}
    ways = {"bare GenAI": lambda: bare(model, arguments.tokens), **ways}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(arguments.runs + 1):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            measured = measure(ways[name])
            if turn:  # the first warms up
                spent[name].append(measured)
    show(folder.name, spent, arguments)


def with_one_thread(folder: Path) -> OnnxModel:
    model = OnnxModel({"path": str(folder)})
    config = og.Config(str(folder))
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": 1}}}}))
    model.model = og.Model(config)
    model.native_tokenizer = og.Tokenizer(model.model)
    model._og = TimedRuntime
    return model


def silent_channel() -> Channel:
    """Return the worker's line to the command, with nobody at its other end."""
    shown = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    channel = Channel()
    os.dup2(shown, 1)
    return channel


def ours(model: OnnxModel, channel: Channel, pause: float, tokens: int) -> None:
    sampling = {"max_new_tokens": tokens, "min_new_tokens": tokens}
    session._answer(model, {"messages": MESSAGES, "sampling": sampling, "pause": pause}, model.context, channel)


def bare(model: OnnxModel, tokens: int) -> None:
    """ONNX Runtime GenAI as its documentation shows it."""
    tokenizer = model.native_tokenizer
    ids = tokenizer.encode(tokenizer.apply_chat_template(json.dumps(MESSAGES), add_generation_prompt=True))
    params = og.GeneratorParams(model.model)
    length = len(ids) + tokens
    params.set_search_options(max_length=length, min_length=length, do_sample=False)
    generator = TimedGenerator(model.model, params)
    generator.append_tokens(ids)
    stream, text = tokenizer.create_stream(), ""
    while not generator.is_done():
        generator.generate_next_token()
        text += stream.decode(generator.get_next_tokens()[0])


def measure(way: Any) -> tuple[float, float]:
    """Return the seconds outside the runtime, and all."""
    TimedGenerator.spent.inside, started = 0.0, time.thread_time()
    way()
    whole = time.thread_time() - started
    return whole - TimedGenerator.spent.inside, whole


def show(name: str, spent: dict[str, list[tuple[float, float]]], arguments: argparse.Namespace) -> None:
    print(f"{name}, {arguments.tokens} tokens, one thread, processor time, medians of {arguments.runs}")
    outside = {way: statistics.median(part for part, _ in rows) for way, rows in spent.items()}
    whole = statistics.median(total for _, total in spent["bare GenAI"])
    for way, seconds in outside.items():
        more = 100 * (seconds - outside["bare GenAI"]) / whole
        print(
            f"{way:<24}{1e3 * seconds:>8.2f} ms outside the runtime, {more:+.2f} % of the bare answer's {whole:.3f} s"
        )


if __name__ == "__main__":
    main()
