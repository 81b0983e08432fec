"""What a merge of trees does with each kind of change."""

import pytest

from scaffolder.errors import UsageError
from scaffolder.merging import merge_trees, read_choices

TEXT = "".join(f"line {number}\n" for number in range(12))
CONFIG = '{\n  "rate": 1, // how fast\n  "steps": 10\n}\n'


@pytest.fixture
def merge(bench):
    def run(base, ours, theirs, *choices):
        found = merge_trees(bench.workspace, *map(bench.tree, (base, ours, theirs)), read_choices(list(choices)))
        return found, bench.files(found.tree)

    return run


def test_changes_in_different_places_go_together(merge):
    ours, theirs = TEXT.replace("line 2\n", "mine\n"), TEXT.replace("line 9\n", "new\n")
    found, files = merge({"a": TEXT}, {"a": ours}, {"a": theirs})
    assert found.conflicts == ()
    assert files["a"].decode() == ours.replace("line 9\n", "new\n")


def test_neighbouring_keys_are_no_conflict(merge):
    ours, theirs = CONFIG.replace(": 1,", ": 2,"), CONFIG.replace('"steps": 10', '"steps": 10,\n  "warmup": 3')
    theirs = theirs.replace("// how fast", "// how fast it learns")
    found, files = merge({"c.json": CONFIG}, {"c.json": ours}, {"c.json": theirs})
    assert found.conflicts == ()
    assert files["c.json"].decode() == ours.replace("10", '10,\n  "warmup": 3')


def test_same_key_is_a_conflict_with_its_name(merge):
    ours, theirs = CONFIG.replace(": 1,", ": 2,"), CONFIG.replace(": 1,", ": 3,")
    found, files = merge({"c.json": CONFIG}, {"c.json": ours}, {"c.json": theirs})
    [conflict] = found.conflicts
    assert (conflict.path, conflict.kind, conflict.keys) == ("c.json", "keys", ("rate",))
    assert files["c.json"].decode() == ours


@pytest.mark.parametrize(("mode", "expected"), [("ours", "mine\n"), ("theirs", "new\n")])
def test_settled_conflict_keeps_what_did_not_conflict(merge, mode, expected):
    ours = TEXT.replace("line 2\n", "mine\n").replace("line 6\n", "also mine\n")
    theirs = TEXT.replace("line 2\n", "new\n").replace("line 10\n", "also new\n")
    found, files = merge({"a": TEXT}, {"a": ours}, {"a": theirs}, mode)
    assert found.open == ()
    assert {expected, "also mine\n", "also new\n"} <= set(files["a"].decode().splitlines(keepends=True))


def test_rejected_part_is_a_patch_beside_the_file(merge):
    found, files = merge({"a": "x\n"}, {"a": "mine\n"}, {"a": "new\n"}, "rej")
    assert files["a"] == b"mine\n"
    assert files["a.rej"].endswith(b"-mine\n+new\n")
    assert len(found.open) == 1


def test_choice_for_a_path_comes_before_the_general_one(merge):
    base, ours, theirs = ({"a": f"{x}\n", "b": f"{x}\n"} for x in "xyz")
    _, files = merge(base, ours, theirs, "ours", "b=theirs")
    assert (files["a"], files["b"]) == (b"y\n", b"z\n")


def test_unknown_choice_is_refused():
    with pytest.raises(UsageError, match="mine"):
        read_choices(["a=mine"])


def test_edit_follows_a_renamed_file(merge):
    found, files = merge({"a": TEXT}, {"a": TEXT + "mine\n"}, {"b": TEXT})
    assert found.conflicts == ()
    assert files == {"b": (TEXT + "mine\n").encode()}


def test_file_that_the_user_moved_gets_the_change(merge):
    found, files = merge({"a": TEXT}, {"b": TEXT}, {"a": TEXT + "new\n"})
    assert found.conflicts == ()
    assert files == {"b": (TEXT + "new\n").encode()}


def test_file_that_both_moved_is_one_conflict(merge):
    found, _ = merge({"a": TEXT}, {"b": TEXT}, {"c": TEXT})
    [conflict] = found.conflicts
    assert conflict.path == "a | b | c"


@pytest.mark.parametrize("renamed", [False, True])
def test_file_that_the_user_deleted_stays_deleted(merge, renamed):
    theirs = {"b" if renamed else "a": TEXT + "new\n", "z": "z\n"}
    found, files = merge({"a": TEXT, "z": "z\n"}, {"z": "z\n"}, theirs)
    assert found.conflicts == ()
    assert found.stayed_deleted == ("b" if renamed else "a",)
    assert files == {"z": b"z\n"}


def test_changed_file_that_the_template_deleted_is_a_conflict(merge):
    base, ours = {"a": TEXT, "z": "z\n"}, {"a": TEXT + "mine\n", "z": "z\n"}
    found, files = merge(base, ours, {"z": "z\n"})
    assert [conflict.kind for conflict in found.conflicts] == ["deleted by the template"]
    assert files["a"].endswith(b"mine\n")
    assert "a" not in merge(base, ours, {"z": "z\n"}, "theirs")[1]


def test_untouched_file_that_the_template_deleted_goes(merge):
    _, files = merge({"a": TEXT, "z": "z\n"}, {"a": TEXT, "z": "mine\n"}, {"z": "z\n"})
    assert files == {"z": b"mine\n"}


def test_binary_files_are_whole(merge):
    base, ours, theirs = ({"a": bytes([0, number]) * 40} for number in (1, 2, 3))
    found, files = merge(base, ours, theirs)
    assert [conflict.kind for conflict in found.conflicts] == ["binary"]
    assert files["a"] == ours["a"]
    assert merge(base, ours, theirs, "theirs")[1]["a"] == theirs["a"]
    assert merge(base, base, theirs)[1]["a"] == theirs["a"]


def test_other_line_endings_are_kept(merge):
    ours = TEXT.replace("line 2\n", "mine\n").replace("\n", "\r\n")
    found, files = merge({"a": TEXT}, {"a": ours}, {"a": TEXT.replace("line 9\n", "new\n")})
    assert found.conflicts == ()
    assert files["a"].decode() == ours.replace("line 9\r\n", "new\r\n")


def test_both_adding_a_file_is_a_conflict(merge):
    found, files = merge({"z": "z\n"}, {"z": "z\n", "a": "mine\n"}, {"z": "z\n", "a": "new\n"})
    assert [conflict.kind for conflict in found.conflicts] == ["added by both"]
    assert files["a"] == b"mine\n"


def test_file_where_the_user_has_a_folder_is_a_conflict(merge):
    found, files = merge({"z": "z\n"}, {"z": "z\n", "a/b": "mine\n"}, {"z": "q\n", "a": "new\n"})
    assert len(found.conflicts) == 1
    assert files["a/b"] == b"mine\n"


def test_lines_that_merge_into_broken_json_are_merged_by_key(merge):
    base = '{\n  "a": 1,\n\n\n\n\n\n  "z": 1\n}\n'
    ours = base.replace('"a": 1,', '"a": 1,\n  "new": 2,')
    theirs = base.replace('"z": 1', '"new": 3,\n  "z": 1')
    found, files = merge({"c.json": base}, {"c.json": ours}, {"c.json": theirs})
    assert [conflict.keys for conflict in found.conflicts] == [("new",)]
    assert files["c.json"].decode() == ours


def test_markers_show_all_three_sides(merge):
    found, files = merge({"a": "x\n"}, {"a": "mine\n"}, {"a": "new\n"}, "inline")
    assert files["a"] == b"<<<<<<< yours\nmine\n||||||| before\nx\n=======\nnew\n>>>>>>> template\n"
    assert sorted(found.unmerged["a"]) == [1, 2, 3]
