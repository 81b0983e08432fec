"""The configurations that the tests share."""

from __future__ import annotations

import json
from pathlib import Path

from scaffolder.oliveconfig import check, dumps, parse, upgrade

HERE = Path(__file__).parent
FILES = [
    "datasets/train.jsonl",
    "datasets/eval.jsonl",
    "datasets/pirate.jsonl",
    "datasets/calib.jsonl",
    "datasets/Your train_data.json Azure ML Location",
    "models/pirate_pt/adapter/adapter_config.json",
    "scripts/data.py",
    "olive_peft_hook.py",
    "env/bin/python",
]
# The component that export.json names.
SCRIPT = """
from olive.data.registry import Registry

@Registry.register_pre_process()
def my_pre_process(dataset, **kwargs):
    return dataset
"""


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def valid_configs():
    """Configurations that today's Olive takes, by name; all of them were run by hand or made for this."""
    found = {path.stem: load(path) for path in sorted((HERE / "configs").glob("*.json"))}
    seeds = {f"seed_{path.stem}": upgrade(load(path)).config for path in sorted((HERE / "seeds").glob("*.json"))}
    assert len(found) == 10
    assert len(seeds) == 2
    return found | seeds


DATA = {
    "name": "train",
    "type": "HuggingfaceContainer",
    "load_dataset_config": {"data_name": "json", "data_files": "datasets/train.jsonl", "split": "train"},
}


def config(**parts):
    """A configuration with a model and whatever else is named."""
    return {"input_model": {"type": "HfModel", "model_path": "org/model"}, **parts}


def errors(result, root):
    """What is still wrong with the result of an upgrade."""
    found = check(parse(dumps(result.config)), root=root)
    return [problem for problem in found if problem.severity == "error"]


def kinds(result):
    """What was done, and to which keys."""
    return {(change.kind, change.key.rpartition(".")[2]) for change in result.changes}
