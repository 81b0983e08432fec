from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaffolder.errors import ConfigError
from scaffolder.oliveconfig import dumps, parse, read

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def root_of(document):
    return document.root


@settings(deadline=None)  # shared machines pause
@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_reads_what_the_standard_library_writes(value):
    document = parse(dumps(value))
    assert document.problems == ()
    assert document.data() == json.loads(json.dumps(value))


def test_knows_the_place_of_every_key_and_value():
    document = parse('{\n  "a": 1,\n  "b": {"c": [true,\n    "x"]}\n}')
    a = root_of(document).get("a")
    assert (a.key_line, a.key_column, a.line, a.column) == (2, 3, 2, 8)
    c = root_of(document).get("b", "c")
    assert (c.key_line, c.key_column, c.line, c.column) == (3, 9, 3, 14)
    assert (c.items[1].line, c.items[1].column) == (4, 5)
    assert [item.path for item in c.items] == ["b.c.0", "b.c.1"]


def test_counts_lines_of_every_operating_system():
    document = parse('{\r\n"a": 1,\r"b": 2,\n"c": 3}')
    assert [node.line for node in root_of(document).members.values()] == [2, 3, 4]


def test_counts_columns_by_character_not_by_byte():
    document = parse('{"größe": "ü", "b": 1}')
    assert root_of(document).get("b").key_column == 16


def test_reads_comments_and_trailing_commas_and_says_that_olive_does_not():
    text = '// head\n{ /* in\nside */ "a": [1, 2,], // tail\n "b": "http://x/*no*/", }\n// end'
    document = parse(text)
    assert document.data() == {"a": [1, 2], "b": "http://x/*no*/"}
    assert [(problem.severity, problem.line) for problem in document.problems] == [("warning", 1)]


def test_keeps_quiet_about_plain_json():
    assert parse('{"a": "// no comment"}').problems == ()


@pytest.mark.parametrize("text", ["\ufeff{}", "{}\n\n", " { } ", "\t{\n}"], ids=["mark", "lines", "spaces", "tabs"])
def test_reads_an_empty_configuration(text):
    document = parse(text)
    assert document.data() == {}
    assert document.problems == ()


def test_reports_a_key_given_twice_at_its_second_place():
    document = parse('{\n "a": {"b": 1,\n  "b": 2}}', file="x.json")
    (problem,) = document.problems
    assert (problem.file, problem.line, problem.column, problem.key) == ("x.json", 3, 3, "a.b")
    assert "first on line 2" in problem.message
    assert document.data() == {"a": {"b": 2}}


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "end of the file"),
        ("{", 1, 2, "`}` is missing for line 1"),
        ('{\n "a": 1\n "b": 2}', 3, 2, "expected `,` or `}`"),
        ('{"a" 1}', 1, 6, "expected `:`"),
        ("{'a': 1}", 1, 2, "key in double quotes"),
        ("{a: 1}", 1, 2, "key in double quotes"),
        ('{"a": True}', 1, 7, "`True` is no JSON value"),
        ('{"a": NaN}', 1, 7, "`NaN` is no JSON value"),
        ('{"a": .5}', 1, 7, "expected a value"),
        ('{"a": }', 1, 7, "expected a value"),
        ('{"a": "x}', 1, 7, "unterminated string"),
        ('{"a": "x\ny"}', 1, 9, "invalid control character"),
        ('{"a": "\\x"}', 1, 8, "invalid \\escape"),
        ('{"a": [1, 2}', 1, 12, "expected `,` or `]`"),
        ('{"a": [,]}', 1, 8, "expected a value"),
        ('{"a": 1} x', 1, 10, "after the end"),
        ("/* {}", 1, 1, "comment is never closed"),
        ('{"a": 01}', 1, 8, "expected `,`"),
        ("[" * 200, 1, 102, "nested deeper"),
        ('{"a": ' + "1" * 5000 + "}", 1, 7, "number is too long"),
    ],
)
def test_says_where_text_stops_being_json(text, line, column, message):
    document = parse(text)
    assert document.root is None
    assert document.data() == {}
    problem = [found for found in document.problems if found.severity == "error"][-1]
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)


def test_reads_a_file_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read(path, name="a.json").file == "a.json"
    assert read(path).data() == {"a": 1}


def test_a_missing_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        read(tmp_path / "a.json")


def test_a_file_that_is_not_utf8_is_a_configuration_error(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ConfigError, match="not UTF-8"):
        read(path)


def test_a_folder_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path)


def test_writes_two_spaces_and_a_line_feed_at_the_end():
    assert dumps({"a": {"b": "ü"}}) == '{\n  "a": {\n    "b": "ü"\n  }\n}\n'
