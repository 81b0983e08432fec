"""Small parts by themselves: content hashes, overrides, sizes, locks, events."""

import json
import multiprocessing
import time

import pytest

from scaffolder import plan
from scaffolder.cli.options import key_values
from scaffolder.cli.output import Output, size_text, time_text
from scaffolder.cli.progress import Lines
from scaffolder.content import Hashes, digest
from scaffolder.errors import UsageError
from scaffolder.lock import Locked, project_lock


@pytest.fixture
def tomorrow(monkeypatch):
    """A clock that is a day ahead: what is written now has long settled."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 86_400 * 10**9)


@pytest.mark.usefixtures("tomorrow")
def test_hash_is_remembered_while_a_file_stays_the_same(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights")
    hashes = Hashes(tmp_path / "memory.json")
    first = hashes.file(path)
    hashes.save()
    assert json.loads((tmp_path / "memory.json").read_text())[str(path)][-1] == first
    assert Hashes(tmp_path / "memory.json").file(path) == first


@pytest.mark.usefixtures("tomorrow")
def test_changed_content_is_seen(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"one")
    hashes = Hashes(tmp_path / "memory.json")
    before = hashes.file(path)
    path.write_bytes(b"two")
    assert hashes.file(path) != before


def test_file_changed_just_now_is_not_remembered(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"one")
    hashes = Hashes(tmp_path / "memory.json")
    hashes.file(path)
    hashes.save()
    assert not (tmp_path / "memory.json").exists()


def test_fresh_hashes_forget(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"one")
    memory, status = tmp_path / "memory.json", path.stat()
    mark = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    memory.write_text(json.dumps({str(path): [*mark, "wrong"]}))
    assert Hashes(memory).file(path) == "wrong"
    assert Hashes(memory, fresh=True).file(path) != "wrong"


def test_folder_hash_covers_names_and_contents(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "a").write_text("1")
    hashes = Hashes(tmp_path / "memory.json")
    first = hashes.path(folder)
    (folder / "a").rename(folder / "b")
    assert hashes.path(folder) != first


def test_unreadable_memory_counts_as_none(tmp_path):
    (tmp_path / "memory.json").write_text("[broken")
    (tmp_path / "x").write_text("x")
    assert len(Hashes(tmp_path / "memory.json").file(tmp_path / "x")) == 64


def test_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest([1, 2]) != digest([2, 1])


def test_values_are_set_by_path_and_by_name():
    config = {"passes": {"lora": {"r": 8}}, "data_configs": [{"name": "train", "x": {}}, {"name": "eval"}]}
    plan.set_value(config, "passes.lora.r", 16)
    plan.set_value(config, "data_configs.train.x.max_seq_len", 64)
    plan.set_value(config, "data_configs.1.y", [1])
    assert config["passes"]["lora"]["r"] == 16
    assert config["data_configs"][0]["x"] == {"max_seq_len": 64}
    assert config["data_configs"][1]["y"] == [1]


@pytest.mark.parametrize("path", ["passes.lroa.r", "data_configs.tain.x", "data_configs.7.x", "passes.lora.r.deeper"])
def test_path_that_leads_nowhere_is_refused(path):
    config = {"passes": {"lora": {"r": 8}}, "data_configs": [{"name": "train"}]}
    with pytest.raises(UsageError):
        plan.set_value(config, path, 1)


def test_difference_says_what_changed():
    before = plan.Fingerprint({"a": "1", "b": "1"}, {"olive-ai": "0.12"}, "cpu", "x")
    after = plan.Fingerprint({"a": "2", "c": "1"}, {"olive-ai": "0.13"}, "gpu", "y")
    text = after.difference(before)
    for part in ("a changed", "b changed", "c changed", "olive-ai is now 0.13", "configuration", "gpu"):
        assert part in text
    assert before.difference(before) == "nothing changed"
    assert after.key != before.key


def test_named_files_are_inputs_with_their_globs(project):
    found = plan._named_paths({"x": ["datasets/*.jsonl", "no/such"], "y": "fine-tuning", "z": 3}, project)
    assert {path.relative_to(project).as_posix() for path in found} == {
        "datasets/train.jsonl", "datasets/eval.jsonl", "fine-tuning",
    }  # fmt: skip


def test_key_values_are_json_where_they_can_be():
    assert key_values(["a=1", "b=x y", "c=[1]", "d=true", "e="], "--set") == {
        "a": 1, "b": "x y", "c": [1], "d": True, "e": "",
    }  # fmt: skip
    with pytest.raises(UsageError):
        key_values(["novalue"], "--set")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (2_000, "2 kB"), (158e6, "158 MB"), (7.6e9, "7.60 GB"), (139e9, "139 GB")],
)
def test_sizes(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.5, "9.5 s"), (42, "42 s"), (83, "1 min 23 s"), (7265, "2 h 01 min")]
)
def test_times(seconds, text):
    assert time_text(seconds) == text


def hold(folder, ready, leave):
    with project_lock(folder, purpose="run fine-tuning"):
        ready.set()
        leave.wait(30)


def test_lock_names_its_holder_and_ends_with_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path, ready, leave))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(Locked, match=f"process {holder.pid} .*run fine-tuning"), project_lock(tmp_path, purpose="x"):
        pass
    holder.kill()
    holder.join(30)
    # A dead holder holds nothing.
    with project_lock(tmp_path, purpose="x"):
        pass


def test_lines_of_a_run_read_as_sentences(capsys):
    lines = Lines(Output())
    step = {
        "event": "step",
        "step": 4,
        "steps": 4,
        "tokens_per_second": 120.4,
        "seconds_left": 0,
        "memory": 3.7e9,
        "gpu_memory": 0,
    }
    for event in (
        {"event": "workflow", "name": "fine-tuning", "preset": "lora", "reason": "no verified result yet"},
        {"event": "stage", "name": "lora", "pass_type": "lora", "state": "start"},
        {"event": "metrics", "step": 1, "loss": 3.25},
        step,
        {"event": "stage", "name": "lora", "pass_type": "lora", "state": "done", "seconds": 61},
        {"event": "verified", "size": 2e7, "metrics": {"before": {"loss": 4.0}, "after": {"loss": 3.0}}},
        {"event": "result", "workflow": "fine-tuning", "fresh": True, "reason": ""},
    ):
        lines(event)
    assert capsys.readouterr().err.splitlines() == [
        "fine-tuning (lora): no verified result yet",
        "  step 4/4  loss 3.250  120 tokens/s  3.70 GB  0.0 s left",
        "  lora: 1 min 01 s",
        "  works: 20 MB, evaluation loss 4.000 → 3.000 (-25 %)",
        "fine-tuning: verified",
    ]


def test_debug_shows_the_traceback(project, monkeypatch, capsys):
    from scaffolder.cli import main

    monkeypatch.setenv("SCAFFOLDER_DEBUG", "1")
    assert main(["run", "no-such-workflow"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_unexpected_error_asks_for_a_report(project, capsys):
    from scaffolder.cli import main

    # A link to itself: nobody's mistake that we know of.
    (project / "datasets" / "train.jsonl").unlink()
    (project / "datasets" / "train.jsonl").symlink_to("train.jsonl")
    (project / "fine-tuning" / "lora.json").unlink()
    (project / "fine-tuning" / "lora.json").symlink_to("lora.json")
    assert main(["run", "fine-tuning"]) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
