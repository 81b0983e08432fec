"""The command in an environment of its own, without Olive, and the project's heavy one, without the command."""

import json
import subprocess

import pytest

from tests.environments import make_environment, make_light_environment

pytestmark = pytest.mark.olive


def has(python, module):
    program = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-I", "-c", program]).returncode == 0


def test_light_command_drives_the_projects_own_environment(tiny_project, tmp_path):
    light = make_light_environment(tmp_path / "light")
    command = [light, "-m", "scaffolder", "run", "fine-tuning", "--json"]
    alone = subprocess.run(command, cwd=tiny_project, capture_output=True, text=True)
    assert alone.returncode == 4
    assert "no environment with Olive yet" in alone.stderr
    assert "scaffolder setup" in alone.stderr
    make_environment(tiny_project, without=("scaffolder", "olive_scaffolder", "copier", "tomlkit"))
    heavy = tiny_project / ".venv" / "bin" / "python"
    assert [has(light, name) for name in ("scaffolder", "copier", "torch", "olive")] == [True, True, False, False]
    assert [has(heavy, name) for name in ("scaffolder", "copier", "torch", "olive")] == [False, False, True, True]
    done = subprocess.run(command, cwd=tiny_project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [result] = json.loads(done.stdout)
    assert result["fresh"]
    assert result["metrics"]["kind"] == "adapter"
    again = subprocess.run(command, cwd=tiny_project, capture_output=True, text=True)
    assert not json.loads(again.stdout)[0]["fresh"]


def test_one_environment_for_both(cli, tiny_project):
    """What `pip install 'olive-scaffolder[olive]'` gives: the project has none of its own."""
    result = cli("run", "fine-tuning", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)[0]["fresh"]
    assert not (tiny_project / ".venv").exists()
