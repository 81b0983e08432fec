"""Azure Machine Learning: what is rendered, what is refused before anything is sent, and what never leaves."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scaffolder import azureml
from scaffolder.project import find_project
from scaffolder.remote.engine import engine_for
from scaffolder.remote.job import Job, references
from scaffolder.worker import place as placing
from tests.azure_stand_in.cloud import light_python
from tests.azure_stand_in.service import SECRET
from tests.conftest import REPOSITORY
from tests.hub_server import serve as serve_hub
from tests.remote.conftest import AZURE, AZURE_ADDRESS, AZURE_TABLE, add_target

WORKER = REPOSITORY / "scaffolder" / "worker"
HERE = 'kind = "azureml"\nsubscription = "s"\nresource_group = "g"\nworkspace = "w"\n'
OWN_TOKEN = "hf_" + "Mn4Xw8" * 6


def job_of(root, **changes):
    """A job of a project, without the checks and the hashing that `run --on` begins with."""
    inputs = ["datasets/train.jsonl", "fine-tuning/chat_data.py", "model-cache/HuggingFaceTB/SmolLM2-135M-Instruct"]
    (root / inputs[-1]).mkdir(parents=True, exist_ok=True)
    (root / inputs[-1] / "config.json").write_text("{}")
    known = {
        "id": "fine-tuning-lora-00000000-1",
        "target": "there",
        "workflow": "fine-tuning",
        "preset": "lora",
        "overrides": {},
        "run": "fine-tuning/runs/one",
        "folder": "fine-tuning/runs/one/jobs/1",
        "nodes": 1,
        "processes": 1,
        "inputs": tuple(inputs),
        "output": "fine-tuning/adapters/lora",
        "key": "0" * 64,
        "tags": {"workflow": "fine-tuning"},
    }
    return Job(**{**known, **changes})


def rendered(root, table, **changes):
    """Return a job's file for a target, its places, and what its engine finds wrong with it."""
    add_target(root, table)
    engine = engine_for(find_project(root), "there")
    job = job_of(root, **changes)
    problems = engine.check([job])
    texts = {Path(each.path).name: each.text for each in engine.render([job])}
    return yaml.safe_load(texts["job.yml"]), json.loads(texts["places.json"]), problems


def test_job_runs_the_node_entry_once_a_machine(project):
    job, places, problems = rendered(project, HERE + 'compute = "gpu-cluster"\nnodes = 4\n', nodes=4)
    assert problems == []
    assert job["resources"]["instance_count"] == 4
    assert job["distribution"] == {"type": "pytorch", "process_count_per_instance": 1}
    assert "python worker node job.json --run '${{outputs.run}}'" in job["command"]
    assert job["compute"] == "azureml:gpu-cluster"
    assert job["tags"]["workflow"] == "fine-tuning"
    # Each input goes where it lies here, and only if it holds the same.
    assert {each["path"] for each in places["files"].values()} == set(job_of(project).inputs)
    assert all(each["sha256"] for each in places["files"].values())
    for name, given in job["inputs"].items():
        assert (project / "fine-tuning/runs/one/jobs/1" / given["path"]).resolve() == (
            project / places["files"][name]["path"]
        )


def test_environment_is_the_projects_own_lock(project):
    job, _, _ = rendered(project, HERE + 'compute = "gpu-cluster"\n')
    lines = (project / "setup/requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert job["environment"]["conda_file"]["dependencies"][-1] == {"pip": pins}
    assert "openmpi" in job["environment"]["image"]


def test_serverless_spot_identity_and_limits(project):
    table = HERE + 'instance_type = "Standard_NC24ads_A100_v4"\nspot = true\nidentity = "user"\ntime = 90\n'
    job, _, problems = rendered(project, table + 'variables = {NCCL_DEBUG = "INFO"}\ntags = {team = "travel"}\n')
    assert problems == []
    assert "compute" not in job
    assert job["resources"]["instance_type"] == "Standard_NC24ads_A100_v4"
    assert job["queue_settings"] == {"job_tier": "spot"}
    assert job["identity"] == {"type": "user_identity"}
    assert job["limits"] == {"timeout": 5400}
    assert job["environment_variables"] == {"NCCL_DEBUG": "INFO"}
    assert job["tags"]["team"] == "travel"


def test_data_and_model_that_lie_in_azure_are_not_sent(project):
    model = "azureml://registries/azureml/models/SmolLM2/versions/3"
    data = "azureml://datastores/workspaceblobstore/paths/travel/train.jsonl"
    table = HERE + f'compute = "c1"\nmodel = "{model}"\ndata = {{"datasets/train.jsonl" = "{data}"}}\n'
    job, places, problems = rendered(project, table)
    assert problems == []
    assert job["inputs"]["datasets_train_jsonl"]["path"] == data
    weights = next(name for name, each in places["files"].items() if each["path"].startswith("model-cache/"))
    assert job["inputs"][weights] == {"type": "custom_model", "path": model, "mode": "download"}


def test_model_of_the_hub_is_loaded_by_the_job_with_a_token_that_nobody_sees(project):
    commit, sha = "0" * 40, "1" * 64
    lock = f'version = 1\n[models."HuggingFaceTB/SmolLM2-135M-Instruct"]\nsource = "hf://x"\ncommit = "{commit}"\n'
    lock += '[models."HuggingFaceTB/SmolLM2-135M-Instruct".files]\n'
    (project / "model-cache").mkdir(exist_ok=True)
    (project / "model-cache/models.lock").write_text(lock + f'"config.json" = {{ size = 2, sha256 = "{sha}" }}\n')
    table = HERE + 'compute = "c1"\nmodel = "hub"\nkeyvault = "vault"\n'
    job, places, problems = rendered(project, table)
    assert problems == []
    assert not any("model_cache" in name for name in job["inputs"])
    assert (places["hub"]["commit"], places["hub"]["sha256"]) == (commit, {"config.json": sha})
    assert (places["hub"]["keyvault"], places["hub"]["secret"]) == ("vault", "hf-token")
    assert "azure-keyvault-secrets" in str(job["environment"])
    assert "environment_variables" not in job


BROKEN = {
    "nowhere to run": ("", "`compute` (a cluster) or `instance_type` (serverless)"),
    "half a workspace": ('compute = "c1"\nworkspace = ""\n', "workspace"),
    "compute with a blank": ('compute = "gpu cluster"\n', "compute"),
    "no machines": ('compute = "c1"\nnodes = 0\n', "nodes"),
    "machines as a text": ('compute = "c1"\nnodes = "two"\n', "nodes"),
    "no processes": ('compute = "c1"\nprocesses = -1\n', "processes"),
    "datastore misspelt": (
        'compute = "c1"\ndata = {"datasets/train.jsonl" = "azureml://datastore/x/path/y"}\n',
        "data",
    ),
    "model of nowhere": ('compute = "c1"\nmodel = "huggingface"\n', "model"),
    "variable that is a number": ('compute = "c1"\nvariables = {A = 1}\n', "variables"),
    "secret as a variable": ('compute = "c1"\nvariables = {HF_TOKEN = "x"}\n', "key vault"),
    "spot on a cluster": ('compute = "c1"\nspot = true\n', "`spot` goes with serverless"),
    "identity of nobody": ('compute = "c1"\nidentity = "me"\n', "identity"),
    "memory without a unit": ('compute = "c1"\nshm_size = "16 GB"\n', "shm_size"),
    "vault for nothing": ('compute = "c1"\nkeyvault = "v"\n', "keyvault"),
    "misspelt key": ('compute = "c1"\ninstance_typ = "x"\n', "did you mean `instance_type`"),
    "two environments": ('compute = "c1"\nimage = "i"\nenvironment = "azureml:e:1"\n', "`image` is for"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_tables_are_refused_before_anything_else(cli, project, name):
    text, told = BROKEN[name]
    add_target(project, HERE + text if "workspace" not in text else 'kind = "azureml"\n' + text)
    result = cli("run", "fine-tuning", "--on", "there")
    assert result.code == 2
    assert told in result.err
    assert "targets.there" in result.err
    assert not (project / "jobs").exists()


SIX = {
    "no compute": ({"compute": None}, "says where it runs"),
    "unknown output": ({"command": "python run.py ${{outputs.nope}}"}, "outputs.nope"),
    "unknown input": ({"command": "python run.py ${{inputs.nope}}"}, "inputs.nope"),
    "datastore": ({"inputs": {"a": {"path": "azureml://datastore/x/path/y"}}}, "inputs.a.path"),
    "machines": ({"resources": {"instance_count": -1}}, "instance_count"),
    "variable": ({"environment_variables": {"A": 1}}, "environment_variables.A"),
    "name": ({"name": "a b/c"}, "`name`"),
}


@pytest.mark.parametrize("name", SIX)
def test_what_the_sdk_does_not_catch_is_caught(name):
    changes, told = SIX[name]
    whole = {"compute": "azureml:c", "command": "x ${{inputs.a}}", "inputs": {"a": {"path": "azureml:d:1"}}}
    assert azureml.check_job(whole) == []
    problems = azureml.check_job({**whole, **changes})
    assert [problem for problem in problems if told in problem] == problems[:1]
    assert len(problems) >= 1


def test_all_of_a_jobs_problems_are_told_at_once(project):
    (project / "setup/requirements.txt").unlink()
    table = 'kind = "azureml"\ncompute = "c1"\nmodel = "hub"\ndata = {"datasets/other.jsonl" = "azureml:d:1"}\n'
    add_target(project, table)
    problems = engine_for(find_project(project), "there").check([job_of(project)])
    assert len(problems) == 4
    for told in ("other.jsonl", "models.lock", "setup/requirements.txt", "no workspace is named"):
        assert any(told in problem for problem in problems)


def test_model_made_here_is_not_what_the_hub_has(project):
    manifest = project / "scaffolder.toml"
    path = 'path = "model-cache/HuggingFaceTB/SmolLM2-135M-Instruct'
    manifest.write_text(manifest.read_text().replace(f'{path}"', f'{path}-awq"'))
    _, _, problems = rendered(project, HERE + 'compute = "c1"\nmodel = "hub"\n')
    assert [problem for problem in problems if "leave `model` out" in problem] == problems


def test_secret_in_an_innocent_place_is_seen(project):
    table = HERE + f'compute = "c1"\nvariables = {{GREETING = "{OWN_TOKEN}"}}\ntags = {{note = "{OWN_TOKEN}"}}\n'
    _, _, problems = rendered(project, table)
    assert len(problems) == 1
    assert "a Hugging Face token" in problems[0]
    assert OWN_TOKEN not in problems[0]


def test_workspace_of_its_own_file(project):
    (project / "config.json").write_text('{"subscription_id": "s", "resource_group": "g", "workspace_name": "w"}')
    assert azureml.place_of(project, None, None, None) == azureml.Place("s", "g", "w")


class TestPlacing:
    @pytest.fixture
    def node(self, tmp_path, monkeypatch):
        """A machine's folder, and the inputs that the service put elsewhere."""
        given = tmp_path / "given"
        (given / "package/mlflow/data/model").mkdir(parents=True)
        (given / "rows.jsonl").write_text("{}\n")
        (given / "package/mlflow/data/model/config.json").write_text("{}")
        (tmp_path / "node").mkdir()
        monkeypatch.chdir(tmp_path / "node")
        return given

    def place(self, given, sha256):
        folder, file = {"config.json": sha256["config"]}, {"": sha256["rows"]}
        files = {"rows": {"path": "datasets/rows.jsonl", "sha256": file}, "model": {"path": "m/x", "sha256": folder}}
        Path("places.json").write_text(json.dumps({"files": files, "hub": None}))
        return placing.main(["places.json", f"rows={given}/rows.jsonl", f"model={given}/package"])

    def test_inputs_come_to_their_places(self, node):
        sha256 = {"config": sha("{}"), "rows": sha("{}\n")}
        assert self.place(node, sha256) == 0
        assert Path("datasets/rows.jsonl").read_text() == "{}\n"
        assert Path("m/x/config.json").read_text() == "{}"

    def test_other_content_ends_the_job(self, node, capsys):
        assert self.place(node, {"config": sha("{}"), "rows": sha("other")}) == 1
        event = json.loads(capsys.readouterr().out)
        assert (event["event"], event["message"]) == (
            "failed",
            "datasets/rows.jsonl has other content than the project's",
        )


def sha(text):
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def test_without_the_sdk_the_error_says_what_to_install(tmp_path):
    (tmp_path / "azure").mkdir()
    (tmp_path / "azure" / "__init__.py").touch()
    program = "from scaffolder import azureml; azureml.Workspace(azureml.Place('s', 'g', 'w')).client"
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "EnvironmentFault: Azure Machine Learning needs the package azure-ai-ml" in result.stderr


@pytest.fixture
def signed_in(azure, monkeypatch):
    """This process as a client of the stand-in, which has forgotten what it was asked before."""
    for name, value in azure.variables.items():
        monkeypatch.setenv(name, value)
    azure.cloud.requests.clear()
    azure.executor.seen.clear()
    yield azure
    azure.cloud.refuse.clear()


def azure_test(function):
    for mark in AZURE:
        function = mark(function)
    return function


@azure_test
def test_the_sdk_loads_what_is_rendered_without_a_network(signed_in, project):
    from azure.ai.ml import load_job

    table = AZURE_TABLE + 'nodes = 2\nidentity = "managed"\ntime = 60\n'
    job, _, _ = rendered(project, table, nodes=2)
    file = project / "fine-tuning/runs/one/jobs/1/job.yml"
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(job))
    loaded = load_job(file)._to_job()._to_rest_object().properties
    assert loaded.resources.instance_count == 2
    assert loaded.limits.timeout.total_seconds() == 3600
    assert signed_in.cloud.requests == []


@azure_test
def test_events_and_result_are_fetched_and_checkpoints_are_not(signed_in, project):
    from tests.azure_stand_in.service import CONTAINER

    add_target(project, AZURE_TABLE)
    engine, job = engine_for(find_project(project), "there"), job_of(project, run="fine-tuning/runs/fetched")
    result = "scaffolder/travel/fine-tuning/runs/fetched"
    for name in ("events.jsonl", "output/adapter/weights", "output/run.txt", "work/checkpoint-1/state"):
        signed_in.cloud.storage.put(CONTAINER, f"{result}/{name}", name.encode())
    place = {**AZURE_ADDRESS, "result": f"azureml://datastores/workspaceblobstore/paths/{result}"}
    [reference] = references([job], ["job"], "azureml", **place)
    into = engine.fetch(reference, project / "fetched")
    brought = {path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file()}
    assert brought == {"events.jsonl", "output/adapter/weights", "output/run.txt"}
    assert (into / "output/run.txt").read_text() == "output/run.txt"
    # A job that ended before it wrote anything.
    [empty] = references([job], ["job"], "azureml", **{**place, "result": place["result"] + "-none"})
    assert not any(engine.fetch(empty, project / "nothing").rglob("*.*"))


@azure_test
def test_compute_is_asked_for_before_anything_is_sent(signed_in, project):
    workspace = azureml.Workspace(place_of_stand_in())
    with pytest.raises(azureml_error("ConfigError"), match="has no compute gone") as told:
        workspace.check_compute("gone", 1)
    assert told.value.hint == "there are: gpu-cluster"
    with pytest.raises(azureml_error("ConfigError"), match="2 machines at most"):
        workspace.check_compute("gpu-cluster", 3)
    signed_in.cloud.refuse["computes"] = 403
    with pytest.raises(azureml_error("ScaffolderError"), match="does not let you") as told:
        workspace.check_compute("gpu-cluster", 1)
    assert "AzureML Data Scientist" in told.value.hint
    assert not any(request.method == "PUT" for request in signed_in.cloud.requests)


@azure_test
def test_broken_job_file_is_told_in_plain_words(signed_in, tmp_path):
    (tmp_path / "job.yml").write_text("type: command\ncommand: x\ncomputer: y\nenvironment: azureml:e:1\n")
    with pytest.raises(azureml_error("ScaffolderError")) as told:
        azureml.Workspace(place_of_stand_in()).submit(tmp_path / "job.yml", "name")
    assert "computer" in told.value.message
    assert "{" not in told.value.message
    assert "aka.ms" not in told.value.message


@azure_test
def test_service_that_is_not_reached_is_the_environments_fault(signed_in, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(azureml_error("EnvironmentFault"), match="cannot be reached"):
        azureml.Workspace(place_of_stand_in()).state("job")


def azureml_error(name):
    from scaffolder import errors

    return getattr(errors, name)


def place_of_stand_in():
    return azureml.Place(*AZURE_ADDRESS.values())


@azure_test
def test_token_of_the_key_vault_is_used_inside_the_job_and_shown_nowhere(azure, tmp_path):
    content = b'{"model_type": "llama"}'
    with serve_hub() as hub:
        commit = hub.put("acme/tiny", {"config.json": content})
        hub.gated.add("acme/tiny")
        wanted = {
            "repo": "acme/tiny",
            "commit": commit,
            "path": "m/tiny",
            "sha256": {"config.json": sha(content.decode())},
        }
        places = {"files": {}, "hub": {**wanted, "keyvault": "vault", "secret": "hf-token"}}
        (tmp_path / "places.json").write_text(json.dumps(places))
        command = [str(light_python()), str(WORKER), "place", "places.json"]
        variables = azure.environment(
            HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0", HF_HUB_DISABLE_XET="1", HF_HOME=str(tmp_path / "home")
        )
        hub.token = SECRET
        result = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        assert (tmp_path / "m/tiny/config.json").read_bytes() == content
        assert hub.authorized
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in text for text in [*files, result.stdout.encode(), result.stderr.encode()])


@azure_test
@pytest.mark.olive
def test_no_token_is_seen_anywhere_and_the_jobs_own_output_is_registered(azure, remote_project, tmp_path):
    root = tmp_path / "travel"
    shutil.copytree(remote_project, root)
    add_target(root, AZURE_TABLE)
    azure.cloud.requests.clear()
    azure.executor.seen.clear()
    short = ["--set", "passes.lora.training_args.max_steps=2"]
    # In the environment that people have: the light one, apart from training.
    made = azure.command(root, "run", "fine-tuning", "--on", "there", *short, "--follow", HF_TOKEN=OWN_TOKEN)
    assert made.returncode == 0, made.stderr
    sent = len([request for request in azure.cloud.requests if request.method == "PUT"])
    registered = azure.command(root, "upload", "azureml", "--from-job", "--json", HF_TOKEN=OWN_TOKEN)
    assert registered.returncode == 0, registered.stderr
    puts = [request for request in azure.cloud.requests if request.method == "PUT"]
    assert len(puts) == sent + 1
    assert '"azureml://jobs/fine-tuning-lora-' in puts[-1].body
    again = azure.command(root, "upload", "azureml", "--from-job", "--json")
    assert json.loads(again.stdout)["unchanged"]

    tokens = [OWN_TOKEN, SECRET, *azure.cloud.tokens]
    assert len(azure.cloud.tokens) >= 1
    for what in (made.stdout + made.stderr, *(request.body + request.path for request in azure.cloud.requests)):
        assert not any(token in what for token in tokens)
    assert azure.executor.seen
    assert not any(token in each for token in tokens for each in azure.executor.seen)
    logs = [path.read_bytes() for path in (azure.folder / "jobs").rglob("*.txt")]
    files = [path.read_bytes() for path in (root / "fine-tuning/runs").rglob("*") if path.is_file()]
    files += [path.read_bytes() for path in (root / "jobs").glob("*.json")]
    assert logs
    assert not any(token.encode() in text for token in tokens for text in [*logs, *files])
    assert azure.doors.refused == set()
    # Of the job's own folder only what the node needs was sent as code.
    sent = {path.name for path in (azure.folder / "jobs").glob("*/machine-0/*")}
    assert {"worker", "job.json", "places.json"} <= sent
    assert not sent & {"job.yml", "job.log", ".amlignore"}
