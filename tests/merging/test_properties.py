"""Random histories of a template against random edits of a user, over real git."""

import itertools
import json
import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaffolder.merging import merge_trees, read_choices

EXAMPLES = 200


def lines_of(content):
    return content.decode().splitlines()


class Author:
    """Makes random changes; every line is unlike any other, so that one that is lost is missed."""

    def __init__(self, random, name):
        self.random = random
        self.name = name
        self.count = 0

    def line(self):
        self.count += 1
        word = "".join(self.random.choices(string.ascii_lowercase, k=8))
        return f"{self.name} {self.count} {word}"

    def text(self):
        return [self.line() for _ in range(self.random.randint(3, 14))]

    def project(self):
        files = {f"folder/{name}.txt": self.text() for name in self.random.sample("abcdef", self.random.randint(1, 4))}
        return {**files, "settings.json": {f"key{number}": self.line() for number in range(self.random.randint(1, 6))}}

    def change(self, files):
        """Return the files after a few changes: of lines and keys, additions, deletions, renames."""
        files = {path: content.copy() for path, content in files.items()}
        for _ in range(self.random.randint(0, 4)):
            path = self.random.choice(sorted(files)) if files else None
            action = self.random.choice(["insert", "insert", "change", "remove", "add", "delete", "rename"])
            if path is None or action == "add":
                files[f"folder/{self.random.choice('abcdefghij')}.txt"] = self.text()
            elif action == "delete":
                del files[path]
            elif action == "rename" and path.endswith(".txt"):
                files[f"moved/{self.random.choice('xyz')}.txt"] = files.pop(path)
            elif isinstance(files[path], dict):
                self.keys(files[path], action)
            else:
                self.lines(files[path], action)
        return files

    def keys(self, table, action):
        key = self.random.choice(sorted(table)) if table and action != "insert" else f"key{self.random.randint(0, 9)}"
        if action == "remove":
            table.pop(key, None)
        else:
            table[key] = self.line()

    def lines(self, lines, action):
        at = self.random.randint(0, len(lines))
        if action == "insert" or at == len(lines):
            lines.insert(at, self.line())
        elif action == "change":
            lines[at] = self.line()
        else:
            del lines[at]


def written(files):
    return {
        path: json.dumps(content, indent=2) + "\n" if isinstance(content, dict) else "".join(f"{x}\n" for x in content)
        for path, content in files.items()
    }


def words(files):
    """Every line that a user wrote, in whatever file, without the commas of JSON."""
    return {line.strip().strip(",") for content in files.values() for line in lines_of(content)}


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(random=st.randoms(use_true_random=False))
def test_no_line_of_a_user_vanishes_without_a_conflict(shared_bench, random):
    template, user = Author(random, "template"), Author(random, "user")
    versions = [template.project()]
    versions += [template.change(versions[0])]
    versions += [template.change(versions[1])]
    trees = [shared_bench.tree(written(version)) for version in versions]
    mine = shared_bench.tree(written(user.change(versions[0])))
    for old, new in itertools.pairwise(trees):
        # Nothing of the user's own: the update is the new version, to the byte.
        assert merge_trees(shared_bench.workspace, old, old, new).tree == new
        before = shared_bench.files(mine)
        merge = merge_trees(shared_bench.workspace, old, mine, new)
        after = shared_bench.files(merge.tree)
        reported = {path for conflict in merge.conflicts for path in conflict.path.split(" | ")}
        of_users = {line for line in words(before) if "user " in line}
        lost = of_users - words(after)
        touched = {line for path in reported & before.keys() for line in words({path: before[path]})}
        assert lost <= touched
        if merge.conflicts:
            inline = merge_trees(shared_bench.workspace, old, mine, new, read_choices(["inline"]))
            assert of_users <= words(shared_bench.files(inline.tree))
            theirs = merge_trees(shared_bench.workspace, old, mine, new, read_choices(["theirs"]))
            assert not theirs.open
            assert b"<<<<<<<" not in b"".join(shared_bench.files(theirs.tree).values())
            merge = merge_trees(shared_bench.workspace, old, mine, new, read_choices(["ours"]))
            assert of_users <= words(shared_bench.files(merge.tree))
        # Again there is nothing to do.
        again = merge_trees(shared_bench.workspace, new, merge.tree, new)
        assert (again.tree, again.conflicts) == (merge.tree, ())
        mine = merge.tree


@settings(max_examples=60, deadline=None, derandomize=True)
@given(random=st.randoms(use_true_random=False))
def test_keys_merge_to_valid_json_or_are_reported(shared_bench, random):
    def table(depth=0):
        return {
            f"k{random.randint(0, 6)}": table(depth + 1)
            if depth < 2 and random.random() < 0.4
            else random.randint(0, 9)
            for _ in range(random.randint(0, 5))
        }

    from scaffolder.merging.jsontext import merge_json
    from scaffolder.merging.keys import merge_keys

    base, ours, theirs = table(), table(), table()
    texts = [json.dumps(side, indent=random.choice([2, 4, None])) for side in (base, ours, theirs)]
    wanted = merge_keys(base, ours, theirs)
    text, conflicts = merge_json(*texts)
    assert conflicts == wanted.conflicts
    if not conflicts:
        assert text is not None
        assert json.loads(text) == wanted.merged
    for prefer in ("ours", "theirs"):
        text, conflicts = merge_json(*texts, prefer=prefer)
        assert conflicts == []
        assert text is not None
        assert json.loads(text) == merge_keys(base, ours, theirs, prefer=prefer).merged
