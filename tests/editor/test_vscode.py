"""A generated project in a real VS Code: `tests/editor/setup-vscode.sh FOLDER`, then SCAFFOLDER_VSCODE=FOLDER."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from .conftest import REPOSITORY, read_jsonc

pytestmark = pytest.mark.vscode
HERE = Path(__file__).parent
HAS_OLIVE = importlib.util.find_spec("olive") is not None


@pytest.fixture(scope="module")
def installation():
    """Folder, entry point of code-server and Chromium; skipped where one is missing."""
    folder = Path(os.environ.get("SCAFFOLDER_VSCODE", ""))
    entry = folder / "node_modules/code-server/out/node/entry.js"
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    missing = [
        what
        for what, there in {
            "code-server (tests/editor/setup-vscode.sh FOLDER, SCAFFOLDER_VSCODE=FOLDER)": entry.is_file(),
            "node": shutil.which("node"),
            "chromium": chromium,
        }.items()
        if not there
    ]
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")
    return folder, entry, chromium


@pytest.fixture(scope="module")
def project(make_project, tmp_path_factory):
    """A project with a misspelt key, whose .venv holds the command of this checkout."""
    root = tmp_path_factory.mktemp("vscode") / "travel"
    shutil.copytree(make_project(), root)
    configuration = root / "fine-tuning/lora.json"
    configuration.write_text(configuration.read_text().replace('"lora_dropout"', '"lora_dropuot"'))
    if HAS_OLIVE:
        add_tiny_model(root)
    programs = root / ".venv/bin"
    programs.mkdir(parents=True)
    for name, arguments in (("python", ""), ("scaffolder", " -c 'from scaffolder.cli import main; main()'")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable}{arguments} "$@"\n')
        program.chmod(0o755)
    return root


def add_tiny_model(root):
    """Put a random model where the base model belongs, and make a run short."""
    folder = root / "model-cache/HuggingFaceTB/SmolLM2-135M-Instruct"
    program = "import sys, pathlib, tiny_models as t; t.make_tiny_model('llama-chatml', pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}
    subprocess.run([sys.executable, "-c", program, folder], env=environment, check=True, capture_output=True)
    manifest = root / "scaffolder.toml"
    section = "[workflows.fine-tuning.set]\n"
    assert section in manifest.read_text()
    short = section + '"passes.lora.training_args.max_steps" = 2\n'
    manifest.write_text(manifest.read_text().replace(section, short))


@pytest.fixture(scope="module")
def server(installation, project, tmp_path_factory):
    """The address of a code-server that has the project open."""
    folder, entry, _chromium = installation
    data = tmp_path_factory.mktemp("code-server")
    settings = data / "User/settings.json"
    settings.parent.mkdir()
    # Only a terminal drawn as text can be read; nothing else may cover the window.
    quiet = {
        "terminal.integrated.gpuAcceleration": "off",
        "workbench.startupEditor": "none",
        "extensions.ignoreRecommendations": True,
        "git.openRepositoryInParentFolders": "never",
    }
    settings.write_text(json.dumps(quiet))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["node", entry, "--bind-addr", f"127.0.0.1:{port}", "--auth", "none", "--disable-telemetry"]
    command += ["--disable-update-check", "--disable-workspace-trust", "--user-data-dir", data]
    command += ["--extensions-dir", data / "extensions", "--config", data / "config.yaml", project]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
    with (data / "server.log").open("wb") as log:
        process = subprocess.Popen([str(part) for part in command], cwd=folder, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/healthz", process, data / "server.log")
        yield f"{address}/?folder={project}"
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(address, process, log):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"code-server does not answer: {log.read_text()}")


@pytest.fixture(scope="module")
def labels(project):
    return [task["label"] for task in read_jsonc(project / ".vscode/tasks.json")["tasks"]]


@pytest.fixture(scope="module")
def seen(installation, server, labels, tmp_path_factory):
    """What the driver saw; its screenshots lie in the folder that a failure names."""
    folder, _entry, chromium = installation
    screenshots = Path(os.environ.get("SCAFFOLDER_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    screenshots.mkdir(parents=True, exist_ok=True)
    command = ["node", HERE / "drive-vscode.mjs", server, screenshots, json.dumps(labels)]
    done = subprocess.run(
        [*command, *(["fine-tune"] if HAS_OLIVE else [])],
        env={**os.environ, "SCAFFOLDER_VSCODE": str(folder), "SCAFFOLDER_CHROMIUM": chromium},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert "error" not in found, f"{found['error']}; screenshots in {screenshots}; {done.stdout}"
    return found


def test_every_task_is_found_by_its_label(seen, labels):
    assert list(seen["tasks"]) == labels
    assert all(name.startswith(label) for label, name in seen["tasks"].items())


def test_doctor_runs_as_a_task(seen):
    assert "olive-ai" in seen["doctor"]


def test_validate_runs_as_a_task_and_fills_the_problems(seen):
    assert "1 errors" in seen["validate"]
    assert any("did you mean `lora_dropout`?" in line and "scaffolder" in line for line in seen["problems"])


def test_a_misspelt_key_is_underlined(seen):
    assert seen["underlined"] >= 1
    assert any("Property lora_dropuot is not allowed" in line for line in seen["problems"])
    complaints = [line for line in seen["problems"] if "lora_dropuot" in line]
    assert len(complaints) == 2, "one of the schema, one of the task"


def test_keys_are_completed_from_the_schema(seen):
    assert "lora_dropout" in seen["pass_keys"]
    assert "weight_decay" in seen["training_keys"]


def test_mended_files_leave_no_problem(seen):
    assert "0 errors" in seen["mended"]


def test_fine_tuning_runs_as_a_task(seen):
    if not HAS_OLIVE:
        pytest.skip("needs the olive extra: `make venv` installs it")
    assert seen["run"].count("fine-tuning/adapters/lora") >= 1
    assert "error" not in seen["run"]


def test_fine_tuning_left_its_record(seen, project):
    if "run" not in seen:
        pytest.skip("needs the olive extra: `make venv` installs it")
    assert (project / "fine-tuning/adapters/lora/run.json").is_file()
