"""Files of examples as they arrive: most broken in one known way, some only unusual; the same from every run."""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass

ROWS = 12


@dataclass(frozen=True)
class Mangled:
    """A file's content, and what has to be said of it: an error of a kind at a line, or all rows read."""

    name: str
    content: bytes
    kind: str | None = None
    line: int | None = None
    good: int | None = None


def rows(draw):
    return [
        {"prompt": f"What is {draw.randrange(10**9)}?", "response": f"It is {draw.randrange(10**9)}."}
        for _ in range(ROWS)
    ]


def json_lines(found):
    return [json.dumps(row).encode() for row in found]


def with_line(draw, change):
    """JSON Lines in which one line is changed; returns the content and the line's number."""
    lines = json_lines(rows(draw))
    at = draw.randrange(ROWS)
    lines[at] = change(lines[at])
    return b"\n".join(lines) + b"\n", at + 1


def broken_line(kind, change, ending="jsonl"):
    def make(draw, name):
        content, line = with_line(draw, lambda text: change(draw, text))
        return Mangled(f"{name}.{ending}", content, kind, line, ROWS - 1)

    return make


def cut(draw, line):
    return line[: draw.randrange(1, len(line) - 1)]


def altered(**values):
    def change(draw, line):
        return json.dumps({**json.loads(line), **{key: draw.choice(choice) for key, choice in values.items()}}).encode()

    return change


def csv_rows(draw, delimiter=","):
    lines = [delimiter.join(("prompt", "response")).encode()]
    return lines + [delimiter.join((row["prompt"], f'"{row["response"]}"')).encode() for row in rows(draw)]


def csv_line(kind, change):
    def make(draw, name):
        lines = csv_rows(draw)
        at = draw.randrange(1, ROWS)
        lines[at] = change(lines[at])
        return Mangled(f"{name}.csv", b"\n".join(lines) + b"\n", kind, at + 1)

    return make


def csv_multiline(draw, name):
    lines = [b"prompt,response"] + [b'"two\nlines, and ""quotes""","x\r\ny"' for _ in range(ROWS)]
    return Mangled(f"{name}.csv", b"\r\n".join(lines) + b"\r\n", good=ROWS)


def delimited(draw, name):
    delimiter, ending = draw.choice([(";", "csv"), ("\t", "tsv"), ("|", "csv"), ("\t", "csv")])
    return Mangled(f"{name}.{ending}", b"\xef\xbb\xbf" + b"\n".join(csv_rows(draw, delimiter)), good=ROWS)


def array(change, kind, line):
    """One JSON array, one element a line, from line 2 on."""

    def make(draw, name):
        at = draw.randrange(ROWS - 1)
        elements = json_lines(rows(draw))
        content = change(elements, at)
        return Mangled(f"{name}.json", content, kind, line(at) if line else None, None if kind else ROWS)

    return make


def joined(elements):
    return b"[\n" + b",\n".join(elements) + b"\n]\n"


def changed(at, elements, element):
    return joined([*elements[:at], element, *elements[at + 1 :]])


def pretty(draw, name):
    wrapped = draw.choice([rows(draw), {"version": 1, "data": rows(draw)}])
    return Mangled(f"{name}.json", json.dumps(wrapped, indent=draw.choice([1, 4])).encode(), good=ROWS)


def whole(kind, make_content, ending="jsonl", line=None):
    return lambda draw, name: Mangled(f"{name}.{ending}", make_content(draw), kind, line)


def unusual_lines(draw, name):
    """A byte order mark, line ends of Windows, blank lines, and separators that are no line ends of JSON Lines."""
    text = [json.dumps({**row, "more": "a\u2028b\x85c"}, ensure_ascii=False).encode() for row in rows(draw)]
    return Mangled(f"{name}.jsonl", b"\xef\xbb\xbf\r\n" + b"\r\n\r\n".join(text), good=ROWS)


def table(draw, ending):
    import pyarrow as pa
    import pyarrow.parquet

    found, sink = pa.Table.from_pylist(rows(draw)), io.BytesIO()
    if ending == "parquet":
        pyarrow.parquet.write_table(found, sink)
    else:
        with pa.ipc.new_file(sink, found.schema) as writer:
            writer.write_table(found)
    return sink.getvalue()


def damaged_table(ending):
    def make(draw, name):
        content = table(draw, ending)
        return Mangled(f"{name}.{ending}", content[: draw.randrange(8, len(content) - 8)], "unreadable")

    return make


def sound_table(draw, name):
    ending = draw.choice(["parquet", "arrow"])
    return Mangled(f"{name}.{ending}", table(draw, ending), good=ROWS)


def messages(kind, make_messages):
    """A file read with a column of messages; one conversation is wrong."""

    def make(draw, name):
        good = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}]
        found = [{"messages": good} for _ in range(ROWS)]
        at = draw.randrange(ROWS)
        found[at] = {"messages": make_messages(draw, good)}
        return Mangled(f"chat-{name}.jsonl", b"\n".join(json_lines(found)), kind, at + 1)

    return make


_DEEP = 200_000
KINDS = {
    "cut": broken_line("syntax", cut),
    "nul": broken_line("syntax", lambda _, line: line.replace(b"What", b"Wh\x00at")),
    "number": broken_line("no-text", altered(response=[3, 2.5, True])),
    "null": broken_line("no-text", altered(response=[None])),
    "list": broken_line("no-text", altered(prompt=[["a"], {"b": 1}])),
    "blank": broken_line("no-text", altered(response=["", " \n\t", "\u00a0"])),
    "renamed": broken_line("missing-column", lambda _, line: line.replace(b'"response"', b'"answer"')),
    "latin": broken_line("encoding", lambda _, line: line.replace(b"What", b"caf\xe9 What")),
    "half": broken_line("encoding", lambda _, line: line.replace(b"What", b"\\ud83d What")),
    "nan": broken_line("syntax", lambda _, line: line[:-1] + b', "score": NaN}'),
    "twice": broken_line("syntax", lambda _, line: line[:-1] + b', "prompt": "again"}'),
    "long-number": broken_line("syntax", lambda _, line: line[:-1] + b', "n": ' + b"9" * 5000 + b"}"),
    "a-list": broken_line("syntax", lambda _, line: b"[" + line + b"]"),
    "single-quotes": broken_line("syntax", lambda _, line: line.replace(b'"', b"'")),
    "deep": broken_line("syntax", lambda draw, _: draw.choice([b"[", b'{"a":']) * _DEEP),
    "huge": broken_line("too-long", lambda _, line: line[:-2] + b"x" * (17 << 20) + b'"}'),
    "csv-open-quote": csv_line("syntax", lambda line: line[:-1]),
    "csv-after-quote": csv_line("syntax", lambda line: line + b"and more"),
    "csv-fields": csv_line("syntax", lambda line: line + b",one,more"),
    "csv-latin": csv_line("encoding", lambda line: line.replace(b"What", b"caf\xe9")),
    "csv-empty": csv_line("no-text", lambda line: line.partition(b",")[0] + b","),
    "csv-header": whole("syntax", lambda draw: b"\n".join([b"prompt,prompt", *csv_rows(draw)[1:]]), "csv", 1),
    "csv-lines": csv_multiline,
    "csv-delimiter": delimited,
    "array": array(lambda e, _: joined(e), None, None),
    "array-broken": array(lambda e, at: changed(at, e, e[at][:-4]), "syntax", lambda at: at + 2),
    "array-number": array(lambda e, at: changed(at, e, b"17"), "syntax", lambda at: at + 2),
    "array-no-comma": array(lambda e, at: joined([*e[:at], e[at] + b"\n" + e[at + 1]]), "syntax", lambda at: at + 3),
    "array-open": array(lambda e, _: joined(e)[:-3], "syntax", None),
    "array-comma": array(lambda e, _: joined([*e, b""]), "syntax", lambda _: ROWS + 3),
    "pretty": pretty,
    "pretty-broken": whole("syntax", lambda draw: json.dumps({"data": rows(draw)}, indent=2).encode()[:-9], "json"),
    "utf-16": whole("encoding", lambda draw: b"\n".join(json_lines(rows(draw))).decode().encode("utf-16")),
    "utf-32": whole("encoding", lambda draw: b"\n".join(json_lines(rows(draw))).decode().encode("utf-32")),
    "noise": whole("encoding", lambda draw: b"\xff" + draw.randbytes(3000)),
    "zeros": whole("syntax", lambda draw: b"\n".join([*json_lines(rows(draw)), bytes(4000)]), line=ROWS + 1),
    "empty": whole("no-rows", lambda draw: draw.choice([b"", b"\n\n", b"\xef\xbb\xbf"])),
    "lines": unusual_lines,
    "parquet": damaged_table("parquet"),
    "arrow": damaged_table("arrow"),
    "table": sound_table,
    "role": messages("roles", lambda _, good: [{"role": "robot", "content": "Hi"}, *good]),
    "order": messages("roles", lambda draw, good: draw.choice([good[::-1], good[:1], [*good, *good[:1]]])),
    "late-system": messages("roles", lambda _, good: [*good, {"role": "system", "content": "x"}, *good]),
    "content": messages(
        "no-text", lambda draw, good: [good[0], {**good[1], "content": draw.choice([None, 3, [], ""])}]
    ),
    "keys": messages("roles", lambda draw, good: [good[0], draw.choice([{"from": "gpt", "value": "x"}, "text", 4])]),
    "no-list": messages("no-text", lambda draw, good: draw.choice([[], "text", {"role": "user"}, None])),
}
# Large ones: enough to see that nothing grows with them.
_FEW = {"huge": 2, "deep": 4}


def files(count: int, seed: int) -> list[Mangled]:
    """Return `count` files: each kind in turn, with other numbers and places each time."""
    draw, found, turn = random.Random(seed), [], 0
    while len(found) < count:
        for kind, make in KINDS.items():
            if len(found) < count and turn < _FEW.get(kind, count):
                found.append(make(draw, f"{kind}-{turn}"))
        turn += 1
    return found
