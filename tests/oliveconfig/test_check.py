from __future__ import annotations

import subprocess
import sys
from copy import deepcopy

import pytest

from scaffolder.oliveconfig import Problem, check, dumps, parse, read

from .configurations import HERE, valid_configs

LORA = valid_configs()["lora"]


def problems(config, root, *, severity=""):
    found = check(parse(dumps(config), file="x.json"), root=root)
    return [problem for problem in found if severity in ("", problem.severity)]


@pytest.fixture
def lora():
    return deepcopy(LORA)


def only(found):
    assert len(found) == 1, found
    return found[0]


def test_a_problem_names_file_place_key_and_next_step(project, lora):
    lora["passes"]["lora"]["lora_r"] = 8
    problem = only(problems(lora, project))
    assert problem == Problem(
        file="x.json",
        line=problem.line,
        column=7,
        key="passes.lora.lora_r",
        message="`lora_r` is called `r` today; Olive ignores the old name and trains with r 64",
        hint="scaffolder upgrade-config x.json",
        severity="error",
    )
    assert '"lora_r"' in dumps(lora).splitlines()[problem.line - 1]


def test_the_seeds_are_explained_line_by_line(project):
    found = check(read(HERE / "seeds" / "lora.json", name="olive.json"), root=project)
    errors = {problem.key.rpartition(".")[2] for problem in found if problem.severity == "error"}
    assert errors == {
        "azureml_client",
        "hf_config",
        "type",
        "data_files",
        "dataset_type",
        "corpus_strategy",
        "source_max_len",
        "double_quant",
        "lora_r",
        "lora_alpha",
        "eval_dataset_size",
        "evaluation_strategy",
        "group_by_length",
    }
    assert all("upgrade-config olive.json" in problem.hint for problem in found if problem.severity == "error")


def test_the_nested_form_is_read_and_only_warned_of(project, lora):
    nested = deepcopy(lora)
    entry = nested["passes"]["lora"]
    nested["passes"]["lora"] = {"type": entry.pop("type"), "config": entry}
    model = nested["input_model"]
    nested["input_model"] = {"type": model.pop("type"), "config": model}
    nested["engine"] = {key: nested.pop(key) for key in ("host", "target", "cache_dir", "output_dir")}
    text = nested["data_configs"][0]
    text["pre_process_data_config"] = {"params": text["pre_process_data_config"]}
    found = problems(nested, project)
    assert [problem.severity for problem in found] == ["warning"] * 4
    assert {problem.key.rpartition(".")[2] for problem in found} == {"config", "engine", "params"}


def test_a_slip_inside_the_nested_form_keeps_its_own_path(project, lora):
    entry = lora["passes"]["lora"]
    entry["rr"] = entry.pop("r")
    lora["passes"]["lora"] = {"type": entry.pop("type"), "config": entry}
    problem = only(problems(lora, project, severity="error"))
    assert problem.key == "passes.lora.config.rr"


def test_a_key_given_flat_and_nested_is_an_error(project, lora):
    lora["engine"] = {"output_dir": "elsewhere"}
    problem = only(problems(lora, project, severity="error"))
    assert problem.key == "engine.output_dir"


def test_secrets_are_refused_and_not_repeated(project, lora):
    secret = "hf_" + "a1B2c3D4e5F6g7H8i9J0" * 2
    arguments = lora["passes"]["lora"]["training_args"]
    arguments["hub_token"], arguments["run_name"] = "s3cret", secret
    found = problems(lora, project, severity="error")
    assert {problem.key: problem.message for problem in found} == {
        "passes.lora.training_args.hub_token": "holds an access token, which every run would write down",
        "passes.lora.training_args.run_name": "holds a Hugging Face token, which every run would write down",
    }
    assert not any(secret in line or "s3cret" in line for problem in found for line in (problem.message, problem.hint))


@pytest.mark.parametrize("name", ["LoRA", "lora", "LORA"])
def test_types_are_read_in_any_case_as_olive_does(project, lora, name):
    lora["passes"]["lora"]["type"] = name
    lora["data_configs"][0]["type"] = name.swapcase() and "HUGGINGFACECONTAINER"
    lora["systems"]["local"]["type"] = "localsystem"
    lora["input_model"]["type"] = "hfModel"
    assert problems(lora, project) == []


@pytest.mark.parametrize(("value", "fine"), [(16, True), (16.0, True), (16.5, False), ("16", False), (True, False)])
def test_whole_numbers_are_told_from_their_likes(project, lora, value, fine):
    lora["passes"]["lora"]["r"] = value
    assert (problems(lora, project) == []) is fine


@pytest.mark.parametrize("value", [{"olive_parameter_type": "SearchParameter", "values": [8, 16]}, "DEFAULT_VALUE"])
def test_a_value_to_search_for_is_allowed_in_a_pass(project, lora, value):
    lora["passes"]["lora"]["r"] = value
    assert problems(lora, project) == []


def test_a_component_of_a_user_script_may_take_anything(project, lora):
    item = lora["data_configs"][0]
    item["user_script"] = "scripts/data.py"
    item["pre_process_data_config"] = {"type": "mine", "whatever": 1}
    assert problems(lora, project) == []


def test_a_component_without_a_script_must_be_one_of_olives(project, lora):
    lora["data_configs"][0]["pre_process_data_config"] = {"type": "text_generation_hugingface_pre_process"}
    problem = only(problems(lora, project))
    assert "did you mean `text_generation_huggingface_pre_process`?" in problem.message


def test_text_settings_are_checked_for_the_models_task_only(project, lora):
    lora["data_configs"][0]["pre_process_data_config"] = {"input_cols": ["text"], "label_col": "label"}
    del lora["evaluators"], lora["evaluator"]
    assert problems(lora, project)
    lora["input_model"]["task"] = "text-classification"
    del lora["data_configs"][1]["pre_process_data_config"]
    assert problems(lora, project) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["passes"]["lora"]["training_args"].update(warmup_ratio=0.1), "`warmup_steps`"),
        (lambda c: c["passes"]["lora"]["training_args"].update(fp16=True), "`torch_dtype`"),
        (lambda c: c["passes"]["lora"].pop("eval_data_config"), "no `eval_data_config`"),
        (
            lambda c: c["input_model"].update(load_kwargs={"trust_remote_cod": True}),
            "slip of `trust_remote_code`",
        ),
        (
            lambda c: c["data_configs"][1]["pre_process_data_config"].update(text_template="<|user|>{question}"),
            "`<|user|>`",
        ),
        (
            lambda c: c["data_configs"][1]["pre_process_data_config"].update(text_template="[INST]{q}</s>"),
            "`</s>`",
        ),
    ],
    ids=["warmup_ratio", "fp16", "no evaluation", "slip in an open part", "special token", "end of sentence"],
)
def test_what_is_dropped_in_silence_is_a_warning(project, lora, change, said):
    change(lora)
    problem = only(problems(lora, project))
    assert problem.severity == "warning"
    assert said in problem.message


def test_no_warning_of_special_tokens_when_none_are_added(project, lora):
    lora["data_configs"][1]["pre_process_data_config"] |= {
        "text_template": "<s>{q}",
        "add_special_tokens": False,
    }
    assert problems(lora, project) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strategy": "line-by-line-random", "max_samples": None}, None),
        ({"strategy": "line-by-line-random"}, "needs `max_samples`"),
        ({"strategy": "join-sliding-window"}, "needs `stride`"),
        ({"strategy": "line-by-line", "use_attention_mask": False}, "needs the attention mask"),
        ({"strategy": "join", "use_attention_mask": False}, None),
        ({"strategy": "line-by-line", "drop_short_sequences": True}, "`pad_to_max_len` set to false"),
    ],
)
def test_settings_of_text_that_exclude_each_other_are_errors(project, lora, settings, said):
    lora["data_configs"][0]["pre_process_data_config"] = settings
    found = problems(lora, project)
    assert [said in problem.message for problem in found] == ([True] if said else [])


def test_a_search_needs_an_evaluator(project, lora):
    lora["search_strategy"] = {"execution_order": "joint", "sampler": "tpe", "max_samples": 3, "seed": 0}
    assert problems(lora, project) == []
    del lora["evaluator"]
    assert "needs an `evaluator`" in only(problems(lora, project)).message


@pytest.mark.parametrize(
    "path",
    [
        "model-cache/org/none",
        "./fine-tuning/runs/1/model",
        "gen-model/none/model.onnx",
        "org/name",
        "gpt2",
        "azureml://registries/azureml/models/Phi/versions/1",
    ],
)
def test_a_model_that_is_made_later_or_lies_elsewhere_is_fine(project, lora, path):
    lora["input_model"]["model_path"] = path
    assert problems(lora, project) == []


@pytest.mark.parametrize(
    "files",
    [
        "datasets/train.jsonl",
        ["datasets/train.jsonl", "datasets/eval.jsonl"],
        {"train": "datasets/train.jsonl", "test": ["datasets/*.jsonl"]},
        "datasets/**/*.jsonl",
        "https://example.org/train.jsonl",
        "hf://datasets/org/name/train.jsonl",
    ],
)
def test_data_files_are_found_in_every_form(project, lora, files):
    lora["data_configs"][0]["load_dataset_config"]["data_files"] = files
    assert problems(lora, project) == []


def test_absolute_paths_and_patterns_are_looked_for_where_they_lead(project, lora, monkeypatch):
    load = lora["data_configs"][0]["load_dataset_config"]
    load["data_files"] = [str(project / "datasets/train.jsonl"), str(project / "datasets" / "*.jsonl")]
    assert problems(lora, project) == []
    monkeypatch.setenv("HOME", str(project))
    monkeypatch.setenv("USERPROFILE", str(project))
    load["data_files"] = ["~/datasets/train.jsonl", "datasets/none\0.jsonl"]
    assert "none" in only(problems(lora, project)).message


def test_every_missing_file_of_a_table_is_named(project, lora):
    files = {"train": "datasets/none.jsonl", "test": ["datasets/train.jsonl", "no/*.csv"]}
    lora["data_configs"][0]["load_dataset_config"]["data_files"] = files
    said = [problem.message for problem in problems(lora, project)]
    assert said == ['data file "datasets/none.jsonl" does not exist', 'data file "no/*.csv" matches no file']


def test_data_files_relate_to_their_folder(project, lora):
    load = lora["data_configs"][0]["load_dataset_config"]
    load |= {"data_dir": "datasets", "data_files": "train.jsonl"}
    assert problems(lora, project) == []
    load["data_dir"] = "nowhere"
    assert only(problems(lora, project)).key.endswith("data_dir")


def test_files_of_a_data_set_on_the_hub_are_not_looked_for(project, lora):
    lora["data_configs"][0]["load_dataset_config"] |= {"data_name": "org/data", "data_files": "train.csv"}
    assert problems(lora, project) == []


def test_text_that_is_no_json_is_the_only_problem(project):
    problem = only(check(parse("{", file="x.json"), root=project))
    assert problem.severity == "error"


@pytest.mark.parametrize("text", ["[]", '"x"', "null", "1"])
def test_a_configuration_must_be_an_object(project, text):
    assert "expected an object" in only(check(parse(text), root=project)).message


@pytest.mark.parametrize(
    "text",
    [
        '{"input_model": null, "passes": null, "data_configs": null, "systems": null}',
        '{"input_model": [], "passes": {"a": []}, "data_configs": [[]], "systems": {"a": 1}, "engine": 1}',
        '{"input_model": {"type": 1, "config": []}, "passes": {"a": {"type": {}}}}',
        '{"data_configs": [{"name": 1}]}',
        '{"data_configs": [{"load_dataset_config": {"data_name": [], "data_files": {}}, "type": []}]}',
        '{"passes": {"a": {"type": "GraphSurgeries", "surgeries": [1, {}, {"surgeon": 2}]}}}',
        '{"host": {"type": 1}}',
    ],
)
def test_nonsense_is_told_and_never_breaks_the_check(project, text):
    assert check(parse(text), root=project)


def test_importing_the_package_reads_no_schema_and_nothing_heavy():
    code = (
        "import sys, scaffolder.oliveconfig as o; from scaffolder.oliveconfig import schema; "
        "print(schema.schema.cache_info().currsize, *sorted(m.split('.')[0] for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    size, *modules = done.stdout.split()
    assert size == "0"
    assert not {"olive", "torch", "transformers", "jsonschema", "pydantic", "rich", "typer"} & set(modules)
