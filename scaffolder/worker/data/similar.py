"""Rows that are the same or nearly the same, in memory that does not grow with the files.

Two examples are nearly the same when the sets of their shingles (5 bytes of the text in lower case, without spaces
and punctuation) overlap by a Jaccard similarity of 0.8 or more: 5 is the size that Leskovec, Rajaraman, Ullman,
"Mining of Massive Datasets", 3.2.2, give for short documents, and 0.8 is the threshold of Lee et al. 2022,
"Deduplicating Training Data Makes Language Models Better". Signatures are MinHash by one permutation
(Li, Owen, Zhang 2012) with 128 bins, empty bins filled as Shrivastava 2017 does; 21 bands of 6 bins find
candidates, which the share of equal bins then judges. Measured on pairs of known similarity, see
`tests/data/test_similar.py`: of pairs at 0.85 and above all are found.

Band keys lie in temporary files, parted by their first bits: sorting one part at a time finds what is equal.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

THRESHOLD = 0.8
# Estimates of 128 bins scatter by 0.035 at 0.8; judged a little lower, hardly a pair at 0.8 is missed.
_MARGIN = 0.05
_SHINGLE = 5
# Shorter texts (letters and digits) have too few shingles to estimate by: they are compared as equal or not.
_SHORTEST = 48
_BINS = 128
_BANDS, _WIDTH = 21, 6
_PARTS = 64
# In larger buckets (rows that share a whole frame) a row is compared with this many before it, and the first.
_BUCKET = 8
_BATCH_BYTES = 2 << 20
# Eight bytes of each of these take what a processor's cache holds.
_SIGNED_BYTES = 1 << 16
# Longer texts are compared by their beginnings.
_LONGEST = 1 << 18
_RECORD = np.dtype([("key", "<u8"), ("row", "<u4"), ("kind", "<u4")])
WHOLE, PROMPT, BAND = 0, 1, 2

# Bytes as compared: letters in lower case, digits, and all of UTF-8's longer characters; 0 is left out.
_TABLE = np.zeros(256, np.uint8)
_TABLE[128:] = np.arange(128, 256)
for _sign in b"0123456789abcdefghijklmnopqrstuvwxyz":
    _TABLE[_sign] = _sign
    _TABLE[ord(chr(_sign).upper())] = _sign


class Similar:
    """Collects rows, then tells which are equal or nearly so.

    Args:
        folder: Where its temporary files go; on a disk, since they take about 500 bytes a row.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="similar-", dir=folder))
        self._parts = [(self._folder / f"{part}.keys").open("w+b") for part in range(_PARTS)]
        self._signatures = (self._folder / "signatures").open("w+b")
        self.rows = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the temporary files."""
        for stream in (*self._parts, self._signatures):
            stream.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, texts: Sequence[bytes], prompts: Sequence[bytes | None]) -> None:
        """Add rows: the whole text of each, and its question where it has one; numbered from 0 as they come."""
        start = 0
        for end in _batches(texts):
            self._add(texts[start:end], prompts[start:end])
            start = end

    def _add(self, texts: Sequence[bytes], prompts: Sequence[bytes | None]) -> None:
        rows = np.arange(self.rows, self.rows + len(texts), dtype=np.uint32)
        squeezed = [text.translate(_LOWER, _LEFT_OUT) for text in texts]
        self._spill(_digests(squeezed), rows, WHOLE)
        asked = [(row, prompt) for row, prompt in zip(rows, prompts, strict=True) if prompt is not None]
        if asked:
            questions = [prompt.translate(_LOWER, _LEFT_OUT) for _, prompt in asked]
            self._spill(_digests(questions), np.array([row for row, _ in asked], np.uint32), PROMPT)
        signatures, filled = _signatures_of([text[:_LONGEST] for text in squeezed])
        self._signatures.write((signatures & 0xFF).astype(np.uint8).tobytes())
        bands = _band_keys(signatures)[filled]
        self._spill(bands.ravel(), np.repeat(rows[filled], _BANDS), BAND)
        self.rows += len(texts)

    def _spill(self, keys: Any, rows: Any, kind: int) -> None:
        records = np.empty(len(keys), _RECORD)
        records["key"], records["row"], records["kind"] = keys, rows, kind
        part = (keys % np.uint64(_PARTS)).astype(np.uint8)
        order = np.argsort(part, kind="stable")
        bounds = np.searchsorted(part[order], np.arange(_PARTS + 1))
        records = records[order]
        for index, stream in enumerate(self._parts):
            stream.write(records[bounds[index] : bounds[index + 1]].tobytes())

    def links(self, threshold: float = THRESHOLD - _MARGIN) -> Links:
        """Compare everything that was added; `near` are pairs whose estimated similarity reaches the threshold."""
        self._signatures.flush()
        same = np.concatenate([_to_first(records) for records in self._sorted(WHOLE)])
        asked = np.concatenate([_to_first(records) for records in self._sorted(PROMPT)])
        repeats = np.zeros(self.rows, bool)
        repeats[same[:, 1]] = True
        codes, similarity = [_NO_PAIRS[:, 0]], [np.empty(0)]
        for records in self._sorted(BAND):
            found, estimates = self._judged(_bucket_pairs(records[~repeats[records["row"]]]), threshold)
            codes.append(found)
            similarity.append(estimates)
        # A pair that meets in several bands was judged in each of their parts.
        unique, first = np.unique(np.concatenate(codes), return_index=True)
        return Links(same, asked, _decoded(unique), np.concatenate(similarity)[first])

    def _sorted(self, kind: int) -> Iterator[Any]:
        for stream in self._parts:
            stream.seek(0)
            records = np.fromfile(stream, _RECORD)
            records = records[records["kind"] == kind]
            # Rows came in their order: they stay in it among equal keys.
            yield records[np.argsort(records["key"], kind="stable")]

    def _judged(self, codes: Any, threshold: float) -> tuple[Any, Any]:
        """Keep the pairs whose signatures agree enough, with their estimated similarity."""
        kept, similarity = [_NO_PAIRS[:, 0]], [np.empty(0)]
        if not len(codes):
            return kept[0], similarity[0]
        signatures = np.memmap(self._signatures, np.uint8, "r", shape=(self.rows, _BINS))
        for start in range(0, len(codes), 1 << 15):
            chunk = codes[start : start + (1 << 15)]
            pairs = _decoded(chunk)
            agree = (signatures[pairs[:, 0]] == signatures[pairs[:, 1]]).mean(axis=1)
            # Bins agree by chance in one of 256 cases: only 8 bits of each are kept (Li and König 2010).
            estimate = (agree - 1 / 256) / (1 - 1 / 256)
            good = estimate >= threshold
            kept.append(chunk[good])
            similarity.append(estimate[good])
        return np.concatenate(kept), np.concatenate(similarity)


class Links:
    """Pairs of rows (earlier, later), each of shape (pairs, 2).

    Attributes:
        same: Equal once case, spaces and punctuation are left out; the earlier one is the first of all.
        asked: The same for their questions.
        near: Nearly the same, rows that are equal to an earlier one left out.
        similarity: Estimated Jaccard similarity of each pair of `near`.
    """

    def __init__(self, same: Any, asked: Any, near: Any, similarity: Any) -> None:
        self.same, self.asked, self.near, self.similarity = same, asked, near, similarity


_NO_PAIRS = np.empty((0, 2), np.int64)
_LOWER = bytes(_TABLE)
_LEFT_OUT = bytes(sign for sign in range(256) if not _TABLE[sign])


def _batches(texts: Sequence[bytes], least: int = _BATCH_BYTES) -> Iterator[int]:
    """Yield where batches of about `least` bytes end."""
    size = 0
    for index, text in enumerate(texts):
        if size > least:
            yield index
            size = 0
        size += len(text)
    if texts:
        yield len(texts)


def _digests(texts: Sequence[bytes]) -> Any:
    return np.frombuffer(b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts), "<u8")


def _signatures_of(texts: Sequence[bytes]) -> tuple[Any, Any]:
    """Return the signatures, of shape (rows, bins), and which rows are long enough for one."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    filled = lengths >= _SHORTEST
    # One row more takes what begins in one text and ends in the next.
    signatures = np.full((len(texts) + 1, _BINS), _EMPTY, np.uint64)
    start = 0
    for end in _batches(texts, _SIGNED_BYTES):
        _least_hashes(texts[start:end], lengths[start:end], signatures[start:], beyond=len(texts) - start)
        start = end
    signatures = signatures[:-1]
    _fill(signatures, filled)
    return signatures, filled


def _least_hashes(texts: Sequence[bytes], lengths: Any, signatures: Any, *, beyond: int) -> None:
    """Put the least hash of each bin into the signatures of some rows; those of no row go to the row `beyond`."""
    joined = b"".join(texts)
    if len(joined) < _SHINGLE:
        return
    count = len(joined) - _SHINGLE + 1
    # Every position read as a number of 8 bytes, of which a shingle is the first ones.
    hashes = np.ndarray((count,), "<u8", joined + bytes(8 - _SHINGLE), strides=(1,)) & _SHINGLE_MASK
    # Two rounds of multiplying and folding spread them over all bits, as MurmurHash3's finaliser does.
    hashes *= _SPREAD[0]
    hashes ^= hashes >> np.uint64(32)
    hashes *= _SPREAD[1]
    inside = np.maximum(lengths - _SHINGLE + 1, 0)
    places = np.empty((len(texts), 2), np.int64)
    places[:, 0], places[:, 1] = np.arange(len(texts)), beyond
    cells = np.repeat(places.ravel() * _BINS, np.stack([inside, lengths - inside], axis=1).ravel())[:count]
    cells += (hashes >> _BIN_SHIFT).view(np.int64)
    hashes &= _VALUE_MASK
    np.minimum.at(signatures.reshape(-1), cells, hashes)


_EMPTY = np.uint64(2**64 - 1)
_SHINGLE_MASK = np.uint64(2 ** (8 * _SHINGLE) - 1)
_SPREAD = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_BIN_SHIFT = np.uint64(57)
_VALUE_MASK = np.uint64(2**57 - 1)


def _fill(signatures: Any, filled: Any) -> None:
    """Give each empty bin the value of one that is not, the same choice in every row."""
    full = signatures != _EMPTY
    rows, bins = np.nonzero(~full & filled[:, None])
    attempt = 0
    while len(rows):
        attempt += 1
        chosen = _mix(bins.astype(np.uint64) + np.uint64(attempt * _BINS)) % np.uint64(_BINS)
        chosen = chosen.astype(np.int64)
        found = full[rows, chosen]
        signatures[rows[found], bins[found]] = signatures[rows[found], chosen[found]]
        rows, bins = rows[~found], bins[~found]


def _band_keys(signatures: Any) -> Any:
    keys = np.broadcast_to(np.arange(_BANDS, dtype=np.uint64), (len(signatures), _BANDS)).copy()
    for column in range(_WIDTH):
        keys = _mix(keys ^ signatures[:, column : _BANDS * _WIDTH : _WIDTH])
    return keys


def _mix(values: Any) -> Any:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014), which spreads every bit over all."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _starts(keys: Any) -> Any:
    """Return, for each sorted key, where the run of its equals begins."""
    first = np.ones(len(keys), bool)
    first[1:] = keys[1:] != keys[:-1]
    return np.maximum.accumulate(np.where(first, np.arange(len(keys)), 0))


def _to_first(records: Any) -> Any:
    """Pair each row with the first of its bucket."""
    starts = _starts(records["key"])
    later = starts != np.arange(len(records))
    return np.stack([records["row"][starts[later]], records["row"][later]], axis=1).astype(np.int64)


def _bucket_pairs(records: Any) -> Any:
    """Pair each row with up to `_BUCKET` rows before it in its bucket, and with the bucket's first one; as codes."""
    starts = _starts(records["key"])
    rank = np.arange(len(records)) - starts
    rows = records["row"].astype(np.int64)
    codes = [_NO_PAIRS[:, 0]]
    for before in range(1, _BUCKET + 1):
        later = np.flatnonzero(rank >= before)
        codes.append(rows[later - before] << 32 | rows[later])
    far = np.flatnonzero(rank > _BUCKET)
    codes.append(rows[starts[far]] << 32 | rows[far])
    return np.unique(np.concatenate(codes))


def _decoded(codes: Any) -> Any:
    """Return pairs of shape (pairs, 2) from their codes: the earlier row above 32 bits, the later one below."""
    return np.stack([codes >> 32, codes & 0xFFFFFFFF], axis=1)
