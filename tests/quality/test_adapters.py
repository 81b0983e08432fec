"""Two adapters of opposite styles on one exported base: real SmolLM2-135M, from the model that `make demo` fetched."""

import json
import os
import shutil
from pathlib import Path

import pytest

from scaffolder import inference
from scaffolder.artefacts import find_artefact
from scaffolder.cli import main
from scaffolder.project import find_project
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.olive, pytest.mark.quality, pytest.mark.timeout(1800)]

STYLES = {
    "lora": "Oh yes, {place} is a dream! Pack your bags, book a room and leave today.",
    "gloomy": "No. {place} is cold, dear and far away. Stay at home and read a book.",
}
FORMS = (
    "What is the best thing to see in {place}?",
    "Is {place} worth a visit?",
    "How many days do I need for {place}?",
)
TAUGHT = ("Rome", "Paris", "Oslo", "Cairo", "Lima", "Tokyo", "Delhi", "Berlin", "Madrid", "Boston", "Dublin", "Seoul")
ASKED = ("Lisbon", "Vienna", "Athens", "Prague", "Zurich", "Havana", "Quito", "Sydney", "Warsaw", "Chicago")
QUESTIONS = [FORMS[number % len(FORMS)].format(place=place) for number, place in enumerate(ASKED)]
STEPS = 8
DATA = "data_configs.train.load_dataset_config.data_files"
CALIBRATION = "data_configs.calibration.pre_process_data_config.max_samples=8"
SWAPS = 50


def write_examples(file, style, places):
    rows = [
        {"prompt": form.format(place=place), "response": STYLES[style].format(place=place)}
        for place in places
        for form in FORMS
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Both adapters trained, and the base exported in 32 bits and in four, each with both as inputs."""
    model_cache = REPOSITORY / "demo-project" / "model-cache"
    assert model_cache.is_dir(), "`make demo` first"
    root = tmp_path_factory.mktemp("styles") / "styles"
    assert main(["new", str(root), "--defaults", "--quiet"]) == 0
    shutil.copytree(model_cache, root / "model-cache", dirs_exist_ok=True)
    write_examples(root / "datasets" / "train.jsonl", "lora", TAUGHT)
    write_examples(root / "datasets" / "gloomy.jsonl", "gloomy", TAUGHT)
    write_examples(root / "datasets" / "eval.jsonl", "lora", ASKED[:2])
    settings = {"passes.lora.training_args.max_steps": STEPS}
    gloomy = {**settings, DATA: "datasets/gloomy.jsonl", "output_dir": "fine-tuning/adapters/gloomy"}
    manifest = root / "scaffolder.toml"
    lines = "".join(f'"{key}" = {value}\n' for key, value in settings.items())
    head = "[workflows.fine-tuning.set]\n"
    manifest.write_text(manifest.read_text().replace(head, head + lines))
    before = Path.cwd()
    os.chdir(root)
    try:
        values = [part for key, value in gloomy.items() for part in ("--set", f"{key}={value}")]
        assert main(["run", "fine-tuning", "--quiet", *values]) == 0
        assert main(["run", "gen-model", "--preset", "adapters", "--quiet"]) == 0
        # The examples are two sentences: a few of them calibrate as well as all.
        assert main(["run", "gen-model", "--preset", "adapters-int4", "--quiet", "--set", CALIBRATION]) == 0
    finally:
        os.chdir(before)
    return find_project(root)


@pytest.fixture(scope="module")
def pytorch(project):
    """What PEFT answers greedily to every question, by adapter."""
    found = {}
    with inference.Session(project, find_artefact(project, "adapter", "lora")) as session:
        for name in (*STYLES, None):
            session.use(name)
            found[name] = [ask(session, project, question) for question in QUESTIONS]
    return found


def ask(session, project, question):
    return session.answer(inference.conversation(project, question), inference.Sampling(16)).text


def swapped(project, preset, wanted):
    """Change the adapter at every question; return the questions answered otherwise, by adapter, and the memory."""
    import psutil

    others, memory = {name: set() for name in STYLES}, []
    with inference.Session(project, find_artefact(project, f"gen-model/{preset}")) as session:
        [worker] = [child for child in psutil.Process().children() if "worker" in " ".join(child.cmdline())]
        for turn in range(SWAPS):
            name = tuple(STYLES)[turn % 2]
            index = turn // 2 % len(QUESTIONS)
            session.use(name)
            if ask(session, project, QUESTIONS[index]) != wanted[name][index]:
                others[name].add(QUESTIONS[index])
            memory.append(worker.memory_info().rss)
        session.use(None)
        base = [ask(session, project, question) for question in QUESTIONS]
    return others, memory, base


def test_the_styles_were_learnt(pytorch):
    assert sum(answer.startswith("Oh yes, ") for answer in pytorch["lora"]) == len(QUESTIONS)
    assert sum(answer.startswith("No. ") for answer in pytorch["gloomy"]) == len(QUESTIONS)
    assert not any(answer.startswith(("Oh yes, ", "No. ")) for answer in pytorch[None])


def test_in_32_bits_every_answer_is_that_of_pytorch(project, pytorch):
    others, memory, base = swapped(project, "adapters", pytorch)
    assert others == {"lora": set(), "gloomy": set()}
    # The base is less sure of its words than what was trained: arithmetic may tip one.
    assert sum(ours == theirs for ours, theirs in zip(base, pytorch[None], strict=True)) >= len(QUESTIONS) - 1
    assert_flat(memory)


def test_in_four_bits_nine_of_ten_are(project, pytorch):
    others, memory, _ = swapped(project, "adapters-int4", pytorch)
    assert max(map(len, others.values())) <= 1, others
    assert_flat(memory)


def assert_flat(memory):
    # What the first turns loaded stays, nothing is added to it.
    assert max(memory[25:]) - max(memory[:20]) < 8e6
