"""Kills over fine-tuning and export: nothing partial is ever seen, nothing stays, the weights are the same.

A run goes through the moments of `MOMENTS` in order, from the command's first millisecond to the rename that
publishes. Each chain kills at every fourth of them (in the quick tests: every seventh), the command and the worker
in turn, a random but seeded delay after the event that marks the moment; every kill is followed by the same command
again, and the last of these runs to its end. Where a moment has no worker, or a run was quicker than its killer, the
next chance is taken; the kills that hit are counted, and forty (six) are required. While anything runs, a watcher
looks at the two published folders every few milliseconds.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid

import psutil
import pytest

from scaffolder.content import Hashes
from scaffolder.records import read_record
from tests.conftest import add_tiny_model

pytestmark = [pytest.mark.olive, pytest.mark.timeout(1800)]

SEED = 20
PUBLISHED = ("fine-tuning/adapters/lora", "gen-model/onnx-int8")


def stage(name, state="start"):
    return {"event": "stage", "name": name, "state": state}


def step(number):
    return {"event": "step", "step": number}


# The workflow, the event that marks the moment, and the longest delay after it in seconds.
TUNING = [
    ({"event": "begin"}, 1.5), (stage("olive"), 1.5), (stage("lora"), 0.4), ({"event": "training"}, 0.2),
    (step(2), 0.05), (step(4), 0.02), (step(5), 0.1), (step(9), 0.05), (step(10), 0.1), (step(14), 0.02),
    (step(15), 0.1), (step(18), 0.05), (step(20), 0.1), (step(23), 0.02), (step(25), 0.1), (step(28), 0.02),
    (step(30), 0.1), ({"event": "trained"}, 0.1), (stage("verify"), 0.3), ({"event": "verified"}, 0.05),
    ({"event": "end"}, 0.5), ({"event": "ended"}, 0.03),
]  # fmt: skip
EXPORT = [
    ({"event": "begin"}, 0.5), ({"event": "begin"}, 2.0), (stage("olive"), 0.3), (stage("olive"), 1.0),
    (stage("merge"), 0.1), (stage("merge", "done"), 0.05), (stage("quantize"), 0.3), (stage("quantize", "done"), 0.02),
    (stage("builder"), 0.05), (stage("builder"), 0.2), (stage("tie"), 0.02), (stage("tie", "done"), 0.02),
    (stage("verify"), 0.02), (stage("verify"), 0.1), ({"event": "verified"}, 0.05), ({"event": "end"}, 0.5),
    ({"event": "ended"}, 0.01), ({"event": "ended"}, 0.03),
]  # fmt: skip
MOMENTS = [("fine-tuning", *moment) for moment in TUNING] + [("gen-model", *moment) for moment in EXPORT]


class Watcher(threading.Thread):
    """Looks at the published folders all the time; what is seen under a final name must be whole."""

    def __init__(self, root):
        super().__init__(daemon=True)
        self.root, self.seen, self.partial = root, {}, []
        self.ended = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()

    def run(self):
        while not self.ended.wait(0.01):
            for name in PUBLISHED:
                self.look(name)

    def look(self, name):
        folder = self.root / name
        try:
            inode = folder.stat().st_ino
        except OSError:
            return
        if self.seen.get(name) != inode:
            self.seen[name] = inode
            record = read_record(folder)
            if record is None or not record.intact(folder, Hashes(self.root / "none.json", fresh=True)):
                self.partial.append(name)


class Attempt:
    """One start of the command, and what it reports."""

    def __init__(self, root):
        self.root, self.mark = root, uuid.uuid4().hex
        self.read = {path: path.stat().st_size for path in root.glob("*/runs/*/events.jsonl")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scaffolder", "run", "all", "--quiet"],
            cwd=root,
            env={**os.environ, "RUN_OF_TEST": self.mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def news(self, workflow):
        """Yield the events of this attempt that have not been read yet."""
        for path in self.root.glob(f"{workflow}/runs/*/events.jsonl"):
            start = self.read.get(path, 0)
            if path.stat().st_size == start:
                continue
            with path.open("rb") as stream:
                stream.seek(start)
                lines = stream.read().rpartition(b"\n")[0]
            self.read[path] = start + len(lines) + bool(lines)
            yield from (json.loads(line) for line in lines.splitlines())

    def wait_for(self, workflow, wanted):
        """Return whether an event like `wanted` came before the command ended; of steps, this one or a later one."""
        deadline = time.monotonic() + 200
        while self.process.poll() is None:
            for event in self.news(workflow):
                later = wanted["event"] == event["event"] == "step" and event["step"] >= wanted["step"]
                if later or wanted.items() <= event.items():
                    return True
            assert time.monotonic() < deadline, f"no event {wanted} in {workflow}"
            time.sleep(0.01)
        return False

    def family(self):
        """Every process that was started by this attempt, wherever it went."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("RUN_OF_TEST") == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def kill(self, victim):
        """Kill the command or its worker; return whether it still ran."""
        if victim == "worker":
            workers = [process for process in self.family() if process.pid != self.process.pid]
            if not workers:
                victim = "command"
            for process in workers:
                process.kill()
        if victim == "command" and self.process.poll() is None:
            self.process.kill()
        _, err = self.process.communicate(timeout=120)
        assert "Traceback" not in err
        if victim == "worker":
            return self.process.returncode == 1 and "killed" in err
        return self.process.returncode == -signal.SIGKILL

    def nothing_stays(self):
        deadline = time.monotonic() + 20
        while (left := self.family()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left == []


def clear(root):
    for name in ("fine-tuning/adapters", "fine-tuning/runs", "gen-model/onnx-int8", "gen-model/runs", ".scaffolder"):
        shutil.rmtree(root / name, ignore_errors=True)


def finish(root):
    attempt = Attempt(root)
    _, err = attempt.process.communicate(timeout=300)
    assert attempt.process.returncode == 0, err
    assert attempt.nothing_stays()
    return {name: read_record(root / name) for name in PUBLISHED}


@pytest.fixture
def short_steps(project):
    """A project that trains 30 small steps and saves every fifth."""
    add_tiny_model(project)
    manifest = project / "scaffolder.toml"
    steps = 'max_steps" = 30\n"passes.lora.training_args.save_steps" = 5'
    manifest.write_text(manifest.read_text().replace('max_steps" = 4', steps))
    return project


@pytest.mark.parametrize(("kills", "apart"), [(6, 7), pytest.param(40, 4, marks=pytest.mark.thorough)])
def test_kills_leave_nothing_and_change_nothing(short_steps, kills, apart):
    expected = finish(short_steps)
    chance, hits = random.Random(SEED), 0
    for chain in range(3 * apart):
        clear(short_steps)
        with Watcher(short_steps) as watcher:
            for number, (workflow, wanted, longest) in enumerate(MOMENTS[chain % apart :: apart]):
                if hits == kills:
                    break
                attempt = Attempt(short_steps)
                if attempt.wait_for(workflow, wanted):
                    time.sleep(chance.uniform(0, longest))
                hits += attempt.kill("worker" if (number + chain) % 2 else "command")
                assert attempt.nothing_stays(), wanted
                assert watcher.partial == [], wanted
            made = finish(short_steps)
        assert watcher.partial == []
        for name in PUBLISHED:
            assert made[name].files == expected[name].files
            assert made[name].intact(short_steps / name, Hashes(short_steps / "none.json", fresh=True))
        if hits == kills:
            break
    assert hits == kills
