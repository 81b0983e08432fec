"""Several processes end with the weights of one, and what did not train together is refused."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest

from scaffolder.cli import main
from scaffolder.errors import RunFailed
from scaffolder.project import find_project
from scaffolder.remote import store
from scaffolder.remote.collect import _check_processes
from tests.remote.conftest import add_target

pytestmark = [pytest.mark.olive, pytest.mark.timeout(600)]
ADAPTER = "fine-tuning/adapters/lora"
# One pass a step: its rows have to be shared. 15 rows of all lengths; two steps that are not full.
SETTINGS = {"max_steps": 9, "gradient_accumulation_steps": 1, "per_device_train_batch_size": 4}
CHANGES = [text for key, value in SETTINGS.items() for text in ("--set", f"passes.lora.training_args.{key}={value}")]


@pytest.fixture(scope="module")
def both(remote_project, tmp_path_factory):
    """The weights of one process and those of two, and the project that holds the latter."""
    from safetensors.torch import load_file

    root = tmp_path_factory.mktemp("both") / "travel"
    shutil.copytree(remote_project, root)
    add_target(root, 'kind = "local"\nprocesses = 2\n')
    before, weights = Path.cwd(), []
    os.chdir(root)
    try:
        for how in ([], ["--on", "there", "--follow"]):
            assert main(["run", "fine-tuning", "--quiet", *CHANGES, *how]) == 0
            weights.append(load_file(root / ADAPTER / "adapter/adapter_model.safetensors"))
            record = json.loads((root / ADAPTER / "run.json").read_text())
            shutil.rmtree(root / ADAPTER)
    finally:
        os.chdir(before)
    return root, weights, record


def test_rows_shared_by_two_processes_give_the_weights_of_one(both):
    _, (one, two), _ = both
    assert one.keys() == two.keys()
    assert max(float(tensor.abs().max()) for tensor in one.values()) > 0.05
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 2e-6


def test_the_record_states_processes_and_global_batch(both):
    _, _, record = both
    assert (record["training"]["processes"], record["training"]["global_batch"]) == (2, 4)
    assert record["made_on"]["processes"] == 2


def test_a_result_of_fewer_processes_than_were_asked_for_is_refused(both, monkeypatch):
    root, _, _ = both
    monkeypatch.chdir(root)
    reference = store.find(find_project())
    of_four = dataclasses.replace(reference, job=dataclasses.replace(reference.job, processes=4))
    attempt = [{"event": "begin"}, {"event": "training", "processes": 2}]
    assert _check_processes(reference, attempt) == 2
    with pytest.raises(RunFailed, match="trained in 2 processes, and 4 were asked for"):
        _check_processes(of_four, attempt)


def test_passes_after_the_training_run_once_on_what_it_made(cli, both, monkeypatch):
    root, _, _ = both
    monkeypatch.chdir(root)
    config = json.loads((root / "fine-tuning/lora.json").read_text())
    config["passes"]["lora"]["training_args"] |= {"max_steps": 2, "per_device_train_batch_size": 2}
    config["passes"]["merge"] = {"type": "MergeAdapterWeights"}
    config["output_dir"] = "gen-model/merged"
    (root / "fine-tuning/merged.json").write_text(json.dumps(config))
    with (root / "scaffolder.toml").open("a") as manifest:
        manifest.write('\n[workflows.merged]\nconfig = "fine-tuning/merged.json"\n')
    result = cli("run", "merged", "--on", "there", "--follow", "--json")
    assert result.code == 0, result.err
    [made] = json.loads(result.out)
    assert made["metrics"]["kind"] == "model"
    assert made["training"]["processes"] == 2
    texts = [path.read_text() for path in (root / "gen-model/merged").glob("*.json")]
    assert [text for text in texts if str(root) in text] == []
