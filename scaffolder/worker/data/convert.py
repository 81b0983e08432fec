"""Import files of any known format into one JSON Lines file."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..explain import TaskError
from . import encoding, shapes
from .findings import Findings
from .tables import READERS, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..channel import Channel
    from .shapes import Shape

_TEXTS = (".txt", ".md", ".rst", ".text")
_TABLES_OF_ARROW = (".parquet", ".arrow", ".feather")


def import_files(job: dict[str, Any], channel: Channel) -> None:
    """Write the examples of `job["source"]`, a file or a folder, to `job["output"]`; reports once as `imported`.

    The job: `source`, `output`, `temporary`, `encoding` or None, `limit` or None, and the columns chosen: `prompt`
    with `response`, `messages`, `text`, and `keep` (more columns as they are).

    Raises:
        TaskError: No file is readable, or no shape fits its columns.
    """
    source, output = Path(job["source"]), Path(job["output"])
    writer = _Writer(job)
    with (
        tempfile.TemporaryDirectory(dir=job["temporary"]) as folder,
        output.open("w", encoding="utf-8", newline="\n") as stream,
    ):
        for path in _files(source):
            name = path.name if source.is_file() else path.relative_to(source).as_posix()
            findings = Findings(name)
            for row, line in _rows(path, name, findings, job.get("encoding"), Path(folder), writer):
                writer.write(row, line, findings, stream)
                if writer.full:
                    break
            writer.findings.append(findings)
            channel.emit("rows", file=name, rows=writer.rows)
            if writer.full:
                break
    writer.finish()
    channel.emit(
        "imported",
        rows=writer.rows,
        left_out=sum(finding["count"] for found in writer.findings for finding in found.listed()),
        shapes=dict(writer.shapes),
        columns=list(writer.columns),
        encodings=dict(writer.encodings),
        findings=[finding for found in writer.findings for finding in found.listed()],
    )


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    known = {*READERS, *_TEXTS}
    found = sorted(p for p in source.rglob("*") if p.is_file() and p.suffix.lower() in known and p.name[0] != ".")
    if not found:
        raise TaskError(f"{source.name}/ holds no file of a known format", f"known: {', '.join(sorted(known))}")
    return found


class _Writer:
    """Turns rows into the wanted columns and writes them."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._shape: Shape | None = _chosen(job)
        self.rows = 0
        self.findings: list[Findings] = []
        self.shapes: Counter[str] = Counter()
        self.encodings: Counter[str] = Counter()
        self.columns: dict[str, None] = {}
        self._not_kept = set(job.get("keep", ()))

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self._job.get("limit") is not None and self.rows >= self._job["limit"]

    def write(self, row: dict[str, Any], line: int, findings: Findings, stream: IO[str]) -> None:
        """Write a row, or tell why not."""
        shape = self._shape or shapes.recognise(row, self._job.get("messages"))
        if shape is None:
            has = shapes.named(row)
            message = f"no known shape; this row has the columns {has}: choose with --prompt and --response"
            findings.add("missing-column", message, line)
            return
        try:
            wanted = shape.convert(row)
            kept = {name: row.get(name) for name in self._job.get("keep", ())}
            text = json.dumps({**wanted, **kept}, ensure_ascii=False, allow_nan=False, default=str)
            text.encode()
        except UnicodeEncodeError:
            findings.add("encoding", "half a character (a lone surrogate)", line)
        except ValueError as error:
            findings.add("no-text", str(error), line)
        else:
            stream.write(text + "\n")
            self.rows += 1
            self.shapes[f"{shape.name} ({shape.told})"] += 1
            self.columns.update(dict.fromkeys((*shape.columns, *kept)))
            self._not_kept -= row.keys()

    def finish(self) -> None:
        """Refuse to have kept columns that there are not.

        Raises:
            TaskError: No row had one of them.
        """
        if self.rows and self._not_kept:
            names = ", ".join(f"`{name}`" for name in sorted(self._not_kept))
            raise TaskError(f"no row has the column {names}", "--keep takes the names of columns as they are")


def _chosen(job: dict[str, Any]) -> Shape | None:
    """Return the shape that the columns named make; messages are recognised row by row."""
    if job.get("prompt") or job.get("response"):
        return shapes.pair(job.get("prompt") or "prompt", job.get("response") or "response")
    return shapes.plain(job["text"]) if job.get("text") else None


def _rows(
    path: Path, name: str, findings: Findings, named: str | None, folder: Path, writer: _Writer
) -> Iterator[tuple[dict[str, Any], int]]:
    suffix = path.suffix.lower()
    if suffix in _TABLES_OF_ARROW:
        readable, used = path, ""
    else:
        readable, used = _readable(path, named, folder)
        writer.encodings[used] += 1
    if suffix in _TEXTS:
        content = readable.read_text(encoding="utf-8-sig")
        if content.strip():
            yield {"text": content, "source": name}, 1
        else:
            findings.add("no-text", "holds no text")
        return
    for block in read_rows(readable, findings):
        yield from zip(block.rows, block.lines, strict=True)


def _readable(path: Path, named: str | None, folder: Path) -> tuple[Path, str]:
    """Return a file in UTF-8 with the same content, and the encoding it was read in."""
    used = named or encoding.detect(path)
    if used.replace("_", "-").lower() in ("utf-8", "utf-8-sig", "utf8"):
        return path, "utf-8"
    copy = folder / f"copy{path.suffix.lower()}"
    encoding.to_utf8(path, used, copy)
    return copy, used
