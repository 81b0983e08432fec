"""Random releases of a real template against random edits, through rendering and the command itself."""

import itertools
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaffolder.cli import main
from tests.conftest import git
from tests.merging.test_properties import Author, lines_of, words, written
from tests.templates import Template, commit, files

counter = itertools.count()
RECORD = ".copier-answers.yml"


def release(template, random, tag, content):
    """Release files, one of them rendered, and a question whose default changes with the release."""
    rendered = {f"{path}.jinja" if path == "settings.json" else path: text for path, text in written(content).items()}
    extra = {"colour.txt.jinja": "template {{ colour }}\n"} if random.random() < 0.5 else {}
    colour = {"colour": {"type": "str", "default": random.choice(["red", "green"])}}
    template.release(tag, {**rendered, **extra}, colour)


def copied(source, target):
    shutil.copytree(source, target)
    return target


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random=st.randoms(use_true_random=False))
def test_update_loses_nothing_and_equals_a_fresh_project(home, tmp_path, random):
    number = next(counter)
    template, author, user = Template(home / f"t{number}"), Author(random, "template"), Author(random, "user")
    content = author.project()
    for tag in ("v1", "v2", "v3"):
        release(template, random, tag, content)
        content = author.change(content)
    made = template.project(tmp_path / f"{number}" / "made", "v1")
    answers = {"colour": random.choice(["red", "blue"])}
    plain = copied(made, tmp_path / f"{number}" / "plain")

    change = ["-d", f"colour={answers['colour']}"]  # an answer flips on the way
    assert main(["update", str(plain), "--commit", "-q", *change]) == 0
    fresh = template.project(tmp_path / f"{number}" / "fresh", "v3", **answers)
    assert files(plain) == files(fresh)
    head = git(plain, "rev-parse", "HEAD")
    assert main(["update", str(plain), "--commit", "-q"]) == 0
    assert git(plain, "rev-parse", "HEAD") == head

    edits = user.change({path: lines_of(text) for path, text in files(made).items() if path.endswith(".txt")})
    for path in [path for path in files(made) if path.endswith(".txt")]:
        (made / path).unlink()
    for path, text in written(edits).items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(text)
    git(made, "commit", "--allow-empty", "-q", "-m", "empty")
    commit_if_changed(made)
    before = files(made)
    mine = {line for line in words(before) if "user " in line}
    code = main(["update", str(made), "-q", *change])
    assert code in (0, 7)
    if code == 7:
        assert files(made) == before
        assert main(["update", str(made), "-q", "--conflict", "inline", *change]) == 7
    assert mine <= words(files(made))


def commit_if_changed(folder):
    if git(folder, "status", "--porcelain"):
        commit(folder, "mine")
