"""Fixtures for every test: the command as a function, projects that are real and small."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from scaffolder.cli import main
from tests.azure_stand_in.cloud import missing

REPOSITORY = Path(__file__).parent.parent


def pytest_configure():
    # Started in the background of a shell, this process ignores Ctrl-C, and so would every child it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The hub's client reads it once, when whoever comes first imports it.
    os.environ["HF_HUB_OFFLINE"] = "1"
    # Of several test processes each has its share of the processors; more threads would wait for each other.
    if sharing := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(sharing))))


def pytest_collection_modifyitems(items):
    # Files with real runs first: the quick ones fill the processors in the end.
    long = {item.path for item in items if "olive" in item.keywords}
    items.sort(key=lambda item: item.path not in long)
    if shutil.which("nvidia-smi") is None:
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))
    reason = missing()
    for item in items:
        if reason and "azure" in item.keywords:
            item.add_marker(pytest.mark.skip(reason=reason))
        if "awq" in item.keywords and "SCAFFOLDER_AWQ" not in os.environ:
            item.add_marker(pytest.mark.skip(reason="SCAFFOLDER_AWQ names no Python with template/setup/awq.txt"))
    if importlib.util.find_spec("olive") is None:
        reason = pytest.mark.skip(reason="needs the olive extra: `make venv` installs it")
        for item in items:
            if "olive" in item.keywords:
                item.add_marker(reason)


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory):
    """What is made once for all tests is made in a home folder of their own, too."""
    with pytest.MonkeyPatch.context() as patch:
        _leave_home(patch, tmp_path_factory.getbasetemp() / "home")
        yield


def _leave_home(patch, home):
    home.mkdir(exist_ok=True)
    for name, folder in {"PIP_CACHE_DIR": "pip", "UV_CACHE_DIR": "uv"}.items():
        if name not in os.environ:  # what was downloaded before serves again
            patch.setenv(name, str(Path.home() / ".cache" / folder))
    for name, folder in {"HOME": "", "XDG_CACHE_HOME": ".cache", "XDG_CONFIG_HOME": ".config"}.items():
        patch.setenv(name, str(home / folder))


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch, tmp_path_factory):
    """A machine without a hub, whose git has an identity and whose terminal is 80 columns of plain text."""
    config = tmp_path_factory.getbasetemp() / "gitconfig"
    if not config.exists():
        config.write_text("[user]\n\tname = Test\n\temail = test@example.com\n[init]\n\tdefaultBranch = main\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    _leave_home(monkeypatch, tmp_path_factory.getbasetemp() / "home")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("SCAFFOLDER_PYTHON", "SCAFFOLDER_TEMPLATE", "SCAFFOLDER_DEBUG", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def no_run_ignores_a_key(tmp_path_factory):
    """Olive and its trainer drop a key that they do not know with a line of their log: no run here may have one."""
    yield
    logs = tmp_path_factory.getbasetemp().glob("**/runs/*/run.log")
    lines = [f"{log}: {line}" for log in logs for line in log.read_text(errors="replace").splitlines()]
    assert [line for line in lines if "Ignoring" in line] == []


@pytest.fixture
def hub():
    """A model hub on loopback that holds a tiny repository."""
    from tests.hub_client import FILES, REPO
    from tests.hub_server import serve

    with serve() as found:
        found.put(REPO, FILES)
        yield found


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys):
    """Run the command and return exit code, standard output and standard error."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Result(code, captured.out, captured.err)

    return run


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def plain_project(tmp_path_factory):
    """A generated project without a model; copy it to change it."""
    root = tmp_path_factory.mktemp("plain") / "travel"
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": str(tmp_path_factory.getbasetemp() / "gitconfig")}
    os.environ.update(environment)
    assert main(["new", str(root), "--defaults", "--quiet"]) == 0
    return root


@pytest.fixture
def project(plain_project, tmp_path, monkeypatch):
    """A fresh copy of a generated project, as the current folder."""
    root = tmp_path / "travel"
    shutil.copytree(plain_project, root)
    monkeypatch.chdir(root)
    return root


MODEL = "model-cache/HuggingFaceTB/SmolLM2-135M-Instruct"


def add_tiny_model(root):
    """Put a tiny random model where the project's base model belongs, and make runs short."""
    from tests.tiny_models import make_tiny_model

    make_tiny_model("llama-chatml", root / MODEL)
    manifest = root / "scaffolder.toml"
    short = '"passes.lora.training_args.max_steps" = 4\n"passes.lora.training_args.per_device_train_batch_size" = 2\n'
    text = manifest.read_text().replace("[workflows.fine-tuning.set]\n", "[workflows.fine-tuning.set]\n" + short)
    manifest.write_text(text)
    # As many examples as a tiny model needs.
    for name, rows in (("train", 16), ("eval", 4)):
        path = root / "datasets" / f"{name}.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:rows]))


@pytest.fixture
def tiny_project(project):
    """A project with a tiny random model that has not run yet."""
    add_tiny_model(project)
    return project


@pytest.fixture(scope="session")
def finished_project(plain_project, tmp_path_factory):
    """A project with a tiny model, fine-tuned and exported for real; copy it to change it."""
    root = tmp_path_factory.mktemp("finished") / "travel"
    shutil.copytree(plain_project, root)
    add_tiny_model(root)
    before = Path.cwd()
    os.chdir(root)
    try:
        assert main(["run", "all", "--quiet"]) == 0
    finally:
        os.chdir(before)
    return root


@pytest.fixture
def trained(finished_project, tmp_path, monkeypatch):
    """A copy of a finished project, as the current folder."""
    root = tmp_path / "trained"
    shutil.copytree(finished_project, root, symlinks=True)
    monkeypatch.chdir(root)
    return root


@pytest.fixture(scope="session")
def azure(tmp_path_factory):
    """The stand-in for Azure Machine Learning, with the SDK at the end of this process's path."""
    from tests.azure_stand_in.cloud import packages, serve

    sys.path.append(str(packages()))
    with serve(tmp_path_factory.mktemp("azure")) as found:
        yield found
    sys.path.remove(str(packages()))
