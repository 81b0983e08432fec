"""Several adapters on one exported base: trained for real on a tiny model, swapped while it is loaded."""

import json
import os
import shutil
from pathlib import Path

import pytest

from scaffolder import inference
from scaffolder.artefacts import find_artefact
from scaffolder.cli import main
from scaffolder.project import find_project
from tests.conftest import add_tiny_model

pytestmark = pytest.mark.olive

STYLES = {
    "lamps": "The lamp keeper climbs the stair and lights the wick.",
    "counting": "0 1 2 3 4 5 6 7 8 9 10 11 12, then we stop.",
}
QUESTIONS = [
    "What is rain?",
    "What is snow?",
    "What is the colour of the sea?",
    "Answer with one word",
    "Who climbs the stair?",
    "When do the boats come home?",
    "What is a line of data?",
    "How does a small model answer?",
    "What falls from clouds?",
    "Is Oslo a city?",
]
TRAINING = {"max_steps": 24, "per_device_train_batch_size": 4, "learning_rate": 0.02}
DATA = "data_configs.train.load_dataset_config.data_files"


def train_second_style():
    settings = {
        **{f"passes.lora.training_args.{key}": value for key, value in TRAINING.items()},
        DATA: "datasets/counting.jsonl",
        "output_dir": "fine-tuning/adapters/counting",
    }
    pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    assert main(["run", "fine-tuning", "--quiet", *pairs]) == 0


@pytest.fixture(scope="module")
def two_styles(plain_project, tmp_path_factory):
    """A tiny model in 32 bits, exported with one adapter as an input, and a second one trained since."""
    root = tmp_path_factory.mktemp("styles") / "styles"
    shutil.copytree(plain_project, root)
    add_tiny_model(root)
    for style, answer in STYLES.items():
        rows = [json.dumps({"prompt": question, "response": answer}) for question in QUESTIONS]
        (root / "datasets" / f"{style}.jsonl").write_text("\n".join(rows) + "\n")
    manifest = root / "scaffolder.toml"
    head, _, tail = manifest.read_text().partition("[workflows.fine-tuning.set]\n")
    settings = [f'"passes.lora.training_args.{key}" = {value}' for key, value in TRAINING.items()]
    settings.append(f'"{DATA}" = "datasets/lamps.jsonl"')
    rest = tail[tail.index("[workflows.gen-model]") :]
    manifest.write_text("\n".join([head + "[workflows.fine-tuning.set]", *settings, "", rest]))
    before = Path.cwd()
    os.chdir(root)
    try:
        assert main(["run", "gen-model", "--preset", "adapters", "--quiet"]) == 0
        train_second_style()
    finally:
        os.chdir(before)
    return root


@pytest.fixture
def styles(two_styles, tmp_path, monkeypatch):
    root = tmp_path / "styles"
    shutil.copytree(two_styles, root)
    monkeypatch.chdir(root)
    return find_project(root)


def graph_of(root):
    return {path.name: path.stat().st_mtime_ns for path in (root / "gen-model" / "adapters").glob("model.onnx*")}


def answers_of(project, artefact):
    with inference.Session(project, artefact) as session:
        return [ask(session, project, question) for question in QUESTIONS]


def ask(session, project, question):
    return session.answer(inference.conversation(project, question), inference.Sampling(16)).text


def test_second_adapter_is_added_without_a_new_export(cli, styles):
    before = graph_of(styles.root)
    assert before
    result = cli("run", "gen-model", "--preset", "adapters")
    assert result.code == 0, result.err
    assert "adapter counting added to gen-model/adapters" in result.err
    assert graph_of(styles.root) == before
    again = cli("run", "gen-model", "--preset", "adapters")
    assert "added" not in again.err
    [counting, lora] = json.loads(cli("adapters", "list", "--json").out)
    assert counting["served"] == {"gen-model/adapters": "current"}
    assert lora["served"] == {"gen-model/adapters": "own"}


def test_retrained_adapter_takes_the_old_ones_place_on_the_same_base(cli, styles):
    assert cli("adapters", "add", "counting").code == 0
    export = styles.root / "gen-model" / "adapters"
    before = {path.name: path.read_bytes() for path in export.glob("*") if path.is_file()}
    retrain = ("--set", "passes.lora.training_args.max_steps=20")
    assert cli("run", "fine-tuning", *retrain).code == 0
    manifest = styles.root / "scaffolder.toml"
    manifest.write_text(manifest.read_text().replace('.max_steps" = 24', '.max_steps" = 20'))
    result = cli("run", "gen-model", "--preset", "adapters")
    assert result.code == 0, result.err
    assert "base kept, adapter exchanged" in result.err
    assert "modelbuilder" not in result.err
    assert "adapter counting added" in result.err
    after = {path.name: path.read_bytes() for path in export.glob("*") if path.is_file()}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"adapter_weights.onnx_adapter", "run.json"}
    artefact = find_artefact(styles, "adapter", "lora")
    assert answers_of(styles, find_artefact(styles, "gen-model/adapters", "lora")) == answers_of(styles, artefact)
    assert "nothing changed" in cli("run", "gen-model", "--preset", "adapters").err


def test_adapter_of_other_layers_gets_another_graph(cli, styles):
    manifest = styles.root / "scaffolder.toml"
    fewer = '[workflows.fine-tuning.set]\n"passes.lora.target_modules" = ["q_proj", "v_proj"]'
    manifest.write_text(manifest.read_text().replace("[workflows.fine-tuning.set]", fewer))
    before = graph_of(styles.root)
    result = cli("run", "gen-model", "--preset", "adapters")
    assert result.code == 0, result.err
    assert "modelbuilder" in result.err
    assert graph_of(styles.root) != before


def test_swapped_fifty_times_the_answers_are_those_of_pytorch(cli, styles):
    import psutil

    assert cli("adapters", "add", "counting").code == 0
    torch = {name: answers_of(styles, find_artefact(styles, "adapter", name)) for name in ("lora", "counting")}
    torch[None] = answers_of(styles, find_artefact(styles, "base"))
    for three in zip(*torch.values(), strict=True):
        assert len(set(three)) == 3
    artefact = find_artefact(styles, "gen-model/adapters")
    memory = []
    with inference.Session(styles, artefact) as session:
        [worker] = [child for child in psutil.Process().children() if "worker" in " ".join(child.cmdline())]
        for turn in range(50):
            name = ("lora", "counting", None)[turn % 3]
            session.use(name)
            index = turn % len(QUESTIONS)
            assert ask(session, styles, QUESTIONS[index]) == torch[name][index], (turn, name)
            memory.append(worker.memory_info().rss)
    # What the first turns loaded stays, nothing is added to it.
    assert max(memory[25:]) - max(memory[:10]) < 8e6


def test_added_adapters_outlive_a_new_export(cli, styles, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "borrowed"
    shutil.copytree(styles.root / "fine-tuning" / "adapters" / "counting" / "adapter", elsewhere)
    result = cli("adapters", "add", elsewhere)
    assert result.code == 0, result.err
    assert "borrowed: added to gen-model/adapters" in result.out
    assert "is already in" in cli("adapters", "add", elsewhere).out
    result = cli("run", "gen-model", "--preset", "adapters", "--restart")
    assert result.code == 0, result.err
    assert "adapter borrowed added" in result.err
    assert "adapter counting added" in result.err
    assert {one["name"] for one in json.loads(cli("adapters", "list", "--json").out)} == {
        "borrowed",
        "counting",
        "lora",
    }


def test_adapter_that_was_trained_again_is_outdated_until_it_is_added(cli, styles):
    assert cli("adapters", "add", "counting").code == 0
    settings = styles.root / "fine-tuning" / "adapters" / "counting" / "adapter" / "adapter_config.json"
    changed = json.loads(settings.read_text())
    changed["lora_alpha"] *= 2
    settings.write_text(json.dumps(changed))
    assert "gen-model/adapters (outdated)" in cli("adapters", "list").out
    file = styles.root / "gen-model" / "adapters" / "counting.onnx_adapter"
    before = file.read_bytes()
    assert "counting: added to" in cli("adapters", "add", "counting").out
    assert file.read_bytes() != before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"use_dora": True}, "DoRA scales the weights themselves"),
        ({"peft_type": "LOHA"}, "only LoRA can be an input"),
        ({"bias": "all"}, "it holds biases"),
    ],
)
def test_adapter_of_another_kind_does_not_fit(cli, styles, change, reason):
    settings = styles.root / "fine-tuning" / "adapters" / "counting" / "adapter" / "adapter_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **change}))
    for command in ("check", "add"):
        result = cli("adapters", command, "counting")
        assert result.code == 1
        assert reason in result.out
        assert "cannot be an input" in result.err
    assert not (styles.root / "gen-model" / "adapters" / "counting.onnx_adapter").exists()


def test_adapter_of_another_base_does_not_fit(cli, styles):
    record = styles.root / "fine-tuning" / "adapters" / "counting" / "run.json"
    known = json.loads(record.read_text())
    [model] = [path for path in known["fingerprint"]["inputs"] if path.startswith("model-cache")]
    known["fingerprint"]["inputs"][model] = "0" * 64
    record.write_text(json.dumps(known))
    result = cli("adapters", "check", "counting")
    assert result.code == 1
    assert "trained on another state of model-cache/HuggingFaceTB" in result.out


def test_adapter_with_fewer_layers_and_another_rank_fits(cli, styles, tmp_path):
    """Where it says nothing the input is zero; PyTorch gives the same answers."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "half"
    shutil.copytree(styles.root / "fine-tuning" / "adapters" / "counting" / "adapter", folder)
    weights = load_file(folder / "adapter_model.safetensors")
    settings = json.loads((folder / "adapter_config.json").read_text())
    kept = {}
    for name, tensor in weights.items():
        if ".q_proj." in name or ".down_proj." in name:
            half = settings["r"] // 2
            kept[name] = (tensor[:half] if ".lora_A." in name else tensor[:, :half]).contiguous()
    save_file(kept, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings |= {"r": settings["r"] // 2, "target_modules": ["down_proj", "q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    result = cli("adapters", "add", folder)
    assert result.code == 0, result.err
    assert "inputs filled with zeros" in result.out
    torch = answers_of(styles, find_artefact(styles, str(folder)))
    assert answers_of(styles, find_artefact(styles, "gen-model/adapters", "half")) == torch


def test_adapter_is_removed_and_the_own_one_stays(cli, styles):
    assert cli("adapters", "add", "counting").code == 0
    assert cli("adapters", "remove", "counting").code == 0
    assert not list((styles.root / "gen-model" / "adapters").glob("counting*"))
    assert cli("adapters", "remove", "counting").code == 2
    result = cli("adapters", "remove", "lora")
    assert result.code == 2
    assert "made with" in result.err


def test_without_an_export_for_adapters_the_way_to_one_is_named(cli, project):
    result = cli("adapters", "add", "lora")
    assert result.code == 2
    assert "scaffolder run gen-model --preset adapters" in result.err


def test_generate_chooses_the_export_that_serves_the_adapter(cli, styles):
    assert cli("adapters", "add", "counting").code == 0
    options = ["--max-new-tokens", "16", "--json", "--adapter"]
    served = json.loads(cli("generate", QUESTIONS[0], *options, "counting").out)
    assert served["model"] == "onnx"
    torch = json.loads(cli("generate", QUESTIONS[0], *options, "counting", "--model", "adapter").out)
    assert torch["text"] == served["text"]
    result = cli("generate", QUESTIONS[0], *options, "unknown")
    assert result.code == 2
    assert "there are: counting, lora" in result.err
