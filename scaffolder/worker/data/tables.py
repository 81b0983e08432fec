"""Rows out of CSV, TSV, Parquet and Arrow files, in blocks; see `rows`."""

from __future__ import annotations

import codecs
import csv
from typing import TYPE_CHECKING, Any

from ..explain import TaskError
from .encoding import marked
from .rows import LONGEST_ROW, Block, numbered_lines, read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .findings import Findings

_BATCH_ROWS = 2048
_DELIMITERS = ",;\t|"


def read_rows(path: Path, findings: Findings) -> Iterator[Block]:
    """Read a file of examples in the format that its ending names; what cannot be read is told in `findings`.

    Raises:
        TaskError: The ending is unknown, or a package is missing for it.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise TaskError(f"{findings.file}: unknown format `{path.suffix}`", f"known: {', '.join(READERS)}")
    return reader(path, findings)


def read_csv(path: Path, findings: Findings) -> Iterator[Block]:
    """Read delimited text with a header; a field may hold line ends between quotes."""
    mark = marked(path)
    if mark not in (None, "utf-8-sig"):
        findings.add("encoding", f"is {mark.upper() if mark else ''}, not UTF-8")
        return
    csv.field_size_limit(LONGEST_ROW)
    lines = _decoded(path, findings)
    first = next(lines, "")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(_DELIMITERS, key=first.count)
    reader = csv.reader(_again(first, lines), delimiter=delimiter, strict=True)
    header = next(_fields(reader, findings), (0, []))[1]
    if problem := _header_problem(header):
        findings.add("syntax", problem, 1)
        return
    block = Block()
    for line, values in _fields(reader, findings):
        if len(values) != len(header):
            findings.add("syntax", f"{len(values)} fields where the header has {len(header)}", line)
            continue
        block.add(dict(zip(header, values, strict=True)), line, sum(map(len, values)))
        if block.full:
            yield block
            block = Block()
    yield block


def _again(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _decoded(path: Path, findings: Findings) -> Iterator[str]:
    with path.open("rb") as stream:
        for number, line in numbered_lines(stream):
            if line is None:
                findings.add("too-long", f"a line of more than {LONGEST_ROW >> 20} MB", number)
                continue
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            try:
                yield text.decode()
            except UnicodeDecodeError as error:
                fault = f"not UTF-8 ({error.reason}, byte 0x{text[error.start]:02x})"
                findings.add("encoding", fault, number, error.start + 1)
                yield text.decode(errors="replace")


def _header_problem(header: list[str]) -> str:
    if not header:
        return ""
    if any(not name.strip() for name in header):
        return "a column without a name in the first line"
    twice = [name for name in header if header.count(name) > 1]
    return f"two columns named `{twice[0]}`" if twice else ""


def _fields(reader: Any, findings: Findings) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each row with the line that it begins in; faults of quoting are told and passed over."""
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            text = str(error)
            open_quote = "unexpected end of data" in text or "field larger" in text
            findings.add("syntax", "a quote that begins here is never closed" if open_quote else text, line)
        else:
            if values:
                yield line, values


def read_parquet(path: Path, findings: Findings) -> Iterator[Block]:
    """Read a Parquet file; lines are numbers of rows."""

    def batches() -> Iterator[Any]:
        import pyarrow.parquet

        yield from pyarrow.parquet.ParquetFile(path, memory_map=False).iter_batches(batch_size=_BATCH_ROWS)

    return _from_arrow(batches, path, findings)


def read_arrow(path: Path, findings: Findings) -> Iterator[Block]:
    """Read an Arrow file, of either of its two layouts; lines are numbers of rows."""

    def batches() -> Iterator[Any]:
        import pyarrow.ipc

        with path.open("rb") as stream:
            if stream.read(6) == b"ARROW1":
                reader = pyarrow.ipc.open_file(stream)
                yield from (reader.get_batch(index) for index in range(reader.num_record_batches))
            else:
                stream.seek(0)
                yield from pyarrow.ipc.open_stream(stream)

    return _from_arrow(batches, path, findings)


def _from_arrow(batches: Callable[[], Iterator[Any]], path: Path, findings: Findings) -> Iterator[Block]:
    try:
        import pyarrow
    except ImportError:
        raise TaskError(f"reading {path.suffix} needs pyarrow", "scaffolder setup") from None
    number = 1
    try:
        for batch in batches():
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                rows = batch.slice(start, _BATCH_ROWS).to_pylist()
                size = batch.nbytes * len(rows) // max(batch.num_rows, 1)
                yield Block(rows, list(range(number, number + len(rows))), size)
                number += len(rows)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        message = (str(error).splitlines() or [type(error).__name__])[0]
        findings.add("unreadable", f"cannot be read: {message}", number if number > 1 else None)


READERS: dict[str, Callable[[Path, Findings], Iterator[Block]]] = {
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
}
