"""The main job for real, on a tiny random model: fine-tune, export, verify, answer."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scaffolder import modellock
from scaffolder.artefacts import find_artefact
from scaffolder.content import Hashes
from scaffolder.environment import find_environment
from scaffolder.project import find_project
from scaffolder.scores import Scores
from scaffolder.settings import child_environment
from tests.conftest import MODEL

pytestmark = pytest.mark.olive


def record(folder):
    return json.loads((folder / "run.json").read_text())


def run_json(cli, *arguments):
    result = cli("run", *arguments, "--json")
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_adapter_and_export_are_published_with_their_lineage(finished_project):
    adapter = record(finished_project / "fine-tuning" / "adapters" / "lora")
    export = record(finished_project / "gen-model" / "onnx-int8")
    assert adapter["metrics"]["kind"] == "adapter"
    assert adapter["training"]["steps"] == 4
    assert adapter["training"]["tokens"] > 0
    assert adapter["metrics"]["before"]["tokens"] == adapter["metrics"]["after"]["tokens"] > 0
    assert export["metrics"]["kind"] == "onnx"
    assert export["metrics"]["template"] == adapter["metrics"]["template"]
    # The export was made from exactly this adapter.
    inputs = export["fingerprint"]["inputs"]
    assert "fine-tuning/adapters/lora/adapter" in inputs
    assert "datasets/train.jsonl" in adapter["fingerprint"]["inputs"]
    assert set(export["files"]) >= {"model.onnx", "model.onnx.data", "genai_config.json"}


def test_export_names_the_run_that_trained_its_adapter(finished_project):
    adapter = record(finished_project / "fine-tuning" / "adapters" / "lora")
    export = record(finished_project / "gen-model" / "onnx-int8")
    assert export["parents"] == [adapter["id"]]
    assert adapter["parents"] == []


def scores_of(root):
    return Scores(find_project(), find_environment(root), Hashes(root / "memory.json"))


def known_loss(root):
    return scores_of(root).known(find_artefact(find_project(), "base"))


def test_locked_commit_and_known_loss_count_while_the_files_are_those(cli, trained):
    """A figure that no measurement gives stands for the known loss of the base, which is not measured again."""
    commit = "c" * 40
    of_folder = modellock.of_folder(trained / MODEL, Hashes(trained / "memory.json"), source="hf://org/name")
    name = MODEL.removeprefix("model-cache/")
    modellock.put(trained, name, modellock.LockedModel(of_folder.source, of_folder.files, commit))
    assert known_loss(trained) is not None
    scores_of(trained).remember(find_artefact(find_project(), "base"), {"loss": 99.0, "perplexity": 1.0, "tokens": 1})
    [again] = run_json(cli, "fine-tuning", "--restart")
    assert again["metrics"]["before"]["loss"] == 99.0
    known = record(trained / "fine-tuning" / "adapters" / "lora")
    assert known["model"] == {"source": "hf://org/name", "commit": commit}
    assert f"hf://org/name at {commit}" in cli("runs", "show", known["id"]).out.replace("\n", "")
    examples = trained / "datasets" / "eval.jsonl"
    examples.write_text("".join(examples.read_text().splitlines(keepends=True)[:3]))
    assert known_loss(trained) is None
    config = trained / MODEL / "generation_config.json"
    config.write_text(config.read_text() + "\n")
    [changed] = run_json(cli, "fine-tuning", "--restart")
    assert record(trained / "fine-tuning" / "adapters" / "lora")["model"] is None
    assert 0 < changed["metrics"]["before"]["loss"] < 99


def test_artefacts_name_no_machine(finished_project):
    forbidden = [str(finished_project), str(Path.home()), socket.gethostname()]
    for folder in ("fine-tuning/adapters/lora", "gen-model/onnx-int8"):
        texts = [path for path in (finished_project / folder).rglob("*") if path.suffix in {".json", ".md", ".jinja"}]
        for path in texts:
            text = path.read_text()
            assert [name for name in forbidden if len(name) > 5 and name in text] == [], path


def test_base_model_is_not_copied_beside_the_adapter(finished_project):
    published = finished_project / "fine-tuning" / "adapters" / "lora"
    assert sorted(path.name for path in published.iterdir()) == ["adapter", "run.json"]


def test_git_sees_nothing_of_what_was_made(finished_project):
    status = subprocess.run(["git", "status", "--porcelain"], cwd=finished_project, capture_output=True, text=True)
    changed = {line[3:] for line in status.stdout.splitlines()}
    assert changed == {"scaffolder.toml", "datasets/train.jsonl", "datasets/eval.jsonl"}


def test_log_has_no_ignored_key(finished_project):
    logs = list(finished_project.glob("*/runs/*/run.log"))
    assert len(logs) == 2
    for log in logs:
        assert "Ignoring" not in log.read_text()


def test_events_are_kept(finished_project):
    [path] = (finished_project / "fine-tuning" / "runs").glob("*/events.jsonl")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    names = [event["event"] for event in events]
    assert names.count("step") == 4
    assert names[0] == "begin"
    assert names[-3:] == ["verified", "end", "ended"]
    assert all(event["loss"] > 0 for event in events if event["event"] == "metrics" and "loss" in event)


def test_nothing_changed_means_nothing_to_do(cli, trained):
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()}
    results = run_json(cli, "all")
    assert [result["fresh"] for result in results] == [False, False]
    assert all("nothing changed since" in result["reason"] for result in results)
    changed = {path for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert {path.name for path in changed} <= {"hashes.json"}


def test_dry_run_says_what_would_run_and_changes_nothing(cli, trained):
    before = record(trained / "fine-tuning" / "adapters" / "lora")
    result = cli("run", "all", "--dry-run")
    assert result.code == 0
    assert [line.split(": ")[1] for line in result.out.splitlines()] == ["up to date", "up to date"]
    path = trained / "datasets" / "train.jsonl"
    path.write_text(path.read_text().replace("Pick", "Choice"))
    tuning, export = json.loads(cli("run", "all", "-n", "--json").out)
    assert tuning["would_run"]
    assert tuning["reason"] == "datasets/train.jsonl changed"
    assert tuning["config"]["passes"]["lora"]["training_args"]["max_steps"] == 4
    assert export["would_run"]
    assert export["reason"] == "fine-tuning would run before it"
    assert record(trained / "fine-tuning" / "adapters" / "lora") == before


def test_doctor_warns_of_another_chat_template(cli, trained):
    assert "chat template" not in cli("doctor").out
    path = trained / "fine-tuning" / "adapters" / "lora" / "run.json"
    text = record(path.parent)
    text["metrics"]["template"] = "0" * 64
    path.write_text(json.dumps(text))
    result = cli("doctor", "--json")
    assert result.code == 0
    [check] = [check for check in json.loads(result.out) if check["name"] == "chat template"]
    assert check["status"] == "warning"
    assert check["fix"] == "scaffolder run gen-model --preset onnx-int8"
    again = cli("run", "gen-model", "--restart")
    assert again.code == 0
    assert "another chat template" in again.err


def test_changed_data_gives_a_new_result(cli, trained):
    old = record(trained / "fine-tuning" / "adapters" / "lora")
    path = trained / "datasets" / "train.jsonl"
    size = path.stat().st_size
    path.write_text(path.read_text().replace("Pick", "Take"))
    assert path.stat().st_size == size
    tuning, export = run_json(cli, "all")
    assert tuning["fresh"]
    assert tuning["reason"] == "datasets/train.jsonl changed"
    assert export["fresh"]
    assert "fine-tuning/adapters/lora/adapter changed" in export["reason"]
    new = record(trained / "fine-tuning" / "adapters" / "lora")
    weights = "adapter/adapter_model.safetensors"
    assert old["files"][weights] != new["files"][weights]
    previous = trained / "fine-tuning" / "adapters" / ".lora.previous"
    assert record(previous)["files"] == old["files"]
    assert [result["fresh"] for result in run_json(cli, "all")] == [False, False]


def test_same_inputs_give_the_same_weights(cli, trained, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    made = []
    for _ in range(2):
        [result] = run_json(cli, "fine-tuning", "--restart")
        assert result["reason"] == "restarted"
        made.append(record(trained / "fine-tuning" / "adapters" / "lora")["files"])
    assert made[0] == made[1]


def test_damaged_result_is_made_again(cli, trained):
    (trained / "gen-model" / "onnx-int8" / "model.onnx.data").write_bytes(b"half")
    tuning, export = run_json(cli, "gen-model")
    assert not tuning["fresh"]
    assert export["fresh"]
    assert "changed or are incomplete" in export["reason"]
    assert cli("run", "gen-model").code == 0


@pytest.mark.parametrize("model", ["base", "adapter", "merged", "onnx"])
def test_every_form_answers(cli, trained, model):
    result = cli(
        "generate", "What is the best thing to see in Rome?", "--model", model, "--max-new-tokens", "8", "--json"
    )
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert answer["model"] == model
    assert 1 <= answer["tokens"] <= 8
    assert answer["text"]


def test_answer_streams_to_standard_output(cli, trained):
    result = cli("generate", "Hello", "--max-new-tokens", "6")
    assert result.code == 0
    assert result.out.strip()
    assert "tokens/s" in result.err


def test_sampling_repeats_with_its_seed(cli, trained):
    def sample(seed):
        options = ["--temperature", "1.5", "--seed", seed, "--max-new-tokens", "12", "--model", "base", "--json"]
        return json.loads(cli("generate", "Hello", *options).out)["text"]

    first = sample(3)
    assert sample(3) == first
    assert sample(4) != first


def test_prompt_longer_than_the_context_is_an_error_with_the_numbers(cli, trained):
    result = cli("generate", "word " * 900, "--max-new-tokens", "8")
    assert result.code == 1
    assert re.search(r"the prompt has \d{3,} tokens, but the model's context holds 512", result.err)


def test_project_stands_alone(trained):
    """Olive's own command and the project's program, without ours."""
    environment = {**child_environment(), "PYTHONPATH": ""}
    olive = [str(Path(sys.executable).parent / "olive"), "run", "--config"]
    for output in ("fine-tuning/adapters/lora", "gen-model/onnx-int8"):
        subprocess.run(["rm", "-r", str(trained / output)], check=True)
    config = trained / "fine-tuning" / "lora.json"
    config.write_text(config.read_text().replace('"max_steps": 16', '"max_steps": 2'))
    for name in ("fine-tuning/lora.json", "gen-model/onnx-int8.json"):
        subprocess.run([*olive, name], cwd=trained, env=environment, check=True, capture_output=True)
    assert (trained / "fine-tuning" / "adapters" / "lora" / "adapter" / "adapter_model.safetensors").is_file()
    app = [sys.executable, "inferences/app.py", "Hello"]
    result = subprocess.run(app, cwd=trained, env=environment, check=True, capture_output=True, text=True)
    assert result.stdout.startswith("Hello\n")
    assert len(result.stdout) > len("Hello\n\n")


def test_failure_inside_olive_is_a_failure(cli, trained):
    """Olive itself ends with exit code 0 here, and leaves the old output."""
    old = record(trained / "fine-tuning" / "adapters" / "lora")
    result = cli("run", "fine-tuning", "--set", 'passes.lora.target_modules=["nowhere"]')
    assert result.code == 1
    assert "the model has no layer named" in result.err
    assert "run.log" in result.err
    assert record(trained / "fine-tuning" / "adapters" / "lora") == old


def test_model_that_cannot_be_opened_is_a_failure(cli, trained):
    model = next((trained / "model-cache").rglob("model.safetensors"))
    model.write_bytes(b"not weights")
    result = cli("run", "fine-tuning")
    assert result.code == 1
    assert "Traceback" not in result.err


HOOK = """
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        target = str(arguments[1] if event == "socket.connect" else arguments[0])
        if not any(name in target for name in ("127.0.0.1", "localhost", "::1")) and not target.startswith("/"):
            with open(os.environ["NETWORK_RECORD"], "a") as record:
                record.write(f"{event} {target}\\n")
sys.addaudithook(watch)
"""


def test_nothing_tries_to_leave_the_machine(cli, tiny_project, tmp_path, monkeypatch):
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    seen = tmp_path / "network.txt"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hook"))
    monkeypatch.setenv("NETWORK_RECORD", str(seen))
    # The hook does see an attempt.
    attempt = "import socket\ntry: socket.getaddrinfo('hub.invalid', 443)\nexcept OSError: pass"
    subprocess.run([sys.executable, "-c", attempt], check=True)
    assert "hub.invalid" in seen.read_text()
    seen.unlink()
    assert cli("run", "all", "--quiet").code == 0
    assert cli("generate", "Hello", "--max-new-tokens", "4").code == 0
    assert not seen.exists(), seen.read_text()


@pytest.mark.skipif(os.system("command -v strace >/dev/null 2>&1") != 0, reason="strace is not installed")
def test_native_code_opens_no_connection(trained, tmp_path):
    """ONNX Runtime has telemetry of its own, below Python: count system calls."""
    trace = tmp_path / "trace.txt"
    command = [sys.executable, "-m", "scaffolder", "generate", "Hello", "--max-new-tokens", "4"]
    subprocess.run(["strace", "-f", "-e", "trace=connect", "-o", str(trace), *command], check=True, capture_output=True)
    outside = [
        line
        for line in trace.read_text().splitlines()
        if "AF_INET" in line and "127.0.0.1" not in line and "::1" not in line
    ]
    assert outside == []
