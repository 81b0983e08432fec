"""An update killed at any moment leaves the project as it was, or as it should be."""

import os
import random
import shutil
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY, git
from tests.templates import files

KINDS = "os.rename,shutil.copyfile,os.link,os.symlink"
KILLS = 10


def run(folder, number):
    command = [sys.executable, str(REPOSITORY / "tests" / "killed.py"), KINDS, "", str(number), "update"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def counted(cli, made, tmp_path):
    """How many things an update does, and what comes of it."""
    assert cli("status").code == 0  # renders are kept: from here on every update does the same
    twin = tmp_path / "twin"
    shutil.copytree(made, twin)
    result = run(twin, 0)
    assert result.returncode == 0, result.stderr
    return int(result.stderr.rpartition("COUNT ")[2]), files(twin)


def test_killed_update_is_as_before_or_done(cli, made, counted):
    total, wanted = counted
    before = files(made)
    taken_back = 0
    seed = random.Random(7)
    places = sorted(seed.sample(range(1, total + 1), min(KILLS, total)))
    for number in places:
        assert run(made, number).returncode == -9
        result = cli("status")
        assert result.code == 0, result.err
        taken_back += "taken back" in result.err
        now = files(made)
        assert now in (before, wanted), f"killed at {number} of {total}"
        if now == wanted:
            git(made, "checkout", "--quiet", ".")
            git(made, "clean", "-fdq")
        assert files(made) == before
    assert taken_back >= 2
    assert cli("update").code == 0
    assert files(made) == wanted


def test_folder_in_the_way_of_a_file_is_refused(cli, made):
    (made / "new.txt").mkdir()
    (made / "new.txt" / "mine").write_text("mine")
    before = files(made)
    result = cli("update")
    assert result.code == 2
    assert "as before" in result.err
    assert files(made) == before


def test_project_that_cannot_be_written_stays_as_it_is(template, made):
    before = files(made)
    git(made, "config", "safe.directory", "*")
    for folder in (made, *(path for path in made.rglob("*"))):
        folder.chmod(folder.stat().st_mode & ~0o222)
    program = "import sys; from scaffolder.cli import main; sys.exit(main(['update']))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "GIT_CONFIG_COUNT": "1"}
    environment |= {"GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    # Root may write everywhere, unless it gives that up.
    powerless = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.geteuid() == 0 else []
    result = subprocess.run(
        [*powerless, sys.executable, "-c", program],
        cwd=made,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 4, result.stderr
    assert "cannot" in result.stderr
    assert files(made) == before
    for folder in (made, *(path for path in made.rglob("*"))):
        folder.chmod(folder.stat().st_mode | 0o200)


def test_update_that_is_under_way_is_not_taken_back(cli, made):
    from scaffolder.lock import project_lock

    state = made / ".git" / "scaffolder-update"
    (state / "new").mkdir(parents=True)
    (state / "journal.json").write_text('{"root": "/nowhere", "paths": ["readme.md"]}')
    with project_lock(made / ".git" / "scaffolder-state", purpose="update"):
        assert cli("status").code == 0
        assert (state / "journal.json").is_file()
