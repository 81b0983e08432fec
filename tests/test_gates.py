import pytest

from scaffolder.errors import ConfigError, GateFailed
from scaffolder.evaluation import Score, fail_if_missed, judge
from scaffolder.project import find_project


def score(name, form, loss, **figures):
    known = {
        "perplexity": 2.7,
        "tokens": 10,
        "size": 158_000_000,
        "load_seconds": 0.5,
        "first_token_seconds": 0.1,
        "prefill_tokens_per_second": 300.0,
        "tokens_per_second": 80.0,
        "memory": 300_000_000,
    }
    return Score(name=name, form=form, loss=loss, **{**known, **figures})


MODELS = [
    score("base", "base", 4.0),
    score("merged", "merged", 2.0, top1_agreement=1.0, kl=0.0),
    score("onnx-int8", "onnx", 2.06, top1_agreement=0.93, kl=0.01, metrics={"rouge_l": 0.5}),
]
OTHERS = {one.name: one for one in MODELS}


@pytest.mark.parametrize(
    ("key", "passes", "fails", "value"),
    [
        ("max_loss", 2.06, 2.05, 2.06),
        ("max_loss_increase_vs_merged", 0.06, 0.05, 0.06),
        ("min_improvement_vs_base", 0.485, 0.5, 0.485),
        ("min_top1_agreement", 0.93, 0.94, 0.93),
        ("max_kl", 0.01, 0.009, 0.01),
        ("max_size_gb", 0.158, 0.15, 0.158),
        ("max_memory_gb", 0.3, 0.2, 0.3),
        ("min_tokens_per_s", 80, 81, 80),
        ("max_first_token_s", 0.1, 0.05, 0.1),
        ("min_metrics.rouge_l", 0.5, 0.51, 0.5),
    ],
)
def test_each_gate_holds_at_its_limit_and_fails_beyond(key, passes, fails, value):
    [held] = judge({key: passes}, MODELS[-1], OTHERS)
    [missed] = judge({key: fails}, MODELS[-1], OTHERS)
    assert held.value == missed.value == pytest.approx(value)
    assert (held.passed, missed.passed) == (True, False)
    assert missed.advice


def test_a_failed_gate_names_figure_gate_and_what_to_try():
    gates = judge({"max_size_gb": 0.1, "min_top1_agreement": 0.9}, MODELS[-1], OTHERS)
    with pytest.raises(GateFailed) as caught:
        fail_if_missed(gates)
    assert caught.value.message == "onnx-int8 fails the gate max_size_gb = 0.1: it has 0.158"
    assert "--preset onnx-int4" in caught.value.hint
    fail_if_missed([gate for gate in gates if gate.passed])


def gates_of(project, text):
    manifest = project / "scaffolder.toml"
    manifest.write_text(manifest.read_text().replace("[gates]\n", f"[gates]\n{text}\n"))
    return find_project(project).manifest.gates.limits()


def test_limits_are_what_is_set(project):
    assert gates_of(project, "max_size_gb = 0.2\nmax_kl = 0.0") == {"max_size_gb": 0.2, "max_kl": 0.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min_top1_agrement = 0.9", "unknown key `gates.min_top1_agrement`; did you mean `min_top1_agreement`?"),
        ("min_top1_agreement = 90", "a share of places with the tuned model's likeliest token: 0.9 for 90 %"),
        (
            "min_metrics = {rouge_l = 0.3}",
            "gates.min_metrics names `rouge_l`, which evaluation.metrics does not measure",
        ),
        ('max_size_gb = "small"', "weights and graphs, in GB"),
        ("max_kl = inf", "`gates.max_kl`: Input should be a finite number"),
        ("min_metrics = {f1 = nan}", "`gates.min_metrics.f1`: Input should be a finite number"),
    ],
)
def test_a_wrong_gate_is_explained(project, text, message):
    with pytest.raises(ConfigError) as caught:
        gates_of(project, text)
    assert message in caught.value.message


def test_a_gate_about_no_model_is_told_before_anything_is_measured(cli, project):
    gates_of(project, 'model = "onxx"\nmax_loss = 3')
    result = cli("evaluate")
    assert result.code == 2
    assert "scaffolder.toml: `gates.model`: `onxx` is no model" in result.err


def test_an_unknown_metric_is_explained(project):
    manifest = project / "scaffolder.toml"
    manifest.write_text(manifest.read_text().replace("[evaluation]\n", '[evaluation]\nmetrics = ["rouge"]\n'))
    with pytest.raises(ConfigError) as caught:
        find_project(project)
    assert "did you mean `rouge_l`?" in caught.value.message
