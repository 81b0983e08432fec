"""What the command keeps of a worker that ends without a word."""

from pathlib import Path

import pytest

from scaffolder.errors import RunFailed
from scaffolder.records import read_events
from scaffolder.workflow.supervise import supervise


def start(folder, python):
    job = {"root": str(folder), "cache": str(folder / "cache"), "config": {}, "base": {"id": "a/b"}}
    begin = {"workflow": "fine-tuning", "preset": "lora"}
    return supervise(Path(python), job, folder, lambda _: None, command="run fine-tuning", begin=begin)


def test_worker_that_ends_at_once_is_a_failure_with_its_log(tmp_path):
    with pytest.raises(RunFailed, match="ended with exit code 1 and without a verified result") as caught:
        start(tmp_path, "/bin/false")
    assert str(tmp_path / "run.log") in caught.value.hint
    assert [event["event"] for event in read_events(tmp_path)] == ["begin", "ended"]


def test_worker_that_does_nothing_is_a_failure_too(tmp_path):
    """Olive ends with exit code 0 and no model; an exit code alone proves nothing."""
    with pytest.raises(RunFailed, match="exit code 0 and without a verified result"):
        start(tmp_path, "/bin/true")


def test_half_a_line_of_a_killed_run_takes_nothing_along(tmp_path):
    (tmp_path / "events.jsonl").write_text('{"event": "begin"}\n{"event": "st')
    with pytest.raises(RunFailed):
        start(tmp_path, "/bin/false")
    assert [event["event"] for event in read_events(tmp_path)] == ["begin", "begin", "ended"]
