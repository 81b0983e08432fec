"""Measurements for real, on a tiny model that was tuned and exported."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.olive

METRIC = """\
def score(answer, expected):
    return len(answer) > 0
"""


@pytest.fixture
def measured(trained):
    """A project that asks for metrics and sets gates that hold."""
    (trained / "inferences" / "mine.py").write_text(METRIC)
    manifest = trained / "scaffolder.toml"
    text = manifest.read_text()
    text = text.replace(
        "[evaluation]\n",
        '[evaluation]\nmetrics = ["f1", "rouge_l", "inferences/mine.py:score"]\nexamples = 2\nmax_new_tokens = 8\n',
    )
    manifest.write_text(text.replace("[gates]\n", "[gates]\nmax_size_gb = 1\nmin_top1_agreement = 0.2\n"))
    return trained


def figures_of(result):
    return {score["name"]: score for score in json.loads(result.out)["scores"]}


@pytest.mark.usefixtures("project")
def test_nothing_to_evaluate_is_said(cli):
    result = cli("evaluate")
    assert result.code == 2
    assert "there is no model to evaluate" in result.err
    assert "scaffolder download" in result.err


@pytest.mark.usefixtures("measured")
def test_a_quantised_base_is_asked_for_where_there_is_none(cli):
    result = cli("evaluate", "--model", "quantised")
    assert (result.code, "trained over the base as it is" in result.err) == (2, True)
    result = cli("generate", "Hello", "--model", "quantised", "--adapter", "lora")
    assert (result.code, "--model adapter --adapter lora" in result.err) == (2, True)


def test_every_form_is_measured_once(cli, measured):
    result = cli("evaluate", "--json")
    assert result.code == 0, result.err
    scores = figures_of(result)
    assert scores.keys() == {"base", "adapter", "merged", "onnx-int8"}
    known = json.loads((measured / "fine-tuning" / "adapters" / "lora" / "run.json").read_text())["metrics"]
    assert scores["base"]["loss"] == known["before"]["loss"]
    assert scores["adapter"]["loss"] == known["after"]["loss"]
    assert scores["merged"]["loss"] == pytest.approx(scores["adapter"]["loss"], abs=1e-3)
    assert scores["adapter"]["top1_agreement"] is None
    assert scores["merged"]["top1_agreement"] >= 0.99
    assert scores["merged"]["kl"] < 1e-4
    # Eight bits move the numbers a little, tuning more.
    assert scores["merged"]["kl"] < scores["onnx-int8"]["kl"] < 0.2
    assert scores["onnx-int8"]["top1_agreement"] > scores["base"]["top1_agreement"] - 0.2
    for score in scores.values():
        assert score["metrics"]["inferences/mine.py:score"] == 1.0
        assert 0 <= score["metrics"]["f1"] <= 1
        assert score["tokens_per_second"] > 0
        assert score["prefill_tokens_per_second"] > 0
        assert 0 < score["first_token_seconds"] < 60
        assert 0 < score["memory"] < 4e9
        assert len(score["answers"]) == 3
    again = cli("evaluate", "--json")
    assert again.out == result.out
    assert "measuring" not in again.err
    own = json.loads((measured / "gen-model" / "onnx-int8" / "evaluation.json").read_text())
    assert own["score"] == scores["onnx-int8"]
    assert [gate["passed"] for gate in own["gates"]] == [True, True]
    shown = json.loads(cli("runs", "show", "gen-model", "--json").out)
    assert shown["evaluation"] == own
    told = cli("runs", "show", "gen-model").out
    assert "holds: asked 1, has 0.00" in told
    assert "metrics.f1" in told
    page = (measured / "evaluation" / "report.html").read_text()
    assert page.count("<svg") == 4
    # What an evaluation wrote beside a model does not make it another model.
    assert "nothing changed" in json.loads(cli("run", "gen-model", "--json").out)[-1]["reason"]


def test_a_failed_gate_fails_evaluate_and_run_all(cli, measured):
    manifest = measured / "scaffolder.toml"
    manifest.write_text(manifest.read_text().replace("max_size_gb = 1\n", "max_size_gb = 0.0001\n"))
    for command in (["evaluate", "-m", "onnx"], ["run", "all", "--quiet"]):
        result = cli(*command)
        assert result.code == 1
        assert "fails the gate max_size_gb = 0.0001" in result.err
        assert "--preset onnx-int4" in result.err


def test_gates_that_need_more_than_was_asked_for_are_not_judged(cli, measured):
    result = cli("evaluate", "-m", "base", "--prompt", "Hello")
    assert result.code == 0, result.err
    assert "the gates were not judged" in result.err
    assert max(len(line) for line in result.out.splitlines()) <= 80


def test_a_metric_without_its_file_is_told_before_anything_is_loaded(cli, measured):
    (measured / "inferences" / "mine.py").unlink()
    result = cli("evaluate", "-m", "onnx")
    assert result.code == 2
    assert "there is no inferences/mine.py" in result.err


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="lm-eval is installed")
def test_lm_eval_is_asked_for_only_where_it_is_installed(cli, measured):
    manifest = measured / "scaffolder.toml"
    manifest.write_text(manifest.read_text().replace("[evaluation]\n", '[evaluation]\nlm_eval = ["arc_easy"]\n'))
    result = cli("evaluate", "-m", "base")
    assert result.code == 4
    assert "pip install lm-eval" in result.err


def test_search_keeps_the_smallest_export_that_holds_the_gates(cli, measured):
    from scaffolder.project import find_project

    manifest = measured / "scaffolder.toml"
    for preset in ("onnx-int4-small", "onnx-int4-fast", "onnx-fp32"):  # fewer to build
        (measured / "gen-model" / f"{preset}.json").unlink()
    four = json.loads(cli("run", "gen-model", "--preset", "onnx-int4", "--json").out)[-1]["metrics"]["after"]["loss"]
    eight = json.loads((measured / "gen-model" / "onnx-int8" / "run.json").read_text())["metrics"]["after"]["loss"]
    best, worse = sorted((four, eight))
    gate = f"max_loss = {best + (worse - best) / 2 if eight < four else worse + 1}\n"
    manifest.write_text(manifest.read_text().replace("max_size_gb = 1\n", gate))
    planned = cli("run", "gen-model", "--search", "--dry-run").out.splitlines()
    assert [line.partition(": ")[0] for line in planned] == [
        "fine-tuning (lora)",
        "gen-model (onnx-int4)",
        "gen-model (onnx-int8)",
    ]
    assert all(": up to date: " in line for line in planned)
    result = cli("run", "gen-model", "--search", "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    wanted = "onnx-int8" if eight < four else "onnx-int4"
    assert found["kept"] == wanted
    assert found["trials"][0]["preset"] == "onnx-int4"
    assert find_project(measured).manifest.workflows["gen-model"].config == f"gen-model/{wanted}.json"
    assert "# What this project is made of." in manifest.read_text()
    manifest.write_text(manifest.read_text().replace(gate, "max_loss = 0.01\n"))
    result = cli("run", "gen-model", "--search")
    assert result.code == 1
    assert "no export holds the gates" in result.err


def test_search_needs_gates(cli, tiny_project):
    result = cli("run", "gen-model", "--search")
    assert result.code == 2
    assert "[gates]" in result.err
    assert cli("run", "all", "--search").code == 2


TASK = """\
task: own_letters
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: [" yes", " no"]
doc_to_target: target
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


@pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")
def test_lm_eval_takes_every_example_of_a_task(cli, measured, request):
    import lm_eval.tasks

    # Olive looks for tasks where lm-eval keeps its own.
    folder = Path(lm_eval.tasks.__file__).parent / "scaffolder_test"
    folder.mkdir(exist_ok=True)
    request.addfinalizer(lambda: shutil.rmtree(folder))
    data = measured / "letters.jsonl"
    # The same question gets the same answer, which is right twice or thrice.
    data.write_text("".join(json.dumps({"question": "Is it?", "target": n}) + "\n" for n in (0, 0, 1, 1, 1)))
    (folder / "own_letters.yaml").write_text(TASK.format(data=data))
    manifest = measured / "scaffolder.toml"
    manifest.write_text(manifest.read_text().replace("[evaluation]\n", '[evaluation]\nlm_eval = ["own_letters"]\n'))
    result = cli("evaluate", "-m", "base", "-m", "adapter", "-m", "onnx", "--json")
    assert result.code == 0, result.err
    for score in figures_of(result).values():
        assert score["lm_eval"].keys() == {"own_letters.acc"}
        assert score["lm_eval"]["own_letters.acc"] in (0.4, 0.6)
