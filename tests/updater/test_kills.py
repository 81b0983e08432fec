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


def test_error_in_the_middle_takes_everything_back(cli, made):
    # A folder where the update wants to put a file.
    (made / "new.txt").mkdir()
    (made / "new.txt" / "mine").write_text("mine")
    before = files(made)
    result = cli("update")
    assert result.code in (1, 4)
    assert "as before" in result.err
    assert files(made) == before
