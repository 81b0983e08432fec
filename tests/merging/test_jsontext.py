"""Merges of JSON by key keep comments, order and layout."""

import pytest

from scaffolder.merging.jsontext import is_sound_json, merge_json

BASE = """\
{
  "rate": 1, // how fast
  "list": [1, 2],
  "last": true
}
"""


def test_changed_value_and_new_key_go_together():
    theirs = BASE.replace('"list"', '"new": {"a": 1},\n  "list"')
    merged, conflicts = merge_json(BASE, BASE.replace(": 1,", ": 2,"), theirs)
    assert conflicts == []
    assert merged == BASE.replace(": 1, // how fast", ': 2, // how fast\n  "new": {\n    "a": 1\n  },')


def test_both_changing_a_key_is_a_conflict_by_name():
    ours, theirs = BASE.replace(": 1,", ": 2,"), BASE.replace(": 1,", ": 3,")
    assert merge_json(BASE, ours, theirs) == (None, ["rate"])
    assert merge_json(BASE, ours, theirs, prefer="ours") == (ours, [])
    assert merge_json(BASE, ours, theirs, prefer="theirs") == (theirs, [])


def test_key_after_the_last_one_gets_the_comma():
    theirs = BASE.replace("true\n", 'true,\n  "end": null\n')
    merged, _ = merge_json(BASE, BASE.replace(": 1,", ": 5,"), theirs)
    assert merged == theirs.replace(": 1,", ": 5,")


@pytest.mark.parametrize("key", ["rate", "list", "last"])
def test_removed_key_goes_with_its_line(key):
    theirs = "".join(line for line in BASE.splitlines(keepends=True) if f'"{key}"' not in line)
    theirs = theirs.replace("2],\n}", "2]\n}")
    ours = BASE.replace("{\n", '{\n  // mine\n  "own": 1,\n', 1)
    merged, conflicts = merge_json(BASE, ours, theirs)
    assert conflicts == []
    assert merged == theirs.replace("{\n", '{\n  // mine\n  "own": 1,\n', 1)


def test_one_line_objects_stay_on_one_line():
    merged, _ = merge_json('{"a": 1, "b": 2}', '{"a": 9, "b": 2}', '{"a": 1, "b": 2, "c": 3}')
    assert merged == '{"a": 9, "b": 2, "c": 3}'


def test_entries_of_lists_of_one_length_are_merged_each():
    base = '[{"name": "train", "n": 1}, {"name": "eval", "n": 1}]'
    merged, _ = merge_json(
        base, base.replace('train", "n": 1', 'train", "n": 2'), base.replace('eval", "n": 1', 'eval", "n": 3')
    )
    assert merged == '[{"name": "train", "n": 2}, {"name": "eval", "n": 3}]'


def test_changed_here_and_removed_there_is_a_conflict():
    base, ours, theirs = '{"a": {"b": 1}}', '{"a": {"b": 2}}', '{"a": {}}'
    assert merge_json(base, ours, theirs) == (None, ["a.b"])


def test_true_is_not_one():
    assert merge_json('{"a": 1}', '{"a": 1}', '{"a": true}') == ('{"a": true}', [])


@pytest.mark.parametrize("text", ["{", '{"a": 1, "a": 2}', "\ufeff{}"])
def test_what_cannot_be_read_is_left_to_lines(text):
    assert merge_json("{}", text, '{"a": 1}') == (None, [])
    assert not is_sound_json("{")
    assert not is_sound_json('{"a": 1, "a": 2}')
