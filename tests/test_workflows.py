"""Workflows of a user's own: several passes in one file, beside others, with a tracker."""

import json

import pytest

pytestmark = pytest.mark.olive

TOGETHER = """
[workflows.together]
config = "fine-tuning/together.json"

[workflows.broken]
config = "gen-model/broken.json"
"""


@pytest.fixture
def seeds_style(tiny_project):
    """A project whose own workflow trains, merges and builds in one configuration, and one that cannot succeed."""
    config = json.loads((tiny_project / "fine-tuning" / "lora.json").read_text())
    config["passes"]["lora"]["training_args"] |= {
        "max_steps": 4,
        "per_device_train_batch_size": 2,
        "report_to": "tensorboard",
    }
    config["passes"]["merge"] = {"type": "MergeAdapterWeights"}
    config["passes"]["builder"] = {"type": "ModelBuilder", "precision": "fp32"}
    config["output_dir"] = "gen-model/together"
    (tiny_project / "fine-tuning" / "together.json").write_text(json.dumps(config))
    (tiny_project / "model-cache" / "empty").mkdir()
    broken = {
        "input_model": {"type": "HfModel", "model_path": "model-cache/empty"},
        "systems": config["systems"],
        "host": "local",
        "target": "local",
        "passes": {"builder": {"type": "ModelBuilder", "precision": "fp32"}},
        "output_dir": "gen-model/broken",
    }
    (tiny_project / "gen-model" / "broken.json").write_text(json.dumps(broken))
    manifest = tiny_project / "scaffolder.toml"
    kept = manifest.read_text().partition("[workflows.fine-tuning]")[0]
    manifest.write_text(kept + TOGETHER)
    return tiny_project


def events(root):
    newest = max(root.glob("fine-tuning/runs/together-*/events.jsonl"), key=lambda path: path.stat().st_mtime)
    return [json.loads(line) for line in newest.read_text().splitlines()]


def test_passes_in_one_file_train_once_and_others_go_on(cli, seeds_style):
    result = cli("run", "all", "--keep-going", "--json")
    assert result.code == 3, result.err
    assert "1 of 2 workflows failed" in result.err
    assert "broken: " in result.err
    [done] = json.loads(result.out)
    assert done["workflow"] == "together"
    assert done["metrics"]["kind"] == "onnx"
    assert done["training"]["steps"] == 4
    assert done["estimate"]["steps"] == 4
    assert done["training"]["peak_memory"] > 0
    assert list(seeds_style.glob("fine-tuning/runs/together-*/tensorboard/events.*"))
    assert not (seeds_style / "gen-model" / "broken").exists()

    # What comes after the training changes, the training does not: Olive's own cache answers for it.
    again = cli("run", "together", "--set", "passes.builder.precision=int4")
    assert again.code == 0, again.err
    assert {event["event"] for event in events(seeds_style)}.isdisjoint({"training", "step"})
    assert json.loads((seeds_style / "gen-model/together/run.json").read_text())["metrics"]["kind"] == "onnx"


def test_a_file_whose_time_was_set_back_is_read_again(cli, trained):
    import os

    adapter = trained / "fine-tuning/adapters/lora/adapter/adapter_config.json"
    assert cli("run", "fine-tuning").code == 0  # remembers
    status = adapter.stat()
    changed = adapter.read_bytes().replace(b"CAUSAL_LM", b"CAUSAL_LN")
    with adapter.open("r+b") as stream:
        stream.write(changed)
    os.utime(adapter, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "files were changed" in cli("run", "fine-tuning", "-n").out
    assert "files were changed" in cli("run", "fine-tuning", "-n", "--rehash").out


def test_olive_tells_models_apart_without_reading_them(tmp_path, monkeypatch):
    import os

    from olive.model.config import model_config

    from scaffolder.worker import olive_run

    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    model = model_config.ModelConfig(type="HfModel", config={"model_path": str(tmp_path)})
    read = model.get_model_identifier()
    monkeypatch.setattr(model_config, "hash_file", model_config.hash_file)  # taken back afterwards
    olive_run._hash_by_mark()
    first = model.get_model_identifier()
    assert first != read
    weights.chmod(0o000)
    assert model.get_model_identifier() == first
    os.utime(weights, ns=(0, 0))
    assert model.get_model_identifier() != first
