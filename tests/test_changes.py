"""Data, configuration, model or versions changed in place: always a new result, where Olive alone gives the old one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scaffolder.settings import child_environment
from tests.conftest import MODEL
from tests.environments import claim_version, make_environment

pytestmark = pytest.mark.olive

ADAPTER = Path("fine-tuning/adapters/lora/adapter/adapter_model.safetensors")


def tune(cli):
    result = cli("run", "fine-tuning", "--json")
    assert result.code == 0, result.err
    return json.loads(result.out)[0]


def edit_data(root):
    path = root / "datasets" / "train.jsonl"
    before = path.stat().st_size
    path.write_text(path.read_text().replace("Pick", "Take"))
    assert path.stat().st_size == before


def edit_configuration(root):
    path = root / "fine-tuning" / "lora.json"
    path.write_text(path.read_text().replace('"alpha": 32', '"alpha": 64'))


def edit_script(root):
    """The labels that a user's own script makes count as well."""
    path = root / "fine-tuning" / "chat_data.py"
    path.write_text(path.read_text() + "\n# mine\n")


def edit_model(root):
    from safetensors.torch import load_file, save_file

    path = root / MODEL / "model.safetensors"
    weights = load_file(path)
    weights["model.norm.weight"] += 0.5
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("edit", "reason", "new_weights"),
    [
        (edit_configuration, "the configuration changed", True),
        (edit_script, "fine-tuning/chat_data.py changed", False),
        (edit_model, f"{MODEL} changed", True),
    ],
)
def test_a_change_in_place_gives_a_new_result(cli, trained, edit, reason, new_weights):
    old = ADAPTER.read_bytes()
    assert not tune(cli)["fresh"]
    edit(trained)
    result = tune(cli)
    assert result["fresh"]
    assert result["reason"] == reason
    assert (ADAPTER.read_bytes() != old) == new_weights
    assert not tune(cli)["fresh"]


def test_another_version_gives_a_new_result(cli, trained):
    packages = make_environment(trained)
    assert not tune(cli)["fresh"]  # the same versions, in another place
    claim_version(packages, "peft", "0.21.99")
    result = tune(cli)
    assert result["fresh"]
    assert result["reason"] == "peft is now 0.21.99"


def test_olive_alone_returns_the_old_adapter(cli, trained):
    """The reason for all this; fails when a newer Olive looks at the content of the data."""
    command = [Path(sys.executable).parent / "olive", "run", "--config", "fine-tuning/lora.json"]
    config = trained / "fine-tuning" / "lora.json"
    config.write_text(config.read_text().replace('"max_steps": 16', '"max_steps": 2'))

    def run_olive():
        subprocess.run(command, cwd=trained, env=child_environment(), check=True, capture_output=True)
        return ADAPTER.read_bytes()

    first = run_olive()
    edit_data(trained)
    assert run_olive() == first
    (trained / ".olive-cache").rename(trained / ".olive-cache-old")
    assert run_olive() != first
