"""Places where jobs run, each with a project of its own."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.azure_stand_in.service import TENANT
from tests.conftest import add_tiny_model
from tests.remote.cluster import cluster, missing

STEPS, SAVED_EVERY = 30, 5
MODEL_SETTINGS = f"""\
"passes.lora.training_args.max_steps" = {STEPS}
"passes.lora.training_args.save_steps" = {SAVED_EVERY}
"passes.lora.training_args.per_device_train_batch_size" = 4
"passes.lora.training_args.gradient_accumulation_steps" = 2
"""
# 15 rows: the last step of an epoch is not full.
ROWS = 15
TABLES = {
    "local": 'kind = "local"\nprocesses = 2\n',
    "slurm": 'kind = "slurm"\nnodes = 2\npartition = "main"\ntime = "0:20:00"\n',
}
AZURE_ADDRESS = {"subscription": TENANT, "resource_group": "group", "workspace": "space"}
AZURE_TABLE = 'kind = "azureml"\ncompute = "gpu-cluster"\n' + "".join(
    f'{key} = "{value}"\n' for key, value in AZURE_ADDRESS.items()
)


@dataclass(frozen=True)
class Place:
    """An engine, and a project with the target `there` on it."""

    engine: str
    root: Path
    # Where jobs work: in the project, or on machines of their own.
    work: Path
    pattern: str = "fine-tuning/runs/*/events.jsonl"
    # What a reference to a job there holds, beside its id.
    address: dict = field(default_factory=dict)

    def events(self):
        """Return the events of the newest attempt of any run."""
        files = sorted(self.work.glob(self.pattern), key=lambda path: path.stat().st_mtime)
        lines = files[-1].read_text().splitlines() if files else []
        events = [json.loads(line) for line in lines if line.endswith("}")]
        begins = [index for index, event in enumerate(events) if event["event"] == "begin"]
        return events[begins[-1] :] if begins else []

    def wait_for(self, job, wanted, seconds=240):
        """Wait until an event of a job satisfies `wanted`."""
        deadline = time.monotonic() + seconds
        while not (self.events() and self.events()[0]["job"] == job and any(map(wanted, self.events()))):
            assert time.monotonic() < deadline, self.events()[-3:]
            time.sleep(0.05)

    def ranks(self):
        """Return the training processes at work in this project, by rank."""
        found = {}
        for process in psutil.process_iter():
            try:
                if str(self.work) in process.environ().get("TENSORBOARD_LOGGING_DIR", ""):
                    variables = process.environ()
                    if "LOCAL_RANK" in variables and "rank" in process.cmdline():
                        found[int(variables["RANK"])] = process
            except psutil.Error:
                continue
        return found


@pytest.fixture(scope="session")
def slurm_conf(tmp_path_factory):
    """The configuration of a running cluster of two nodes."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with cluster(tmp_path_factory.mktemp("slurm")) as config:
        yield config


@pytest.fixture(scope="session")
def remote_project(plain_project, tmp_path_factory):
    """A project with a tiny model and a training of several epochs; copy it to use it."""
    root = tmp_path_factory.mktemp("remote") / "travel"
    shutil.copytree(plain_project, root)
    add_tiny_model(root)
    manifest = root / "scaffolder.toml"
    head, _, rest = manifest.read_text().partition("[workflows.fine-tuning.set]\n")
    manifest.write_text(head + "[workflows.fine-tuning.set]\n" + MODEL_SETTINGS + rest.partition("\n\n")[2])
    rows = root / "datasets/train.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:ROWS]))
    return root


def add_target(root, table, name="there"):
    manifest = root / "scaffolder.toml"
    manifest.write_text(f"{manifest.read_text()}\n[targets.{name}]\n{table}")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Sums in one order, however many processors a process is given."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


# The SDK brings warnings of its own.
AZURE = [pytest.mark.azure, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(
    scope="module",
    params=["local", pytest.param("slurm", marks=pytest.mark.slurm), pytest.param("azureml", marks=AZURE)],
)
def shared_place(request, remote_project, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param) / "travel"
    shutil.copytree(remote_project, root)
    before = dict(os.environ)
    if request.param == "azureml":
        stand_in = request.getfixturevalue("azure")
        os.environ.update(stand_in.variables)
        stand_in.executor.variables = {"OMP_NUM_THREADS": "1"}
        add_target(root, AZURE_TABLE + "nodes = 2\n")
        yield Place("azureml", root, stand_in.folder, "mounts/*/events.jsonl", AZURE_ADDRESS)
    else:
        if request.param == "slurm":
            os.environ["SLURM_CONF"] = str(request.getfixturevalue("slurm_conf"))
        add_target(root, TABLES[request.param])
        address = {"host": platform.node(), "born": "1.0"} if request.param == "local" else {"host": "", "folder": ""}
        yield Place(request.param, root, root, address=address)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def place(shared_place, monkeypatch):
    """Every engine in turn; its tests share one project, as the current folder."""
    monkeypatch.chdir(shared_place.root)
    return shared_place
