"""Check files of examples: read once, block by block, in memory that does not grow with them."""

from __future__ import annotations

import importlib.util
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..explain import TaskError
from ..measure import peak_memory
from ..trust import guard
from .findings import Findings
from .judge import Columns, Judge, Problem
from .lengths import Counter, Lengths, Renderer
from .sensitive import COMMON_CONTROL, Scanner, surrogates
from .tables import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Self

    from ..channel import Channel
    from .judge import Example
    from .rows import Block
    from .similar import Similar

# Rows up to this much text are all counted in tokens; of larger files every so many-th row.
_COUNTED_BYTES = 64 << 20
_SECONDS_BETWEEN_REPORTS = 0.5
_MOST_COLUMNS = 64


@dataclass(slots=True)
class _Tokens:
    """What turns examples into lengths."""

    renderer: Renderer
    counter: Counter


@dataclass(slots=True)
class _File:
    """A file while it is checked."""

    path: str
    judge: Judge
    findings: Findings
    limit: int | None
    every: int
    rows: int = 0
    lines: array[int] = field(default_factory=lambda: array("I"))
    """Line of each good row."""
    columns: dict[str, dict[str, int]] = field(default_factory=dict)
    lengths: Lengths | None = None
    first: int = 0
    """Number of its first good row among those of all files."""


def check_files(job: dict[str, Any], channel: Channel) -> None:
    """Check `job["files"]`, each with its columns and `max_seq_len`, together; reports once as `checked`.

    The job: `files`, `model` (folder of the tokenizer, or None), `chat_template` (a file, in place of the
    tokenizer's own), `all_tokens`, `similar` and `temporary`.
    """
    started = time.monotonic()
    tokens, notes = _tokens(job.get("model"), job.get("chat_template"))
    scanner = Scanner(tokens_of(tokens) if tokens else COMMON_CONTROL)
    similar = _similar(job, notes)
    files = [_file(spec, exact=job.get("all_tokens", False)) for spec in job["files"]]
    try:
        for file in files:
            _check_file(file, scanner, similar, tokens, channel)
        if similar:
            _compare(files, similar)
    finally:
        if similar:
            similar.__exit__()
    channel.emit(
        "checked",
        files=[_figures(file) for file in files],
        findings=[finding for file in files for finding in file.findings.listed()],
        notes=notes,
        seconds=round(time.monotonic() - started, 2),
        peak_memory=peak_memory(),
    )


def _tokens(model: str | None, template: str | None) -> tuple[_Tokens | None, list[str]]:
    unknown = "lengths in tokens are not known: "
    if not model or not any(Path(model).glob("tokenizer*")):
        return None, [unknown + "the model is not downloaded (`scaffolder download`)"]
    if importlib.util.find_spec("transformers") is None:
        return None, [unknown + "transformers is not installed (`scaffolder setup`)"]
    try:
        tokenizer = load_tokenizer(model)
    except TaskError as error:
        return None, [f"{unknown}{error}"]
    if template and Path(template).is_file():
        tokenizer.chat_template = Path(template).read_text(encoding="utf-8")
    if not getattr(tokenizer, "chat_template", None):
        return None, [unknown + "the model has no chat template"]
    return _Tokens(Renderer(tokenizer), Counter(tokenizer)), []


def load_tokenizer(model: str) -> Any:
    """Load a model's tokenizer as training does.

    Raises:
        TaskError: There is none.
    """
    guard(Path.cwd())
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError, KeyError) as error:
        raise TaskError(f"{model} has no tokenizer that can be read", "scaffolder download --force") from error


def tokens_of(tokens: Any) -> list[str]:
    """Return the texts that the tokenizer reads as control."""
    core = tokens.counter.core
    found = [token.content for token in core.get_added_tokens_decoder().values() if token.special] if core else []
    # Single letters and spaces would be found in every text.
    return [token for token in found if len(token) > 2] or list(COMMON_CONTROL)


def _similar(job: dict[str, Any], notes: list[str]) -> Similar | None:
    if not job.get("similar", True):
        return None
    if importlib.util.find_spec("numpy") is None:
        notes.append("duplicates were not looked for: numpy is not installed (`scaffolder setup`)")
        return None
    from .similar import Similar

    return Similar(Path(job["temporary"]))


def _file(spec: dict[str, Any], *, exact: bool) -> _File:
    size = Path(spec["path"]).stat().st_size
    every = 1 if exact else -(-size // _COUNTED_BYTES) or 1
    return _File(spec["path"], Judge(Columns.of(spec)), Findings(spec["path"]), spec.get("max_seq_len"), every)


def _check_file(
    file: _File, scanner: Scanner, similar: Similar | None, tokens: _Tokens | None, channel: Channel
) -> None:
    if tokens:
        file.lengths = Lengths(file.limit)
    file.first = similar.rows if similar else 0
    told = 0.0
    # Most of the comparing runs outside of the interpreter, so that it costs little time beside the rest.
    with _Beside() as beside:
        for block in read_rows(Path(file.path), file.findings):
            examples = _judged(file, block)
            if similar and examples:
                beside.do(similar.add, *comparable([example for _, example in examples]))
            _scan(file, examples, scanner)
            if tokens:
                _measure(file, examples, tokens)
            if time.monotonic() - told > _SECONDS_BETWEEN_REPORTS:
                told = time.monotonic()
                channel.emit("rows", file=file.path, rows=file.rows)
    if not file.rows and not file.findings.listed():
        file.findings.add("no-rows", "holds no example")
    _tell_lengths(file)


class _Beside:
    """A second thread for one task at a time; what it raises is raised where the next one comes, or at the end."""

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._last: Future[None] | None = None
        return self

    def do(self, task: Callable[..., None], *arguments: Any) -> None:
        """Begin a task once the last one is done: no more than two blocks are in memory."""
        if self._last:
            self._last.result()
        self._last = self._thread.submit(task, *arguments)

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        if self._last:
            self._last.result()


def _judged(file: _File, block: Block) -> list[tuple[int, Example]]:
    found = []
    for row, line in zip(block.rows, block.lines, strict=True):
        problems: list[Problem] = []
        example = file.judge.example(row, problems)
        for kind, message in problems:
            file.findings.add(kind, message, line)
        if example is not None and (bad := surrogates(example.texts)) is not None:
            file.findings.add("encoding", f"half a character (a lone surrogate) in text {bad + 1}", line)
            example = None
        if example is not None:
            found.append((line, example))
    file.rows += len(block.rows)
    file.lines.extend(line for line, _ in found)
    _count_columns(file.columns, block.rows)
    return found


def _count_columns(columns: dict[str, dict[str, int]], rows: list[dict[str, Any]]) -> None:
    for row in rows:
        for name, value in row.items():
            types = columns.get(name)
            if types is None:
                if len(columns) >= _MOST_COLUMNS:
                    continue
                types = columns[name] = {}
            kind = type(value).__name__
            types[kind] = types.get(kind, 0) + 1


def _scan(file: _File, examples: list[tuple[int, Example]], scanner: Scanner) -> None:
    # The system prompt of the manifest is the owner's own words.
    own = file.judge.columns.system
    texts, lines = [], []
    for line, example in examples:
        for text in example.texts:
            if text is not own:
                texts.append(text)
                lines.append(line)
    scanner.scan(texts, lambda index: lines[index], file.findings)


def comparable(examples: list[Example]) -> tuple[list[bytes], list[bytes | None]]:
    """Return the whole text of each example without its system message, and its question where it is one turn."""
    wholes, prompts = [], []
    for example in examples:
        texts = [t for role, t in zip(example.roles, example.texts, strict=True) if role != "system"]
        wholes.append("\n".join(texts).encode())
        prompts.append(texts[0].encode() if len(texts) == 2 else None)
    return wholes, prompts


def _measure(file: _File, examples: list[tuple[int, Example]], tokens: _Tokens) -> None:
    assert file.lengths is not None
    texts: list[str] = []
    lines: list[int] = []
    for line, example in examples:
        if line % file.every:
            continue
        try:
            texts += tokens.renderer.texts(example)
        except TaskError as error:
            file.findings.add("roles", str(error), line)
            continue
        lines.append(line)
    counts = tokens.counter.count(texts)
    for index, line in enumerate(lines):
        prompt, answer = counts[2 * index], counts[2 * index + 1]
        file.lengths.add(prompt, answer, line)
        if file.limit and prompt >= file.limit:
            file.findings.add("untrained", f"the question alone has {prompt:,} tokens", line)
        elif file.limit and prompt + answer > file.limit:
            over = prompt + answer - file.limit
            file.findings.add("cut", f"{prompt + answer:,} tokens: the last {over:,} are cut", line)


def _tell_lengths(file: _File) -> None:
    if file.lengths and file.lengths.rows and file.lengths.untrained == file.lengths.rows:
        file.findings.add("no-rows", "no row has a token to learn within max_seq_len")


def _compare(files: list[_File], similar: Similar) -> None:
    from .overlap import Places, tell

    places = Places()
    for file in files:
        places.begin(file.findings, file.first, file.lines)
    tell(places, similar.links())


def _figures(file: _File) -> dict[str, Any]:
    return {
        "path": file.path,
        "size": Path(file.path).stat().st_size,
        "rows": file.rows,
        "good": len(file.lines),
        "columns": file.columns,
        "max_seq_len": file.limit,
        "every": file.every,
        "lengths": file.lengths.figures() if file.lengths else None,
    }
