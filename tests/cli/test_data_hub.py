"""Data sets of the hub, through its own client, from a hub on loopback."""

import io
import json
import os
import subprocess
import sys

import pytest

from tests.hub_server import serve

REPO = "datasets/acme/questions"


def parquet(rows):
    import pyarrow as pa
    import pyarrow.parquet

    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


@pytest.fixture
def hub():
    files = {
        "README.md": b"# Questions",
        "data/train-00000-of-00002.parquet": parquet([{"question": "One?", "answer": "1"}]),
        "data/train-00001-of-00002.parquet": parquet([{"question": "Two?", "answer": "2"}]),
        "data/test-00000-of-00001.parquet": parquet([{"question": "Three?", "answer": "3"}]),
    }
    with serve() as found:
        found.put(REPO, files)
        yield found


def import_(root, hub, *arguments):
    """Run the command in a process of its own: huggingface_hub reads its variables when it is imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(root / "hf-home"),
    }
    command = [sys.executable, "-m", "scaffolder", "data", "import", *arguments, "-o", "datasets/hub.jsonl"]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=180)


def test_one_part_of_a_data_set_is_fetched_and_converted(hub, project):
    result = import_(project, hub, "hf://acme/questions", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["commit"] == hub.history[REPO][-1].id
    rows = [json.loads(line) for line in (project / "datasets" / "hub.jsonl").read_text().splitlines()]
    assert rows == [{"prompt": "One?", "response": "1"}, {"prompt": "Two?", "response": "2"}]
    assert not [request for request in hub.requests if "test-0000" in request]
    assert not list((project / ".scaffolder").glob("import-*"))


def test_part_can_be_a_pattern_and_a_missing_one_names_the_files(hub, project):
    assert import_(project, hub, "acme/questions", "--part", "data/test-*.parquet").returncode == 0
    result = import_(project, hub, "acme/questions", "--part", "validation", "--force")
    assert result.returncode == 2
    assert "has no data file for `validation`" in result.stderr
    assert "data/test-00000-of-00001.parquet" in result.stderr


def test_what_the_hub_does_not_have_or_does_not_answer(hub, project):
    missing = "no file or folder acme/nothing here, and the hub has no data set acme/nothing"
    assert missing in import_(project, hub, "acme/nothing").stderr.replace("\n", " ")
    result = import_(project, None, "acme/questions")
    assert result.returncode == 4
    assert "cannot be" in result.stderr
    hub.gated.add(REPO)
    assert "is gated" in import_(project, hub, "acme/questions").stderr
    assert not (project / "datasets" / "hub.jsonl").exists()
