"""What holds on every engine: success, failure, cancelling, logs, a killed process, fetching; the same weights."""

import dataclasses
import hashlib
import json
import threading
import time

import pytest

from scaffolder.content import Hashes
from scaffolder.project import find_project
from scaffolder.records import read_record
from scaffolder.remote import store
from scaffolder.remote.engine import engine_for
from tests.remote.conftest import STEPS

pytestmark = [pytest.mark.olive, pytest.mark.timeout(600)]

ADAPTER = "fine-tuning/adapters/lora"
# Digest of the adapter that the first engine made; every other one has to make the same bytes.
made = {}


def newest():
    project = find_project()
    reference = store.find(project)
    return project, reference, engine_for(project, reference.job.target, reference.engine)


def test_a_job_that_the_engine_does_not_know_is_unknown(place):
    from scaffolder.remote.job import Job, references

    job = Job(
        id="fine-tuning-lora-00000000-1",
        target="there",
        workflow="fine-tuning",
        preset="lora",
        overrides={},
        run="fine-tuning/runs/none",
        folder="fine-tuning/runs/none/jobs/1",
        nodes=1,
        processes=1,
        inputs=(),
        output=ADAPTER,
        key="0" * 64,
        tags={},
    )
    project = find_project()
    [reference] = references([job], ["999999"], place.engine, **place.address)
    assert engine_for(project, "there", place.engine).status(reference).state == "unknown"


def test_a_failing_stage_fails_the_job_and_says_why(cli, place):
    modules = 'passes.lora.target_modules=["nothing_of_that_name"]'
    submitted = cli("run", "fine-tuning", "--on", "there", "--set", modules)
    assert submitted.code == 0, submitted.err
    name = submitted.out.strip()
    followed = cli("jobs", "logs", name, "--follow")
    assert followed.code == 1
    assert "the model has no layer named" in followed.err
    shown = json.loads(cli("jobs", "show", name, "--json").out)
    assert shown["state"] == "failed"
    assert shown["exit_code"] == 1
    fetched = cli("jobs", "fetch", name)
    assert fetched.code == 1
    assert "the model has no layer named" in fetched.err
    assert not (place.root / ADAPTER).exists()


def test_a_running_job_can_be_followed_and_cancelled(cli, place):
    submitted = cli("run", "fine-tuning", "--on", "there", "--set", "passes.lora.training_args.max_steps=5000")
    assert submitted.code == 0, submitted.err
    again = cli("run", "fine-tuning", "--on", "there", "--set", "passes.lora.training_args.max_steps=5000")
    assert again.code == 1
    assert "has not ended" in again.err
    assert cli("jobs", "fetch").code == 1
    _, reference, engine = newest()
    lines = []
    follower = threading.Thread(target=lambda: lines.extend(engine.logs(reference, follow=True)))
    follower.start()
    place.wait_for(reference.id, lambda event: event["event"] == "step" and event["step"] >= 2)
    assert engine.status(reference).state == "running"
    # Some engines collect what a job prints a little later.
    deadline = time.monotonic() + 60
    while not any('"event": "step"' in line for line in engine.logs(reference, follow=False)):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    if place.work == place.root:
        beside = cli("run", "fine-tuning", "--set", "passes.lora.training_args.max_steps=5000")
        assert beside.code == 1
        assert "is making the same" in beside.err
    cancelled = cli("jobs", "cancel", reference.id)
    assert cancelled.code == 0, cancelled.err
    follower.join(timeout=60)
    assert not follower.is_alive()
    assert any('"event": "training"' in line for line in lines)
    assert engine.status(reference).state == "cancelled"
    assert cli("jobs", "cancel", reference.id).code == 1
    assert place.ranks() == {}
    assert not (place.root / ADAPTER).exists()


def test_a_killed_process_fails_the_job_and_the_same_command_ends_with_the_same_weights(cli, place):
    assert cli("run", "fine-tuning", "--on", "there").code == 0
    _, first, _ = newest()
    place.wait_for(first.id, lambda event: event["event"] == "step" and event["step"] >= 8)
    place.ranks()[1].kill()
    followed = cli("jobs", "logs", first.id, "--follow")
    assert followed.code == 1
    assert not (place.root / ADAPTER).exists()

    resumed = cli("run", "fine-tuning", "--on", "there", "--follow", "--json")
    assert resumed.code == 0, resumed.err
    [result] = json.loads(resumed.out)
    training = next(event for event in read_attempt(place) if event["event"] == "training")
    assert 5 <= training["step"] < STEPS
    assert (training["processes"], training["global_batch"]) == (2, 8)
    assert result["training"]["processes"] == 2
    assert result["made_on"]["engine"] == place.engine

    weights = (place.root / ADAPTER / "adapter/adapter_model.safetensors").read_bytes()
    digest = hashlib.sha256(weights).hexdigest()
    assert made.setdefault("adapter", digest) == digest


def read_attempt(place):
    """Return the events of the job's newest attempt, without the verification here."""
    [path] = [
        path for path in place.root.glob("fine-tuning/runs/*/events.jsonl") if (path.parent / "run.json").exists()
    ]
    events = [json.loads(line) for line in path.read_text().splitlines()]
    begins = [index for index, event in enumerate(events) if event["event"] == "begin" and "pid" not in event]
    return events[begins[-1] :]


def test_a_fetched_result_is_one_like_any_other(cli, place):
    record = read_record(place.root / ADAPTER)
    assert record.intact(place.root / ADAPTER, Hashes(place.root / "none.json", fresh=True))
    texts = [path for path in (place.root / ADAPTER).rglob("*") if path.suffix in (".json", ".md", ".txt", ".jinja")]
    assert len(texts) >= 2
    assert [path for path in texts if str(place.root) in path.read_text()] == []
    # A run here has nothing to do, and neither has a job.
    assert "up to date" in cli("run", "fine-tuning", "--dry-run").out
    again = cli("run", "fine-tuning", "--on", "there")
    assert (again.code, again.out) == (0, "")
    assert "nothing changed since" in again.err
    fetched = cli("jobs", "fetch", "fine-tuning")
    assert fetched.code == 0, fetched.err
    assert "was published before" in fetched.err
    assert "verified" in cli("runs", "list").out
    listed = json.loads(cli("jobs", "list", "--json").out)
    assert [job["state"] for job in listed] == ["succeeded", "failed", "cancelled", "failed"]


def test_a_job_of_other_inputs_is_not_published(cli, place):
    rows = place.root / "datasets/train.jsonl"
    before = rows.read_text()
    rows.write_text("".join(before.splitlines(keepends=True)[:-1]))
    try:
        refused = cli("jobs", "fetch", "fine-tuning")
    finally:
        rows.write_text(before)
    assert refused.code == 2
    assert "made from something else" in refused.err


def test_references_hold_no_secret_and_no_path_of_the_machine(place):
    for path in (place.root / "jobs").glob("*.json"):
        assert str(place.root) not in path.read_text()
        reference = store.find(find_project(), path.stem)
        assert dataclasses.asdict(reference)["id"] == path.stem
