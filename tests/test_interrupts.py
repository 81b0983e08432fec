"""Ctrl-C and kills: nothing half-made, nothing left running, and the same command goes on."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from tests.conftest import add_tiny_model

pytestmark = pytest.mark.olive


def start(root, *arguments):
    command = [sys.executable, "-m", "scaffolder", *arguments]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(root, wanted, seconds=120):
    """Wait until the worker reports an event that contains `wanted`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for path in root.glob("*/runs/*/events.jsonl"):
            for line in path.read_text().splitlines():
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if wanted.items() <= event.items():
                    return event
        time.sleep(0.02)
    raise AssertionError(f"no event {wanted}")


def workers(root):
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        try:
            if process.cwd() == str(root) and any(part.endswith("worker") for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def long_run(root):
    add_tiny_model(root)
    manifest = root / "scaffolder.toml"
    manifest.write_text(manifest.read_text().replace('max_steps" = 4', 'max_steps" = 400'))


def interrupt(project, process):
    """Press Ctrl-C in a fine-tuning and return what it says; it ends as one that can go on."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "`scaffolder run fine-tuning` continues" in err
    assert not (project / "fine-tuning" / "adapters").exists()
    assert workers(project) == []
    return err


def test_interrupt_before_training_leaves_a_run_that_can_go_on(project):
    long_run(project)
    process = start(project, "run", "fine-tuning")
    wait_for(project, {"event": "stage", "name": "olive", "state": "start"})
    interrupt(project, process)


def test_interrupt_in_training_saves_a_checkpoint_and_goes_on_from_it(project):
    long_run(project)
    process = start(project, "run", "fine-tuning")
    wait_for(project, {"event": "step", "step": 5})
    err = interrupt(project, process)
    saved = wait_for(project, {"event": "checkpoint"})["step"]
    assert saved >= 5
    assert f"from step {saved}" in err
    again = start(project, "run", "fine-tuning")
    resumed = None
    deadline = time.monotonic() + 120
    while resumed is None and time.monotonic() < deadline:
        events = [
            json.loads(line)
            for path in project.glob("fine-tuning/runs/*/events.jsonl")
            for line in path.read_text().splitlines()
            if line.endswith("}")
        ]
        begun = [event["step"] for event in events if event["event"] == "training"]
        resumed = begun[1] if len(begun) > 1 else None
        time.sleep(0.05)
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    assert resumed == saved


def test_interrupt_in_the_export_leaves_nothing_half_made(trained):
    for path in trained.glob("gen-model/runs"):
        subprocess.run(["rm", "-r", str(path)], check=True)
    before = (trained / "gen-model" / "onnx-int8" / "run.json").read_text()
    process = start(trained, "run", "gen-model", "--restart")
    wait_for(trained, {"event": "stage", "name": "builder", "state": "start"})
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert (trained / "gen-model" / "onnx-int8" / "run.json").read_text() == before
    assert workers(trained) == []


def test_worker_ends_when_the_command_is_killed(project):
    long_run(project)
    process = start(project, "run", "fine-tuning")
    wait_for(project, {"event": "step", "step": 2})
    assert workers(project)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while workers(project) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers(project) == []


def test_killed_run_ends_with_the_weights_of_an_uninterrupted_one(trained, tmp_path):
    def weights():
        record = json.loads((trained / "fine-tuning" / "adapters" / "lora" / "run.json").read_text())
        return record["files"]["adapter/adapter_model.safetensors"]

    expected = weights()
    subprocess.run(["rm", "-r", str(trained / "fine-tuning" / "adapters"), str(trained / "fine-tuning" / "runs")])
    process = start(trained, "run", "fine-tuning")
    wait_for(trained, {"event": "step", "step": 2})
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    again = start(trained, "run", "fine-tuning")
    _, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    assert weights() == expected


def test_closed_terminal_leaves_no_process(project):
    """A real terminal, whose window closes in the middle of training."""
    long_run(project)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project)
        os.execv(sys.executable, [sys.executable, "-m", "scaffolder", "run", "fine-tuning"])
    reader = threading.Thread(target=drain, args=(terminal,), daemon=True)
    reader.start()
    wait_for(project, {"event": "step", "step": 3})
    assert workers(project)
    os.close(terminal)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + 20
    while workers(project) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers(project) == []
    assert not (project / "fine-tuning" / "adapters").exists()


def drain(terminal):
    """Read what is shown, as a terminal does, until it is closed."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass


def test_request_to_end_saves_a_checkpoint(project):
    """What a scheduler or `docker stop` sends."""
    long_run(project)
    process = start(project, "run", "fine-tuning")
    wait_for(project, {"event": "step", "step": 3})
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    saved = wait_for(project, {"event": "checkpoint"})["step"]
    assert f"from step {saved}" in err
    assert workers(project) == []


def test_second_run_waits_where_it_is_asked_to(trained):
    from scaffolder.lock import project_lock

    with project_lock(trained / ".scaffolder", purpose="run gen-model"):
        process = start(trained, "run", "fine-tuning", "--wait")
        time.sleep(3)
        assert process.poll() is None
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert f"waiting: process {os.getpid()} has been working in this project since" in err
    assert "fine-tuning/adapters/lora" in out


def test_lock_of_a_killed_run_is_taken_over(project):
    long_run(project)
    process = start(project, "run", "fine-tuning")
    wait_for(project, {"event": "stage", "name": "olive", "state": "start"})
    second = start(project, "run", "fine-tuning")
    _, err = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"process {process.pid} has been working in this project since" in err
    process.kill()
    process.communicate(timeout=60)
    assert json.loads((project / ".scaffolder" / "lock.json").read_text())["pid"] == process.pid
    third = start(project, "run", "fine-tuning", "--set", "passes.lora.training_args.max_steps=2")
    _, err = third.communicate(timeout=120)
    assert third.returncode == 0, err
