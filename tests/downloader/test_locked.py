"""The lock across machines: `--locked`, `--check`, `--update`, and other sources than the hub."""

import json
import shutil
import tomllib

import pytest

from tests.hub_client import FILES, REPO, WANTED, command, download, files_of, is_whole
from tests.hub_server import COMMIT

NEW = {**FILES, "config.json": b'{"model_type": "new"}', "added_tokens.json": b"{}"}
del NEW["chat_template.jinja"]


def lock_of(root):
    return (root / "model-cache" / "models.lock").read_text()


@pytest.fixture
def second_machine(project, hub, tmp_path):
    """A clone of a project whose lock names the first commit; the hub has gone on since."""
    assert download(project, hub, REPO).returncode == 0
    clone = tmp_path / "clone"
    shutil.copytree(project, clone, ignore=shutil.ignore_patterns("acme", ".scaffolder"))
    hub.put(REPO, NEW, "Use the new architecture")
    return clone


def test_lock_is_tracked_by_git_and_the_model_is_not(project, hub):
    from tests.conftest import git

    download(project, hub, REPO)
    assert git(project, "status", "--porcelain", "--untracked-files=all").split() == ["??", "model-cache/models.lock"]


def test_second_machine_gets_the_locked_bytes(second_machine, hub):
    before = lock_of(second_machine)
    for options in (["--locked"], []):
        shutil.rmtree(second_machine / "model-cache" / "acme", ignore_errors=True)
        result = download(second_machine, hub, REPO, *options)
        assert result.returncode == 0, result.stderr
        assert is_whole(second_machine)
        assert lock_of(second_machine) == before


def test_two_machines_write_the_same_lock(project, hub, tmp_path, plain_project):
    other = tmp_path / "other"
    shutil.copytree(plain_project, other)
    for root in (project, other):
        assert download(root, hub, REPO).returncode == 0
    assert lock_of(project) == lock_of(other)
    entry = tomllib.loads(lock_of(project))["models"][REPO]
    assert (entry["source"], entry["commit"]) == (f"hf://{REPO}", COMMIT)
    assert set(entry["files"]) == WANTED


def test_locked_file_of_which_the_hub_has_other_bytes_is_named(second_machine, hub):
    hub.history[REPO][0].files["tokenizer.json"] = b"other"
    before = lock_of(second_machine)
    result = download(second_machine, hub, REPO, "--locked")
    assert result.returncode == 1
    assert "tokenizer.json: what the hub sends is not the file" in result.stderr
    assert not (second_machine / "model-cache" / REPO).exists()
    assert lock_of(second_machine) == before


def test_locked_without_an_entry(project, hub):
    result = download(project, hub, REPO, "--locked")
    assert result.returncode == 2
    assert f"has no entry for {REPO}" in result.stderr
    assert hub.requests == []


def test_locked_at_another_revision(second_machine, hub):
    result = download(second_machine, hub, REPO, "--locked", "--revision", hub.history[REPO][1].id)
    assert result.returncode == 2
    assert COMMIT in result.stderr


def test_check_reads_every_byte_without_a_network(project, hub):
    download(project, hub, REPO)
    result = command(project, None, "download", "--check", "--json", HF_HUB_OFFLINE="1")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["models"] == {REPO: [len(WANTED), sum(len(FILES[name]) for name in WANTED)]}


def test_check_names_what_differs(project, hub):
    download(project, hub, REPO)
    folder = project / "model-cache" / REPO
    weights = folder / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[5] ^= 1
    time = weights.stat()
    weights.write_bytes(changed)
    import os

    os.utime(weights, ns=(time.st_atime_ns, time.st_mtime_ns))  # as a disk that lost a bit
    (folder / "config.json").unlink()
    (folder / "modeling.py").write_text("import os")
    result = command(project, None, "download", "--check", "--json")
    assert result.returncode == 1
    for words in ("model.safetensors has SHA-256", "config.json is missing", "modeling.py is not in models.lock"):
        assert f"model-cache/{REPO}/{words}" in result.stderr
    problems = json.loads(result.stdout)["problems"]
    assert {each["path"]: each["kind"] for each in problems} == {
        "config.json": "missing",
        "model.safetensors": "changed",
        "modeling.py": "extra",
    }


def test_check_of_nothing(cli, project):
    result = cli("download", "--check")
    assert result.code == 2
    assert "no entries" in result.err


def test_update_shows_what_is_new_and_fetches_only_that(project, hub):
    download(project, hub, REPO)
    new = hub.put(REPO, NEW, "Use the new architecture")
    hub.bodies.clear()
    plan = download(project, hub, REPO, "--update", "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert is_whole(project)
    result = download(project, hub, REPO, "--update", "--json")
    assert result.returncode == 0, result.stderr
    for talk in (plan.stderr, result.stderr):
        assert "commit: Use the new architecture" in talk
        assert "+ added_tokens.json" in talk
        assert "- chat_template.jinja" in talk
        assert "~ config.json" in talk
        assert "tokenizer.json" not in talk.replace("  tokenizer.json: 18 B", "")
    assert is_whole(project, NEW, (WANTED | {"added_tokens.json"}) - {"chat_template.jinja"})
    assert set(hub.bodies) == {"config.json", "added_tokens.json"}
    assert f'commit = "{new}"' in lock_of(project)
    found = json.loads(result.stdout)
    assert found["commits"] == ["Use the new architecture"]
    assert [change["path"] for change in found["changes"]] == [
        "added_tokens.json",
        "chat_template.jinja",
        "config.json",
    ]


def test_another_choice_of_files_stays_at_the_locked_commit(project, hub):
    download(project, hub, REPO)
    hub.put(REPO, NEW)
    result = download(project, hub, REPO, "--exclude", "tokenizer*")
    assert result.returncode == 0, result.stderr
    assert is_whole(project, FILES, WANTED - {"tokenizer.json"})
    assert f'commit = "{COMMIT}"' in lock_of(project)


def test_update_with_nothing_new(project, hub):
    download(project, hub, REPO)
    before = lock_of(project)
    result = download(project, hub, REPO, "--update")
    assert result.returncode == 0, result.stderr
    assert f"{REPO} is up to date" in result.stderr
    assert lock_of(project) == before
    assert is_whole(project)
    assert [path.name for path in (project / "model-cache/acme").iterdir()] == ["tiny"]


def test_revision_of_the_manifest_counts(project, hub):
    manifest = project / "scaffolder.toml"
    text = manifest.read_text()
    manifest.write_text(
        text.replace("HuggingFaceTB/SmolLM2-135M-Instruct", REPO).replace("[model]", '[model]\nrevision = "main"')
    )
    result = download(project, hub)
    assert result.returncode == 0, result.stderr
    assert 'revision = "main"' in lock_of(project)
    assert is_whole(project)


def test_trusted_repository_brings_its_code_with_a_warning(project, hub):
    commit = hub.put("acme/own", {**FILES, "modeling_own.py": b"x = 1"})
    result = download(project, hub, "acme/own")
    assert "its own Python code is not trusted: modeling_own.py" in result.stderr
    assert "modeling_own.py" not in files_of(project, "acme/own")
    with (project / "scaffolder.toml").open("a") as manifest:
        manifest.write(f'\n[trust]\n"acme/own" = "{commit}"\n')
    result = download(project, hub, "acme/own", "--update")
    assert result.returncode == 0, result.stderr
    assert "runs with your rights" in " ".join(result.stderr.split())
    assert "modeling_own.py" in files_of(project, "acme/own")
    hub.put("acme/own", {**FILES, "modeling_own.py": b"x = 2"})
    result = download(project, hub, "acme/own", "--update")
    assert "no code is taken" in " ".join(result.stderr.split())
    assert "modeling_own.py" not in files_of(project, "acme/own")


def test_local_folder_fills_the_place_of_the_projects_model(project, tmp_path):
    origin = tmp_path / "mirror"
    origin.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "pytorch_model.bin"):
        (origin / name).write_bytes(FILES[name])
    result = download(project, None, origin, "--as", "HuggingFaceTB/SmolLM2-135M-Instruct", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["source"], found["uri"]) == ("local", "local:mirror")
    model = "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert set(files_of(project, model)) == {"config.json", "model.safetensors", "tokenizer.json"}
    assert str(tmp_path) not in lock_of(project)
    # Taken again, it has to be the same.
    shutil.rmtree(project / "model-cache" / "HuggingFaceTB")
    (origin / "tokenizer.json").write_bytes(b"other")
    result = download(project, None, origin, "--as", model, "--locked")
    assert result.returncode == 1
    assert "tokenizer.json has 5 bytes instead of" in result.stderr
    assert not (project / "model-cache" / model).exists()


def test_source_of_the_manifest_counts(project, tmp_path):
    origin = project / "vendor"
    origin.mkdir()
    for name in ("config.json", "model.safetensors"):
        (origin / name).write_bytes(FILES[name])
    manifest = project / "scaffolder.toml"
    manifest.write_text(manifest.read_text().replace("[model]", '[model]\nsource = "./vendor"'))
    result = download(project, None)
    assert result.returncode == 0, result.stderr
    assert set(files_of(project, "HuggingFaceTB/SmolLM2-135M-Instruct")) == {"config.json", "model.safetensors"}


@pytest.mark.olive
def test_gguf_file_is_converted_and_its_result_locked(project, hub):
    """A GGUF file of the hub, then the same from this machine: one conversion, the same bytes."""
    from scaffolder.downloader.gguf import embedded
    from scaffolder.environment import find_environment

    file = embedded(find_environment(project))
    hub.put("acme/gguf", {file.name: file.read_bytes(), "README.md": b"# Tiny"})
    result = download(project, hub, f"hf://acme/gguf/{file.name}", "--json")
    assert result.returncode == 0, result.stderr
    assert "converting the weights" in result.stderr
    entry = tomllib.loads(lock_of(project))["models"]["acme/gguf"]
    assert (entry["source"], entry["commit"]) == (f"hf://acme/gguf/{file.name}", COMMIT)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(entry["files"])
    assert not list(project.rglob("*.gguf"))
    broken = project / "broken.gguf"
    broken.write_bytes(file.read_bytes()[:2000])
    result = download(project, hub, broken)
    assert result.returncode == 1
    assert "broken.gguf cannot be converted" in result.stderr
    assert not (project / "model-cache" / "local").exists() or not list(
        (project / "model-cache" / "local").rglob("*.json")
    )
