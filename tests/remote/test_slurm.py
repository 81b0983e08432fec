"""What only Slurm has: a refusal before anything waits for ever, arrays, scripts that work by hand, ssh."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from scaffolder.project import find_project
from scaffolder.remote import store
from scaffolder.remote.engine import engine_for
from scaffolder.remote.job import JobStatus
from scaffolder.remote.slurm import _status
from tests.conftest import MODEL
from tests.remote.conftest import add_target

pytestmark = [pytest.mark.slurm, pytest.mark.olive, pytest.mark.timeout(600)]
FEW_STEPS = ["--set", "passes.lora.training_args.max_steps=2"]


@pytest.fixture
def on_cluster(remote_project, slurm_conf, tmp_path, monkeypatch):
    """A project of its own on the cluster, as the current folder."""
    root = tmp_path / "travel"
    shutil.copytree(remote_project, root)
    monkeypatch.chdir(root)
    monkeypatch.setenv("SLURM_CONF", str(slurm_conf))
    return root


def test_what_no_node_can_hold_is_refused_instead_of_waiting_for_ever(cli, on_cluster):
    add_target(on_cluster, 'kind = "slurm"\nnodes = 8\n')
    refused = cli(
        "run", "fine-tuning", "--on", "there", "--set", "passes.lora.training_args.gradient_accumulation_steps=8"
    )
    assert refused.code == 2
    assert "Slurm refuses the job: " in refused.err
    assert not (on_cluster / "jobs").exists()
    assert subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout == ""


def test_a_cluster_that_does_not_answer_is_told(cli, on_cluster, tmp_path, monkeypatch):
    add_target(on_cluster, 'kind = "slurm"\n')
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "sh").symlink_to("/bin/sh")
    refused = cli("run", "fine-tuning", "--on", "there")
    assert refused.code == 4
    assert "`sbatch` is not there" in refused.err


def test_a_sweep_is_an_array_whose_jobs_have_results_of_their_own(cli, on_cluster, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_never_to_be_seen")
    add_target(on_cluster, 'kind = "slurm"\nsetup = ["env > variables.txt"]\n')
    submitted = cli("run", "fine-tuning", "--on", "there", "--sweep", "r=4,8", *FEW_STEPS)
    assert submitted.code == 0, submitted.err
    names = submitted.out.split()
    natives = [store.find(find_project(), name).native for name in names]
    assert [native.partition("_")[2] for native in natives] == ["0", "1"]
    for name in names:
        assert cli("jobs", "logs", name, "--follow").code == 0
    fetched = cli("jobs", "fetch", names[1])
    assert (fetched.code, fetched.out) == (0, "fine-tuning/adapters/lora-r8\n"), fetched.err
    config = json.loads((on_cluster / "fine-tuning/adapters/lora-r8/adapter/adapter_config.json").read_text())
    assert config["r"] == 8
    assert not (on_cluster / "fine-tuning/adapters/lora").exists()
    assert "hf_never_to_be_seen" not in (on_cluster / "variables.txt").read_text()


def test_over_ssh_the_job_gets_what_it_reads_and_its_result_comes_back(cli, on_cluster, tmp_path, monkeypatch):
    # Runs the command here, as sshd would on the login node: in the home folder, through a shell.
    there, programs = tmp_path / "login-home", tmp_path / "bin"
    there.mkdir()
    programs.mkdir()
    ssh = programs / "ssh"
    ssh.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "-o BatchMode=yes login" ] || exit 255\ncd {there} && exec sh -c "$4"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    python = sys.executable
    add_target(on_cluster, f'kind = "slurm"\nhost = "login"\nfolder = "work/travel"\npython = "{python}"\n')
    submitted = cli("run", "fine-tuning", "--on", "there", *FEW_STEPS)
    assert submitted.code == 0, submitted.err
    name = submitted.out.strip()
    assert cli("jobs", "logs", name, "--follow").code == 0
    copied = {path.relative_to(there / "work/travel").parts[0] for path in (there / "work/travel").iterdir()}
    assert copied <= {".scaffolder", "datasets", "fine-tuning", "model-cache", "scaffolder.toml", "setup"}
    fetched = cli("jobs", "fetch", name)
    assert fetched.code == 0, fetched.err
    adapter = on_cluster / "fine-tuning/adapters/lora"
    assert [p for p in adapter.rglob("*.json") if str(there) in p.read_text() or str(on_cluster) in p.read_text()] == []

    # The base model is there by now; it does not go over the line again.
    weights = there / "work/travel" / MODEL / "model.safetensors"
    before = weights.stat().st_mtime_ns
    again = cli("run", "fine-tuning", "--on", "there", "--set", 'passes.lora.target_modules=["nothing"]')
    assert again.code == 0, again.err
    assert weights.stat().st_mtime_ns == before
    # Why it failed stands in a file over there.
    assert "the model has no layer named" in cli("jobs", "logs", "--follow").err

    add_target(on_cluster, f'kind = "slurm"\nhost = "nowhere"\nfolder = "w"\npython = "{python}"\n', name="away")
    refused = cli("run", "fine-tuning", "--on", "away")
    assert refused.code == 4
    assert "ssh to nowhere failed" in refused.err


def test_an_export_runs_once_and_its_script_works_by_hand(cli, on_cluster):
    assert cli("run", "fine-tuning", "--quiet", *FEW_STEPS).code == 0
    manifest = on_cluster / "scaffolder.toml"
    manifest.write_text(manifest.read_text().replace('max_steps" = 30', 'max_steps" = 2'))
    add_target(on_cluster, 'kind = "slurm"\nnodes = 2\n')
    followed = cli("run", "gen-model", "--on", "there", "--follow")
    assert followed.code == 0, followed.err
    assert "works: " in followed.err
    project = find_project()
    reference = store.find(project, "gen-model")
    assert (reference.job.nodes, reference.job.processes) == (1, 1)
    script = on_cluster / reference.job.folder / "job.sbatch"
    number = subprocess.run(["sbatch", "--parsable", script], capture_output=True, text=True, check=True).stdout.strip()
    engine = engine_for(project, "there")
    by_hand = store.JobReference.from_data({**reference.as_data(), "native": number, "ended": None})
    deadline = time.monotonic() + 200
    while not engine.status(by_hand).ended:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert engine.status(by_hand).state == "succeeded"
    # A job that Slurm has forgotten still has left its exit code.
    forgotten = store.JobReference.from_data({**reference.as_data(), "native": "999999"})
    assert engine.status(forgotten) == JobStatus("succeeded", "exit code 0", 0)


@pytest.mark.parametrize(
    ("word", "codes", "state", "code"),
    [
        ("PENDING", "0:0", "queued", None),
        ("COMPLETING", "0:0", "running", None),
        ("COMPLETED", "0:0", "succeeded", 0),
        ("CANCELLED", "0:15", "cancelled", None),
        ("TIMEOUT", "0:0", "failed", None),
        ("OUT_OF_MEMORY", "0:125", "failed", None),
        ("SOME_NEW_WORD", "1:0", "failed", 1),
    ],
)
def test_words_of_slurm_are_ours(word, codes, state, code):
    found = _status(word, codes)
    assert (found.state, found.exit_code, found.native) == (state, code, word)
