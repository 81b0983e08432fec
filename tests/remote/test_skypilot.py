"""Tasks for SkyPilot, read by its own parser where it is installed."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

SKY = os.environ.get("SCAFFOLDER_SKY", "")
PARSE = """
import sys, sky
task = sky.Task.from_yaml(sys.argv[1])
task.validate()
print(task.name, task.num_nodes, len(task.file_mounts))
"""


def exported(cli, *options):
    result = cli("export", "skypilot", "fine-tuning", *options)
    assert result.code == 0, result.err
    return Path(result.out.strip())


def test_task_brings_every_input_and_starts_the_node_entry(cli, tiny_project):
    path = exported(cli, "--accelerators", "A100:2", "--spot", "--infra", "k8s")
    task = yaml.safe_load(path.read_text())
    assert task["resources"] == {"accelerators": "A100:2", "infra": "k8s", "use_spot": True}
    assert f"{path.parent.as_posix()}/worker node {path.parent.as_posix()}/job.json" in task["run"]
    assert (path.parent / "worker/node.py").is_file()
    for place, source in task["file_mounts"].items():
        assert (tiny_project / source).exists()
        assert place == f"~/{tiny_project.name}/{Path(source).as_posix()}"
    assert "setup/requirements.txt" in task["setup"]
    # As many processes as cards.
    assert '"processes": "gpus"' in (path.parent / "job.json").read_text()


def test_several_machines_share_a_bucket(cli, tiny_project):
    refused = cli("export", "skypilot", "fine-tuning", "--nodes", "2")
    assert refused.code == 2
    assert "--storage" in refused.err
    task = yaml.safe_load(exported(cli, "--nodes", "2", "--storage", "s3://bucket").read_text())
    assert task["num_nodes"] == 2
    assert task["file_mounts"]["/scaffolder"] == {"source": "s3://bucket", "mode": "MOUNT"}
    assert "--run /scaffolder/fine-tuning/runs/" in task["run"]


def test_dry_run_writes_nothing(cli, tiny_project):
    before = {path for path in tiny_project.rglob("*") if ".scaffolder" not in path.parts}
    result = cli("export", "skypilot", "fine-tuning", "--dry-run")
    assert yaml.safe_load(result.out)["num_nodes"] == 1
    assert {path for path in tiny_project.rglob("*") if ".scaffolder" not in path.parts} == before


@pytest.mark.skipif(not SKY, reason="SCAFFOLDER_SKY names no interpreter that has skypilot")
def test_skypilot_reads_it(cli, tiny_project, tmp_path):
    path = exported(cli)
    environment = {**os.environ, "HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    result = subprocess.run(
        [SKY, "-c", PARSE, str(path)], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    mounts = yaml.safe_load(path.read_text())["file_mounts"]
    assert result.stdout.split() == [yaml.safe_load(path.read_text())["name"], "1", str(len(mounts))]
