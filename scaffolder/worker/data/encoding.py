"""Text files in whatever encoding: told apart, and turned into UTF-8."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from ..explain import TaskError

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1 << 20
# What files without a mark are in, in practice; free to choose, the guess takes rare ones that look alike.
_USUAL = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"]
_USUAL += ["utf_16_le", "utf_16_be"]
# Longer marks first: UTF-32's begins like UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def marked(path: Path) -> str | None:
    """Return the encoding that a byte order mark names, or None where there is no mark."""
    with path.open("rb") as stream:
        start = stream.read(4)
    return next((name for mark, name in _MARKS if start.startswith(mark)), None)


def detect(path: Path) -> str:
    """Return the encoding of a text file.

    The mark where there is one, UTF-8 where all of it is valid, else charset-normalizer's guess on the first
    megabyte, else Windows-1252, the commonest of the rest.
    """
    return marked(path) or ("utf-8" if _is_utf8(path) else _guess(path))


def to_utf8(path: Path, encoding: str, output: Path) -> None:
    """Write a copy in UTF-8.

    Raises:
        TaskError: The encoding is unknown, or the file is not in it.
    """
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError as error:
        raise TaskError(f"unknown encoding `{encoding}`", "a name such as utf-8, utf-16, cp1252, latin-1") from error
    with path.open("rb") as source, output.open("w", encoding="utf-8", newline="") as target:
        try:
            while chunk := source.read(_CHUNK):
                target.write(decoder.decode(chunk))
            target.write(decoder.decode(b"", final=True))
        except UnicodeError as error:
            raise TaskError(f"{path.name} is not {encoding}: {error}", "name its encoding with --encoding") from error


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as stream:
        try:
            while chunk := stream.read(_CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _guess(path: Path) -> str:
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        return "cp1252"
    with path.open("rb") as stream:
        best = from_bytes(stream.read(_CHUNK), cp_isolation=_USUAL).best()
    return best.encoding if best else "cp1252"
