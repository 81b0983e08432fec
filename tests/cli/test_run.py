import json
import subprocess

import pytest

from tests.conftest import MODEL


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
def with_model(project):
    """A project whose model folder exists: far enough for every check before the heavy work."""
    (project / MODEL).mkdir(parents=True)
    (project / MODEL / "config.json").write_text("{}")
    return project


def nothing_was_started(root):
    return not list(root.glob("fine-tuning/runs/*")) and not (root / "fine-tuning" / "adapters").exists()


def test_outside_a_project(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["run", "all"], ["download"], ["generate", "Hello"], ["evaluate"], ["validate"]):
        result = cli(*command)
        assert result.code == 2
        assert "no scaffolder.toml here" in result.err
        assert "scaffolder new" in result.err


def test_unknown_workflow_suggests_the_nearest(cli, project):
    result = cli("run", "fine-tunning")
    assert result.code == 2
    assert "did you mean `fine-tuning`" in result.err


@pytest.mark.parametrize("preset", ["onnx-int5", "../gen-model/onnx-int8"])
def test_unknown_preset_lists_what_there_is(cli, project, preset):
    result = cli("run", "gen-model", "--preset", preset)
    assert result.code == 2
    assert "onnx-int8" in result.err


def test_missing_model_names_the_download(cli, project):
    result = cli("run", "fine-tuning")
    assert result.code == 2
    assert "hint: scaffolder download\n" in result.err
    assert nothing_was_started(project)


def test_missing_dataset(cli, with_model):
    (with_model / "datasets" / "train.jsonl").unlink()
    result = cli("run", "fine-tuning")
    assert result.code == 2
    assert "datasets/train.jsonl" in result.err
    assert nothing_was_started(with_model)


def test_patterns_name_the_files_that_there_are(cli, with_model):
    (with_model / MODEL / "config.json").write_text(json.dumps({**LARGE, "num_hidden_layers": 1}))
    data = "data_configs.train.load_dataset_config.data_files"
    assert cli("run", "fine-tuning", "-n", "--set", f"{data}=datasets/tr*.jsonl").code == 0
    (with_model / "datasets" / "train2.jsonl").write_text("no json\n")
    result = cli("run", "fine-tuning", "-n", "--set", f"{data}=datasets/tr*.jsonl")
    assert "datasets/train2.jsonl:1" in result.err
    result = cli("run", "fine-tuning", "-n", "--set", f"{data}=datasets/none*.jsonl")
    assert result.code == 2
    assert "matches no file" in result.err.replace("\n", " ")


def test_lines_that_are_no_json_are_all_named(cli, with_model):
    path = with_model / "datasets" / "train.jsonl"
    lines = path.read_text().splitlines()
    lines[6], lines[41] = '{"prompt": "half a', "[1, 2]"
    path.write_text("\n".join(lines) + "\n")
    result = cli("run", "fine-tuning")
    assert result.code == 2
    assert "datasets/train.jsonl:7:19: not JSON" in result.err
    assert "datasets/train.jsonl:42: a JSON object is expected" in result.err
    assert nothing_was_started(with_model)


def test_missing_column_is_named_with_what_the_row_has(cli, with_model):
    path = with_model / "datasets" / "train.jsonl"
    path.write_text(path.read_text().replace('"response"', '"answer"', 1))
    result = cli("run", "fine-tuning")
    assert result.code == 2
    assert "datasets/train.jsonl:1: missing column `response`; this row has `prompt`, `answer`" in result.err
    assert "scaffolder data import FILE" in result.err
    assert "in the configuration's pre_process_data_config" in result.err
    assert nothing_was_started(with_model)


def test_dataset_that_is_not_utf8(cli, with_model):
    (with_model / "datasets" / "train.jsonl").write_bytes(b'{"prompt": "caf\xe9", "response": "x"}\n')
    result = cli("run", "fine-tuning")
    assert result.code == 2
    assert "not UTF-8" in result.err


def test_misspelt_key_is_named_with_its_place(cli, with_model):
    config = with_model / "fine-tuning" / "lora.json"
    change(config, '"alpha": 32', '"alpah": 32')
    line = next(number for number, text in enumerate(config.read_text().splitlines(), start=1) if "alpah" in text)
    result = cli("run", "fine-tuning")
    assert result.code == 2
    assert f"fine-tuning/lora.json:{line}:7: " in result.err
    assert "did you mean `alpha`" in result.err
    assert nothing_was_started(with_model)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("passes.lora.training_args.max_steps=-5", "`passes.lora.training_args.max_steps`: must be at least -1"),
        ("passes.lroa.r=4", "did you mean `lora`"),
        ("passes.lora.r=many", "passes.lora.r"),
        ("passes.lora.training_args.lerning_rate=1", "unknown key `lerning_rate`"),
        ("r4", "not of the form key=value"),
    ],
)
def test_wrong_setting_is_refused(cli, with_model, setting, message):
    result = cli("run", "fine-tuning", "--set", setting)
    assert result.code == 2
    assert message in result.err
    assert nothing_was_started(with_model)


def test_all_problems_of_a_manifest_are_named_at_once(cli, project):
    change(project / "scaffolder.toml", '[model]\nid = "HuggingFaceTB/SmolLM2-135M-Instruct"\n', "[model]\nidd = 3\n")
    change(project / "scaffolder.toml", 'needs = ["fine-tuning"]', 'need = ["fine-tuning"]')
    result = cli("run", "all")
    assert result.code == 2
    assert "unknown key `model.idd`" in result.err
    assert "missing key `model.id`" in result.err
    assert "unknown key `workflows.gen-model.need`" in result.err


def test_manifest_that_is_no_toml(cli, project):
    (project / "scaffolder.toml").write_text("[model\n")
    result = cli("run", "all")
    assert result.code == 2
    assert "scaffolder.toml" in result.err


def test_configuration_that_is_missing_or_no_object(cli, project):
    config = project / "fine-tuning" / "lora.json"
    config.write_text("[]")
    change(
        project / "scaffolder.toml", "[workflows.fine-tuning.set]\n", '[workflows.fine-tuning.set]\n"passes.a.r" = 4\n'
    )
    result = cli("run", "fine-tuning")
    assert result.code == 2
    assert "fine-tuning/lora.json: a JSON object is expected" in result.err
    config.unlink()
    result = cli("run", "fine-tuning")
    assert result.code == 2
    assert "fine-tuning/lora.json does not exist" in result.err
    assert "`workflows.fine-tuning.config` in scaffolder.toml names it" in result.err
    assert "there are: dora, loha" in result.err


def test_need_that_is_no_workflow(cli, project):
    change(project / "scaffolder.toml", 'needs = ["fine-tuning"]', 'needs = ["tuning"]')
    result = cli("run", "all")
    assert result.code == 2
    assert "`tuning`" in result.err


def test_workflows_that_need_each_other(cli, with_model):
    change(
        with_model / "scaffolder.toml",
        'config = "fine-tuning/lora.json"\n',
        'config = "fine-tuning/lora.json"\nneeds = ["gen-model"]\n',
    )
    result = cli("run", "all")
    assert result.code == 2
    assert "need each other" in result.err


@pytest.mark.parametrize(
    ("preset", "before"),
    [("onnx-int4", ["fine-tuning"]), ("base-onnx-int8", []), ("quantise-rtn", [])],
)
def test_preset_needs_what_it_names_the_results_of(cli, with_model, preset, before):
    result = cli("run", "gen-model", "--preset", preset, "-n", "--json")
    assert result.code == 0, result.err
    assert [planned["workflow"] for planned in json.loads(result.out)] == [*before, "gen-model"]


def test_workflow_needs_what_its_manifest_says(cli, with_model):
    change(
        with_model / "scaffolder.toml",
        'config = "gen-model/onnx-int8.json"',
        'config = "gen-model/base-onnx-int8.json"',
    )
    planned = json.loads(cli("run", "gen-model", "-n", "--json").out)
    assert [entry["workflow"] for entry in planned] == ["fine-tuning", "gen-model"]


def test_settings_belong_to_one_workflow(cli, project):
    assert cli("run", "all", "--set", "a=1").code == 2


def test_named_interpreter_that_does_not_exist_is_not_passed_over(cli, with_model, monkeypatch, tmp_path):
    monkeypatch.setenv("SCAFFOLDER_PYTHON", str(tmp_path / "no-python"))
    for command in (["run", "fine-tuning"], ["data", "check"]):
        result = cli(*command)
        assert result.code == 4
        assert "no-python, which does not exist" in result.err
        assert "unset SCAFFOLDER_PYTHON" in result.err


def test_environment_that_does_not_run_is_an_environment_fault(cli, with_model):
    (with_model / ".venv" / "bin").mkdir(parents=True)
    broken = with_model / ".venv" / "bin" / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    result = cli("run", "fine-tuning")
    assert result.code == 4
    assert ".venv" in result.err


def test_second_run_says_who_holds_the_project(cli, with_model):
    from scaffolder.lock import project_lock

    with project_lock(with_model / ".scaffolder", purpose="run gen-model"):
        result = cli("run", "fine-tuning")
    assert result.code == 1
    assert "run gen-model" in result.err
    assert "--wait" in result.err


def test_validate_names_every_configuration(cli, project):
    change(project / "fine-tuning" / "lora.json", '"r": 16', '"lora_r": 16')
    change(project / "gen-model" / "onnx-int4.json", '"precision"', '"precison"')
    result = cli("validate", "--json")
    assert result.code == 2
    found = {(problem["file"], problem["key"]) for problem in json.loads(result.out)}
    assert ("fine-tuning/lora.json", "passes.lora.lora_r") in found
    assert ("gen-model/onnx-int4.json", "passes.builder.precison") in found


def test_upgrade_config_keeps_the_file_before(cli, project):
    path = project / "fine-tuning" / "lora.json"
    change(path, '"r": 16', '"lora_r": 16')
    old = path.read_text()
    result = cli("upgrade-config", path)
    assert result.code == 0
    assert "renamed: passes.lora.lora_r" in result.err
    assert json.loads(path.read_text())["passes"]["lora"]["r"] == 16
    assert (path.parent / "lora.json.old").read_text() == old
    assert "is up to date" in cli("upgrade-config", path).err


LARGE = {
    "model_type": "llama",
    "num_hidden_layers": 80,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}


def test_what_cannot_fit_is_refused_before_it_starts(cli, with_model):
    (with_model / MODEL / "config.json").write_text(json.dumps(LARGE))
    result = cli("run", "fine-tuning")
    assert result.code == 2
    assert "fine-tuning (lora) needs about" in result.err
    assert "are free" in result.err
    assert "--force" in result.err
    assert nothing_was_started(with_model)


def test_a_batch_that_fits_is_named(cli, with_model):
    batch = "passes.lora.training_args.per_device_train_batch_size"
    shape = {**LARGE, "num_hidden_layers": 4, "hidden_size": 512, "intermediate_size": 1024, "num_attention_heads": 8}
    (with_model / MODEL / "config.json").write_text(json.dumps(shape))
    result = cli("run", "fine-tuning", "--set", f"{batch}=4096")
    assert result.code == 2
    assert f"--set {batch}=" in result.err
    assert "gradient_accumulation_steps=" in result.err


def test_dry_run_tells_the_estimate(cli, with_model):
    (with_model / MODEL / "config.json").write_text(json.dumps({**LARGE, "num_hidden_layers": 1}))
    result = cli("run", "fine-tuning", "-n")
    assert result.code == 0
    assert "estimated: 16 steps, " in result.out
    [planned] = json.loads(cli("run", "fine-tuning", "-n", "--json").out)
    assert planned["forecast"]["memory"] > planned["forecast"]["steps"] == 16


@pytest.fixture
def small_disk(with_model):
    """A file system of 16 MB where the runs go."""
    folder = with_model / "fine-tuning" / "runs"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs more rights")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk_is_told_before_it_starts(cli, with_model, small_disk):
    result = cli("run", "fine-tuning")
    assert result.code == 2
    assert "fine-tuning (lora) writes about 0.1 GB" in result.err
    assert "0.0 GB are free on the disk of fine-tuning/runs/" in result.err
    assert not list(small_disk.iterdir())


def test_keep_going_runs_what_does_not_need_the_failed(cli, with_model):
    (with_model / MODEL / "config.json").write_text(json.dumps(LARGE))
    result = cli("run", "all", "--keep-going", "--json")
    assert result.code == 3
    assert json.loads(result.out) == []
    assert "2 of 2 workflows failed" in result.err
    assert "gen-model: not run: it needs fine-tuning, which failed" in result.err


def test_a_tracker_that_is_not_installed_is_told_before_the_start(cli, with_model):
    result = cli("run", "fine-tuning", "--set", "passes.lora.training_args.report_to=wandb")
    assert result.code == 2
    assert "`report_to` names wandb, which this project's environment lacks" in result.err
    result = cli("run", "fine-tuning", "--set", "passes.lora.training_args.report_to=tensorbord")
    assert result.code == 2
    assert "`report_to` names tensorbord, which transformers does not know" in result.err
    assert "did you mean `tensorboard`?" in result.err
    assert nothing_was_started(with_model)
