"""Merges of TOML by key keep comments and order."""

import tomllib

from scaffolder.merging.tomltext import is_sound_toml, merge_toml

BASE = '[a]\n# about x\nx = 1\ny = 2 # hi\n\n[b]\nz = "q"\n'


def test_changed_value_and_new_key_and_table_go_together():
    theirs = BASE.replace("y = 2 # hi\n", "y = 2 # hi\nnew = 4\n") + "\n[c]\n# why\nk = [1]\n"
    merged, conflicts = merge_toml(BASE, BASE.replace("x = 1", "x = 7"), theirs)
    assert conflicts == []
    assert "# about x\nx = 7\ny = 2 # hi\n" in merged
    assert "[c]\n# why\nk = [1]\n" in merged
    assert tomllib.loads(merged)["a"] == {"x": 7, "y": 2, "new": 4}


def test_both_changing_a_key_is_a_conflict_by_name():
    ours, theirs = BASE.replace("x = 1", "x = 2"), BASE.replace("x = 1", "x = 3")
    assert merge_toml(BASE, ours, theirs) == (None, ["a.x"])
    assert merge_toml(BASE, ours, theirs, prefer="theirs") == (theirs, [])


def test_removed_key_goes():
    merged, _ = merge_toml(BASE, BASE.replace('"q"', '"w"'), BASE.replace("y = 2 # hi\n", ""))
    assert tomllib.loads(merged) == {"a": {"x": 1}, "b": {"z": "w"}}


def test_what_cannot_be_read_is_left_to_lines():
    assert merge_toml(BASE, "[a", BASE + "\nq = 1\n") == (None, [])
    assert not is_sound_toml("a = 1\na = 2\n")
