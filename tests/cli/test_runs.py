import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

import pytest

from scaffolder import curves
from tests.conftest import add_tiny_model
from tests.test_interrupts import long_run, start, wait_for


def write_run(root, name, events, *, folder="fine-tuning"):
    """A run's folder as a worker would have left it."""
    path = root / folder / "runs" / name
    path.mkdir(parents=True)
    (path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def begin(at, *, workflow="fine-tuning", preset="lora", pid=0, rank=16):
    config = {"passes": {"lora": {"type": "LoRA", "r": rank}}, "output_dir": "fine-tuning/adapters/lora"}
    fingerprint = {
        "inputs": {"datasets/train.jsonl": "a" * 64},
        "versions": {"torch": "2.13.0"},
        "accelerator": "cpu",
        "settings": "s",
    }
    return {
        "event": "begin", "time": at, "pid": pid, "workflow": workflow, "preset": preset, "reason": "no result yet",
        "output": "fine-tuning/adapters/lora", "config": config, "fingerprint": fingerprint,
    }  # fmt: skip


def training(at, losses, *, steps=None, first=1):
    count = steps or len(losses)
    yield {"event": "training", "time": at, "step": first - 1, "steps": count, "epochs": 1.0}
    for step, loss in enumerate(losses, first):
        yield {
            "event": "step", "time": at + step, "step": step, "steps": count, "tokens": 100 * step,
            "tokens_per_second": 50.0, "seconds_left": 1.0, "memory": 10**9, "gpu_memory": 0,
        }  # fmt: skip
        yield {"event": "metrics", "time": at + step, "step": step, "loss": loss, "learning_rate": 0.1}


def ended(at, state, message=""):
    return {"event": "ended", "time": at, "state": state, "message": message}


@pytest.fixture
def unfinished(project):
    """A project whose runs all ended without a result, each in another way."""
    failure = {"event": "failed", "time": 1030.0, "type": "OSError", "message": "the disk is full", "hint": ""}
    write_run(project, "fine-tuning-lora-aaaa11112222", [begin(1000.0), *training(1001.0, [3.0, 2.5], steps=10)])
    write_run(
        project,
        "fine-tuning-lora-bbbb11112222",
        [begin(2000.0, rank=8), *training(2001.0, [3.1, 2.0]), failure, ended(2030.0, "failed", "the disk is full")],
    )
    write_run(project, "gen-model-onnx-int8-cccc11112222", [
        begin(3000.0, workflow="gen-model", preset="onnx-int8"), ended(3004.0, "stopped"),
    ], folder="gen-model")  # fmt: skip
    return project


def listed(cli):
    return {run["id"].rpartition("-")[2][:4]: run for run in json.loads(cli("runs", "list", "--json").out)}


def test_a_project_without_runs_has_an_empty_list(cli, project):
    result = cli("runs", "list")
    assert result.code == 0
    assert result.out == ""
    assert "nothing ran" in result.err
    assert json.loads(cli("runs", "list", "--json").out) == []


def test_runs_without_a_result_are_listed_with_how_they_ended(cli, unfinished):
    runs = listed(cli)
    assert list(runs) == ["cccc", "bbbb", "aaaa"]  # newest first
    assert {name: run["state"] for name, run in runs.items()} == {"aaaa": "died", "bbbb": "failed", "cccc": "stopped"}
    assert runs["bbbb"]["message"] == "the disk is full"
    assert (runs["aaaa"]["step"], runs["aaaa"]["steps"], runs["aaaa"]["last_loss"]) == (2, 10, 2.5)


def test_the_list_fits_eighty_columns(cli, unfinished):
    made = {"event": "verified", "time": 4030.0, "size": 118_000_000, "metrics": {"after": {"loss": 2.949}}}
    write_run(unfinished, "gen-model-base-onnx-int4-small-dddd11112222", [
        begin(4000.0, workflow="gen-model", preset="base-onnx-int4-small"),
        *training(4001.0, [2.5, 2.25], steps=2), made, ended(4099.0, "verified"),
    ], folder="gen-model")  # fmt: skip
    lines = cli("runs", "list").out.splitlines()
    assert len(lines) == 5
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert "2/10" in lines[4]
    # Names give way, figures never.
    assert lines[1].split()[-5:] == ["2", "2.250", "2.949", "118", "MB"]
    assert "verified" in lines[1]


def test_a_run_of_a_live_process_is_running(cli, unfinished):
    from scaffolder.lock import project_lock

    write_run(unfinished, "fine-tuning-lora-dddd11112222", [begin(time.time() - 5, pid=os.getpid())])
    assert listed(cli)["dddd"]["state"] == "died"
    with project_lock(unfinished / ".scaffolder", purpose="run fine-tuning"):
        running = listed(cli)["dddd"]
    assert running["state"] == "running"
    assert running["seconds"] >= 5


def test_events_of_earlier_releases_and_half_lines_are_read(cli, project):
    path = write_run(project, "gen-model-onnx-int8-eeee11112222", training(1000.0, [3.0]), folder="gen-model")
    with (path / "events.jsonl").open("a") as stream:
        stream.write('{"event": "step", "ste')
    [run] = listed(cli).values()
    assert (run["workflow"], run["preset"], run["state"]) == ("gen-model", "onnx-int8", "died")


def test_a_run_is_found_by_key_id_or_workflow(cli, unfinished):
    for name, wanted in (("bbbb", "bbbb"), ("fine-tuning-lora-aa", "aaaa"), ("fine-tuning", "bbbb"), ("gen", "cccc")):
        found = json.loads(cli("runs", "show", name, "--json").out)
        assert found["run"]["id"].rpartition("-")[2].startswith(wanted)


def test_an_unknown_run_suggests_the_nearest(cli, unfinished):
    result = cli("runs", "show", "gen-modle")
    assert result.code == 2
    assert "did you mean `gen-model`" in result.err
    result = cli("runs", "show", "fine-tuning-lora")
    assert result.code == 2
    assert "fine-tuning-lora-aaaa11112222" in result.err
    assert "fine-tuning-lora-bbbb11112222" in result.err


def test_show_before_the_first_run_names_the_command(cli, project):
    result = cli("runs", "show", "fine-tuning")
    assert result.code == 1
    assert "scaffolder run all" in result.err


def test_show_tells_why_a_run_failed_and_what_it_was_made_from(cli, unfinished):
    result = cli("runs", "show", "bbbb")
    assert result.code == 0
    assert "failed: the disk is full" in result.out
    assert re.search(r"passes\.lora\.r +16 → 8", result.out)  # against the configuration file
    assert re.search(r"datasets/train\.jsonl +aaaaaaaaaaaa\n", result.out)
    assert "loss, nats per token" in result.out
    assert "runs/fine-tuning-lora-bbbb11112222/run.log" in result.out


def test_compare_names_the_keys_that_differ_as_set_takes_them(cli, unfinished):
    found = json.loads(cli("runs", "compare", "aaaa", "bbbb", "--json").out)
    assert found["configuration"] == [{"key": "passes.lora.r", "old": 16, "new": 8}]
    assert found["inputs"] == []
    assert found["versions"] == []
    assert {"key": "state", "old": "died", "new": "failed"} in found["figures"]
    text = cli("runs", "compare", "aaaa", "bbbb").out
    assert re.search(r"passes\.lora\.r +16 → 8", text)
    assert "inputs\n  the same" in text
    assert "• fine-tuning-lora-aaaa11112222" in text
    assert "○ fine-tuning-lora-bbbb11112222" in text


def test_tail_of_an_ended_run_tells_how_it_ended(cli, unfinished):
    result = cli("runs", "tail", "bbbb")
    assert result.code == 1
    assert "step 2/2" in result.out
    assert "the disk is full" in result.err
    events = [json.loads(line) for line in cli("runs", "tail", "bbbb", "--json").out.splitlines()]
    assert events[0]["event"] == "begin"
    assert events[-1]["state"] == "failed"


def test_what_a_resumed_attempt_did_again_replaces_what_was_there():
    events = [*training(0.0, [9.0, 8.0, 7.0, 6.0]), *training(10.0, [5.0], first=3)]
    assert curves.of_events(events).training == [(1, 9.0), (2, 8.0), (3, 5.0)]


def test_a_loss_that_is_not_finite_leaves_a_gap():
    events = [*training(0.0, [9.0, None, 7.0])]
    assert curves.of_events(events).training == [(1, 9.0), (3, 7.0)]


def test_a_noisy_curve_is_averaged_and_a_calm_one_is_not():
    calm = [(step, 3.0 - 0.05 * step) for step in range(40)]
    assert curves.smooth(calm) == (calm, 1)
    noisy = [(step, loss + (0.5 if step % 2 else -0.5)) for step, loss in calm]
    averaged, window = curves.smooth(noisy)
    assert window > 1
    assert max(abs(loss - true) for (_, loss), (_, true) in zip(averaged[5:-5], calm[5:-5], strict=True)) < 0.2


@pytest.mark.parametrize("losses", [[2.0, 2.0], [3.0, 2.5, 2.0], [3.0 - step / 5000 for step in range(5000)]])
def test_the_drawing_is_svg_with_title_axes_and_units(losses):
    drawing = curves.svg(curves.of_events(training(0.0, losses)), title="fine-tuning <lora> & more")
    root = ElementTree.fromstring(drawing)
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "fine-tuning <lora> & more: loss" in texts
    assert "step" in texts
    assert "loss, nats per token" in texts
    [line] = root.iter("{http://www.w3.org/2000/svg}polyline")
    points = [tuple(float(number) for number in pair.split(",")) for pair in line.get("points").split()]
    assert len(points) <= 2600
    assert all(0 <= x <= 720 and 0 <= y <= 420 for x, y in points)


@pytest.mark.olive
def test_finished_runs_are_shown_with_lineage_and_curve(cli, trained):
    runs = json.loads(cli("runs", "list", "--json").out)
    assert [(run["workflow"], run["state"]) for run in runs] == [("gen-model", "verified"), ("fine-tuning", "verified")]
    tuned, exported = (json.loads(cli("runs", "show", name, "--json").out) for name in ("fine-tuning", "gen-model"))
    assert exported["parents"] == [tuned["run"]["id"]]
    assert tuned["parents"] == []
    assert [step for step, _ in tuned["curve"]["training"]] == [1, 2, 3, 4]
    assert {"key": "passes.lora.training_args.max_steps", "old": 16, "new": 4} in tuned["changes"]
    assert tuned["run"]["evaluation_loss"] == tuned["metrics"]["after"]["loss"]
    assert tuned["files"].keys() >= {"adapter/adapter_model.safetensors"}
    drawing = (trained / tuned["plot"]).read_text()
    assert "evaluation: " in drawing
    assert str(trained) not in drawing
    assert exported["plot"] is None
    assert cli("runs", "tail").code == 0


@pytest.mark.olive
def test_a_run_is_known_after_its_artefact_is_gone(cli, trained):
    shutil.rmtree(trained / "fine-tuning" / "adapters")
    found = json.loads(cli("runs", "show", "fine-tuning", "--json").out)
    assert found["run"]["state"] == "verified"
    assert found["metrics"]["after"]["loss"] > 0
    assert json.loads(cli("runs", "show", "gen-model", "--json").out)["parents"] == [found["run"]["id"]]


@pytest.mark.olive
def test_a_watched_run_goes_on_when_the_watching_ends(cli, project):
    long_run(project)
    process = start(project, "run", "fine-tuning")
    wait_for(project, {"event": "step", "step": 2})
    assert json.loads(cli("runs", "list", "--json").out)[0]["state"] == "running"
    watching = start(project, "runs", "tail")
    assert "fine-tuning (lora)" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert process.poll() is None
    command = [sys.executable, "-m", "scaffolder", "runs", "tail"]
    again = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    again.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    out, _ = again.communicate(timeout=30)
    assert again.returncode == 1
    assert out.splitlines()[-1] == "stopped"
    assert json.loads(cli("runs", "list", "--json").out)[0]["state"] == "stopped"


@pytest.mark.olive
def test_tail_goes_on_with_the_next_workflow(project):
    add_tiny_model(project)
    process = start(project, "run", "all")
    wait_for(project, {"event": "begin", "workflow": "fine-tuning"})
    out, err = start(project, "runs", "tail").communicate(timeout=300)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert "fine-tuning (lora)" in out, err
    assert "gen-model (onnx-int8)" in out
    assert out.count("  works: ") == 2
