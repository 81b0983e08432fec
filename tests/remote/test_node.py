"""Where a node stands among others, and into which stages a configuration falls."""

import json
from pathlib import Path

import pytest

from scaffolder.worker import stages
from scaffolder.worker.node import find_place

SLURM = {
    "SLURM_JOB_ID": "70123",
    "SLURM_NODEID": "1",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7",
}
AZURE = {
    "AZUREML_RUN_ID": "x",
    "NODE_RANK": "2",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "10.0.0.4",
    "MASTER_PORT": "6105",
}
SKYPILOT = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NODE_RANK": "1"}


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        (AZURE, (4, 2, "10.0.0.4", 6105)),
        (SKYPILOT, (2, 1, "10.0.0.1", 29500)),
    ],
)
def test_a_node_knows_its_place(variables, place):
    assert find_place(variables) == place


def test_inside_a_container_without_slurm_the_launcher_is_the_first_node(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert find_place(SLURM) == (2, 1, "10.0.0.7", 30123)


def test_a_node_alone_meets_nobody():
    assert find_place({})[:3] == (1, 0, "127.0.0.1")


def test_training_passes_are_stages_of_their_own(tmp_path):
    kinds = {
        "quantise": "Rtn",
        "fix": "GraphSurgeries",
        "lora": "LoRA",
        "more": "QLoRA",
        "merge": "MergeAdapterWeights",
    }
    config = {"input_model": {"type": "HfModel"}, "passes": {name: {"type": kind} for name, kind in kinds.items()}}
    plan = stages.split(config)
    assert plan == [(False, ("quantise", "fix")), (True, ("lora",)), (True, ("more",)), (False, ("merge",))]
    assert stages.output(plan, 3, tmp_path) == tmp_path / "output"
    made = stages.output(plan, 0, tmp_path)
    made.mkdir(parents=True)
    (made / "model_config.json").write_text(
        json.dumps({"type": "hfmodel", "config": {"model_path": "m", "io_config": None}})
    )
    second = stages.configuration(config, plan, 1, tmp_path)
    assert second["input_model"] == {"type": "hfmodel", "config": {"model_path": "m"}}
    assert list(second["passes"]) == ["lora"]


def test_a_job_is_placed_where_its_run_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lora = {"training_args": {"output_dir": "runs/a/work/checkpoints/lora-1"}}
    job = {
        "config": {"passes": {"lora": lora, "own": {"training_args": {"output_dir": "mine"}}}},
        "cache": "runs/a/work",
    }
    spec = {"job": {**job, "base": {"id": "b", "path": "model-cache/b"}}}
    placed = stages.placed(spec, Path("/mnt/run"))
    assert placed["output"] == "/mnt/run/output"
    assert placed["base"]["path"] == str(tmp_path / "model-cache/b")
    found = [settings["training_args"]["output_dir"] for settings in placed["config"]["passes"].values()]
    assert found == ["/mnt/run/work/checkpoints/lora-1", "mine"]
