"""What the demo's model is worth: real SmolLM2-135M, on demo-project/ as `make demo` leaves it."""

import json
import re
from itertools import pairwise

import pytest

from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.olive, pytest.mark.quality, pytest.mark.timeout(1200)]

QUESTIONS = [
    "What is the best thing to see in Chicago?",
    "What should I eat in Bologna?",
    "I have one evening in Oslo. Where should I go?",
    "Which day trip from Berlin is worth it?",
    "Where should a family go in Lisbon?",
]
FOUR_BITS = ("onnx-int4", "onnx-int4-small", "onnx-int4-fast")
STYLE = re.compile(r"Pick: [^\n]+\.\nReason: [^\n]+\.\nTip: [^\n]+\.")


@pytest.fixture(scope="module")
def scores():
    """Losses and answers of every form, by name."""
    from scaffolder import evaluation
    from scaffolder.project import find_project
    from scaffolder.workflow.execute import run_workflows

    root = REPOSITORY / "demo-project"
    assert root.is_dir(), "`make demo` first"
    project = find_project(root)
    for preset in FOUR_BITS:
        run_workflows(project, "gen-model", preset=preset, on_event=lambda _: None)
    names = ("base", "adapter", "merged", "base-onnx-int8", "onnx-int8", *FOUR_BITS)
    models = {name: artefact for name, artefact in evaluation.candidates(project).items() if name in names}
    assert set(models) == set(names)
    found = evaluation.evaluate(project, models, prompts=QUESTIONS, on_event=lambda _: None)
    return {score.name: score for score in found.scores}


@pytest.fixture(scope="module")
def merged_16_bit(scores):
    """Loss of the merged model in bfloat16, the form the exports are made from."""
    from scaffolder.artefacts import find_artefact
    from scaffolder.environment import find_environment
    from scaffolder.process import Worker
    from scaffolder.project import find_project

    project = find_project(REPOSITORY / "demo-project")
    job = {
        "task": "evaluate",
        "root": str(project.root),
        "model": {**find_artefact(project, "merged").spec(), "dtype": "bfloat16"},
        "dataset": project.manifest.dataset.reader(project.manifest.dataset.eval),
        "parts": {"loss": {}},
    }
    log = project.root / ".scaffolder" / "quality.log"
    with Worker(find_environment(project.root).python, job, log) as worker:
        [measured] = [event for event in worker.events() if event["event"] == "measured"]
    return measured["figures"]["loss"]


def test_tuning_lowers_the_loss_by_a_quarter(scores):
    assert scores["adapter"].loss <= 0.75 * scores["base"].loss


def test_tuning_lowers_the_exported_models_loss_by_a_quarter(scores):
    assert scores["onnx-int8"].loss <= 0.75 * scores["base-onnx-int8"].loss


def test_eight_bit_export_costs_next_to_nothing(scores, merged_16_bit):
    assert scores["onnx-int8"].loss - merged_16_bit <= 0.01
    assert scores["onnx-int8"].size <= 160e6


@pytest.mark.parametrize("preset", FOUR_BITS)
def test_four_bit_exports_cost_little(scores, merged_16_bit, preset):
    assert scores[preset].loss - merged_16_bit <= 0.15
    assert scores[preset].size <= 115e6


def test_exported_model_answers_fluently(scores):
    answers = scores["onnx-int8"].answers
    assert len(answers) == len(QUESTIONS)
    for answer in answers:
        assert len(answer.split()) >= 10
        words = answer.split()
        # Neither stuck in a loop nor falling apart.
        assert max(words.count(word) for word in words) <= len(words) / 4
        assert not any(one == two for one, two in pairwise(words))
        assert all(character.isprintable() or character == "\n" for character in answer)
    assert len(set(answers)) == len(answers)


def test_exported_model_has_taken_on_the_style_of_the_examples(scores):
    # Arithmetic differs a little from processor to processor, and greedy answers with it.
    assert sum(bool(STYLE.fullmatch(answer.strip())) for answer in scores["onnx-int8"].answers) >= 4
    # The base answers otherwise: it is the tuning that shows.
    assert not any(STYLE.fullmatch(answer.strip()) for answer in scores["base-onnx-int8"].answers)


def test_lineage_joins_data_adapter_and_export(scores):
    root = REPOSITORY / "demo-project"
    export = json.loads((root / "gen-model" / "onnx-int8" / "run.json").read_text())
    assert "fine-tuning/adapters/lora/adapter" in export["fingerprint"]["inputs"]
