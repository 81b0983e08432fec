"""Every slip of a table, made in every valid configuration that has its place, is found on its line."""

from __future__ import annotations

from copy import deepcopy

import pytest

from scaffolder.oliveconfig import check, dumps, parse

from .configurations import valid_configs

VALID = valid_configs()
TRAINERS = ("lora", "qlora")
DATA = ("data_configs", 0)
LOAD = (*DATA, "load_dataset_config")
TEXT = (*DATA, "pre_process_data_config")
LORA = ("passes", "@lora")
ARGS = (*LORA, "training_args")
BUILDER = ("passes", "@modelbuilder")
RTN = ("passes", "@rtn")
GPTQ = ("passes", "@gptq")
SURGERY = ("passes", "@graphsurgeries", "surgeries", 0)
SYSTEM = ("systems", "#")
ACCELERATOR = (*SYSTEM, "accelerators", 0)
METRIC = ("evaluators", "#", "metrics", 0)


def rename(path, new):
    return ("rename", path, new)


def put(path, value):
    return ("put", path, value)


def add(path, value):
    return ("add", path, value)


def drop(path):
    return ("drop", path, None)


# A place, what is done to it, and a part of what must be said.
MUTATIONS = [
    # slips in keys, at every depth
    (rename(("input_model",), "input_modle"), "did you mean `input_model`?"),
    (rename(("output_dir",), "ouput_dir"), "did you mean `output_dir`?"),
    (rename(("systems",), "system"), "did you mean `systems`?"),
    (rename(("passes",), "pases"), "did you mean `passes`?"),
    (rename(("data_configs",), "data_config"), "did you mean `data_configs`?"),
    (rename(("cache_dir",), "cachedir"), "did you mean `cache_dir`?"),
    (rename(("log_severity_level",), "log_level"), "unknown key `log_level`"),
    (add(("verbose_mode",), True), "unknown key `verbose_mode`"),
    (rename(("input_model", "model_path"), "model_pth"), "did you mean `model_path`?"),
    (rename(("input_model", "task"), "tasks"), "did you mean `task`?"),
    (rename(("input_model", "adapter_path"), "adapter"), "unknown key `adapter`"),
    (rename(("input_model", "load_kwargs"), "load_args"), "did you mean `load_kwargs`?"),
    (rename((*SYSTEM, "accelerators"), "accelerator"), "did you mean `accelerators`?"),
    (
        rename((*ACCELERATOR, "execution_providers"), "execution_provider"),
        "did you mean `execution_providers`?",
    ),
    (rename((*ACCELERATOR, "device"), "devices"), "did you mean `device`?"),
    (rename((*DATA, "load_dataset_config"), "load_dataset"), "is called `load_dataset_config`"),
    (
        rename((*DATA, "pre_process_data_config"), "preprocess_data_config"),
        "did you mean `pre_process_data_config`?",
    ),
    (rename((*LOAD, "data_files"), "data_file"), "did you mean `data_files`?"),
    (rename((*LOAD, "split"), "splt"), "did you mean `split`?"),
    (rename((*TEXT, "max_seq_len"), "max_seq_length"), "did you mean `max_seq_len`?"),
    (rename((*TEXT, "text_template"), "text_templat"), "did you mean `text_template`?"),
    (rename((*TEXT, "strategy"), "stratgy"), "did you mean `strategy`?"),
    (rename((*LORA, "lora_dropout"), "dropout"), "did you mean `lora_dropout`?"),
    (rename((*LORA, "target_modules"), "targetmodules"), "did you mean `target_modules`?"),
    (rename((*LORA, "training_args"), "trainings_args"), "did you mean `training_args`?"),
    (rename((*LORA, "torch_dtype"), "dtype"), "did you mean `torch_dtype`?"),
    (rename((*ARGS, "learning_rate"), "learnig_rate"), "did you mean `learning_rate`?"),
    (rename((*ARGS, "max_steps"), "max_step"), "did you mean `max_steps`?"),
    (
        rename((*ARGS, "gradient_checkpointing"), "gradient_checkpoint"),
        "did you mean `gradient_checkpointing`?",
    ),
    (rename((*BUILDER, "precision"), "precison"), "did you mean `precision`?"),
    (rename((*RTN, "group_size"), "groupsize"), "did you mean `group_size`?"),
    (rename((*GPTQ, "data_config"), "data_configs"), "did you mean `data_config`?"),
    (rename((*SURGERY, "surgeon"), "surgon"), "did you mean `surgeon`?"),
    (add((*SURGERY, "surplus"), 1), "unknown key `surplus`"),
    (rename(("passes", "@any", "type"), "typ"), "did you mean `type`?"),
    (rename((*METRIC, "sub_types"), "subtypes"), "did you mean `sub_types`?"),
    # keys of old versions
    (rename((*LORA, "r"), "lora_r"), "is called `r` today"),
    (rename((*LORA, "alpha"), "lora_alpha"), "is called `alpha` today"),
    (add((*LORA, "eval_dataset_size"), 0.1), "`eval_data_config`"),
    (add((*LORA, "use_ort_trainer"), False), "no longer does anything"),
    (rename((*TEXT, "strategy"), "corpus_strategy"), "is called `strategy` today"),
    (rename((*TEXT, "max_seq_len"), "source_max_len"), "is called `max_seq_len` today"),
    (add((*TEXT, "dataset_type"), "corpus"), "no longer does anything"),
    (add((*ARGS, "evaluation_strategy"), "steps"), "is called `eval_strategy` today"),
    (add((*ARGS, "group_by_length"), True), "train_sampling_strategy"),
    (add((*ARGS, "eval_dataset_size"), 10), "`eval_data_config`"),
    (add(("azureml_client",), {"subscription_id": "s"}), "scaffolder.toml"),
    (add(("hf_token",), True), "HF_TOKEN"),
    (add(("pass_flows",), [["lora"]]), "order in which they are written"),
    (add(("$schema",), "olive.json"), "refused by `olive run`"),
    (add(("input_model", "hf_config"), {"model_name": "x"}), "write `type` HfModel"),
    (add((*DATA, "params_config"), {"data_name": "json"}), "refused today"),
    (put((*SYSTEM, "type"), "AzureML"), "removed from Olive"),
    (put(("passes", "@any", "type"), "OrtPerfTuning"), "OrtSessionParamsTuning"),
    # values of the wrong type
    (put((*LORA, "r"), "8"), 'expected a whole number, found "8"'),
    (put((*LORA, "r"), 8.5), "expected a whole number, found 8.5"),
    (put((*LORA, "r"), True), "expected a whole number, found true"),
    (put((*LORA, "lora_dropout"), "0.1"), 'expected a number, found "0.1"'),
    (put((*LORA, "target_modules"), "q_proj"), "expected a list"),
    (put((*LORA, "target_modules"), [1]), "expected a string, found 1"),
    (put((*LORA, "training_args"), []), "expected an object"),
    (put((*LORA, "train_data_config"), {"name": "train"}), "expected a string"),
    (put((*ARGS, "max_steps"), "100"), "expected a whole number"),
    (put((*ARGS, "learning_rate"), "2e-4"), "expected a number"),
    (put((*ARGS, "gradient_checkpointing"), "false"), "expected true or false"),
    (put((*TEXT, "max_seq_len"), "1024"), "expected a whole number"),
    (put((*TEXT, "add_special_tokens"), "no"), "expected true or false"),
    (put((*LOAD, "split"), 1), "expected a string"),
    (put((*LOAD, "data_files"), 1), "expected an object or a list or a string"),
    (put(("log_severity_level",), "1"), "expected a whole number"),
    (put(("passes",), []), "expected an object"),
    (put(("data_configs",), {}), "expected a list"),
    (put((*SYSTEM, "accelerators"), ["cpu"]), "expected an object"),
    (put((*ACCELERATOR, "execution_providers"), "CUDAExecutionProvider"), "expected a list"),
    (put(("input_model",), "org/model"), "expected an object"),
    (put(("input_model", "model_path"), 1), "expected an object or a string"),
    (put((*BUILDER, "precision"), 4), "expected a string"),
    (put((*RTN, "lm_head"), "yes"), "expected true or false"),
    (put(("output_dir",), 1), "expected a string"),
    # values that are not on offer
    (put((*LORA, "torch_dtype"), "bf16"), "did you mean `bfloat16`?"),
    (put((*LORA, "device_map"), "cuda"), "unknown value"),
    (put((*TEXT, "strategy"), "line_by_line"), "did you mean `line-by-line`?"),
    (put((*ARGS, "eval_strategy"), "step"), "did you mean `steps`?"),
    (put((*ARGS, "lr_scheduler_type"), "cosin"), "did you mean `cosine`?"),
    (put((*ARGS, "optim"), "adamw_fused"), "did you mean"),
    (put((*ARGS, "train_sampling_strategy"), "by_length"), "did you mean `group_by_length`?"),
    (put((*BUILDER, "precision"), "in4"), "did you mean `int4`?"),
    (put((*BUILDER, "int4_block_size"), 48), "16, 32, 64, 128, 256"),
    (put((*BUILDER, "int4_algo_config"), "k_quant_mix"), "did you mean `k_quant_mixed`?"),
    (put((*RTN, "bits"), 5), "2, 4, 8"),
    (put((*GPTQ, "bits"), 3), "2, 4, 8"),
    (put((*ACCELERATOR, "device"), "cuda"), "unknown value"),
    (put((*ACCELERATOR, "execution_providers", 0), "CUDA"), "no execution provider"),
    (put((*SURGERY, "surgeon"), "TieWordEmbedding"), "did you mean `TieWordEmbeddings`?"),
    (put(("passes", "@any", "type"), "Lora2"), "unknown pass type"),
    (put(("passes", "@lora", "type"), "LoRAs"), "did you mean `LoRA`?"),
    (put(("passes", "@modelbuilder", "type"), "ModelBilder"), "did you mean `ModelBuilder`?"),
    (put(("input_model", "type"), "HFModell"), "did you mean `HfModel`?"),
    (put((*SYSTEM, "type"), "LocalSytem"), "did you mean `LocalSystem`?"),
    (put((*DATA, "type"), "HugginfaceContainer"), "did you mean `HuggingfaceContainer`?"),
    (put((*METRIC, "type"), "accurcy"), "did you mean `accuracy`?"),
    # values out of range
    (put((*LORA, "r"), 0), "at least 1"),
    (put((*LORA, "alpha"), 0), "greater than 0"),
    (put((*LORA, "lora_dropout"), 1.0), "less than 1"),
    (put((*LORA, "lora_dropout"), -0.1), "at least 0"),
    (put((*ARGS, "learning_rate"), 0), "greater than 0"),
    (put((*ARGS, "max_steps"), 0), "not allowed"),
    (put((*ARGS, "max_steps"), -5), "at least -1"),
    (put((*ARGS, "per_device_train_batch_size"), 0), "at least 1"),
    (put((*ARGS, "gradient_accumulation_steps"), 0), "at least 1"),
    (put((*ARGS, "logging_steps"), 0), "greater than 0"),
    (put((*TEXT, "max_seq_len"), 0), "at least 1"),
    (put((*TEXT, "max_samples"), 0), "at least 1"),
    (put(("log_severity_level",), 9), "at most 4"),
    (put((*DATA, "dataloader_config"), {"batch_size": 0}), None),
    # what is missing, or refers to nothing
    (drop(("input_model",)), "missing key `input_model`"),
    (drop(("input_model", "type")), "missing key `type`"),
    (drop(("input_model", "model_path")), "missing key `model_path`"),
    (drop((*SYSTEM, "type")), "missing key `type`"),
    (drop((*DATA, "name")), "missing key `name`"),
    (drop((*LORA, "train_data_config")), "missing key `train_data_config`"),
    (drop(("passes", "@any", "type")), "missing key `type`"),
    (drop((*BUILDER, "precision")), "missing key `precision`"),
    (drop((*SURGERY, "surgeon")), "missing key `surgeon`"),
    (put((*LORA, "train_data_config"), "trian"), "unknown data config"),
    (add((*LORA, "eval_data_config"), "nothing_like_it"), "unknown data config"),
    (put((*GPTQ, "data_config"), "calibration"), "unknown data config"),
    (put(("host",), "locl"), "unknown system"),
    (put(("target",), "gpu_farm"), "unknown system"),
    (put(("evaluator",), "qualty"), "did you mean `quality`?"),
    (put((*METRIC, "data_config"), "evall"), "did you mean `eval`?"),
    (put((*DATA, "name"), "with space"), "letters, digits and underscores"),
    (put((*DATA, "type"), "Postgres"), "unknown data type"),
    # files
    (put((*LOAD, "data_files"), "datasets/none.jsonl"), "does not exist"),
    (put((*LOAD, "data_files"), ["datasets/none.jsonl"]), None),
    (put((*LOAD, "data_files"), "datasets/*.parquet"), "matches no file"),
    (put(("data_configs", 1, "user_script"), "none.py"), "does not exist"),
    (put(("input_model", "adapter_path"), "./none/adapter"), "does not exist"),
    (put(("input_model", "model_path"), "./none"), "does not exist"),
    (put(("input_model", "model_path"), "C:\\models\\none"), "does not exist"),
]
IDS = [f"{op}-{'.'.join(map(str, path))}-{value}" for (op, path, value), _ in MUTATIONS]


def resolve(config, path):
    """Turn `@type` into the name of the first such pass, `#` into the first key; None where there is none."""
    found: list[object] = []
    here = config
    for step in path:
        last = len(found) == len(path) - 1
        key = step
        if isinstance(step, str) and step.startswith("@"):
            wanted = TRAINERS if step == "@lora" else (step[1:],)
            fits = [k for k, v in here.items() if isinstance(v, dict)]
            if step != "@any":
                fits = [k for k in fits if str(here[k]["type"]).casefold() in wanted]
            key = fits[0] if fits else None
        elif step == "#":
            key = next(iter(here), None)
        if key is None:
            return None
        is_there = (isinstance(here, list) and isinstance(key, int) and key < len(here)) or (
            isinstance(here, dict) and key in here
        )
        if not is_there and not last:
            return None
        here = here[key] if is_there else None
        found.append(key)
    return found


def mutate(config, mutation):
    """A mutated copy and the path at which the slip is to be found; None where it does not apply."""
    op, path, value = mutation
    exact = resolve(config, path)
    # A data config with a script of its own may be anything.
    is_open = path[:2] == DATA and "type" in config.get("data_configs", [{}])[0].get("pre_process_data_config", {})
    if exact is None or is_open:
        return None
    changed = deepcopy(config)
    parent = changed
    for key in exact[:-1]:
        parent = parent[key]
    key = exact[-1]
    exists = key in parent if isinstance(parent, dict) else True
    if exists == (op == "add"):
        return None
    if op == "rename":
        if value in parent:
            return None
        renamed = {value if old == key else old: part for old, part in parent.items()}
        parent.clear()
        parent.update(renamed)
        return changed, [*exact[:-1], value]
    if op == "drop":
        del parent[key]
        return changed, exact[:-1]
    parent[key] = value
    return changed, exact


def height(value):
    """Lines that a value takes when it is written with indentation."""
    if not value or not isinstance(value, (dict, list)):
        return 1
    parts = value.values() if isinstance(value, dict) else value
    return 2 + sum(height(part) for part in parts)


def line_of(config, path):
    """Line of a key in the written configuration, counted without the reader."""
    line = 1
    here = config
    for key in path:
        line += 1
        entries = list(here.items()) if isinstance(here, dict) else list(enumerate(here))
        for name, part in entries:
            if name == key:
                here = part
                break
            line += height(part)
    return line


def errors(config, root):
    found = check(parse(dumps(config), file="x.json"), root=root)
    return [problem for problem in found if problem.severity == "error"]


@pytest.mark.parametrize("name", VALID)
def test_a_valid_configuration_has_no_errors(name, project):
    assert errors(VALID[name], project) == []


@pytest.mark.parametrize(("mutation", "said"), MUTATIONS, ids=IDS)
def test_a_slip_is_found_on_its_line(mutation, said, project):
    tried = 0
    for name, config in VALID.items():
        made = mutate(config, mutation)
        if made is None or made[0] == config:
            continue
        changed, path = made
        tried += 1
        first, last = line_of(changed, path), line_of(changed, path)
        here = changed
        for key in path:
            here = here[key]
        if mutation[0] == "put":
            last += height(here) - 1
        found = errors(changed, project)
        near = [problem for problem in found if first <= problem.line <= last]
        assert near, f"{name}: nothing on line {first}, only {found}"
        if said:
            assert any(said in problem.message for problem in near), f"{name}: {near}"
    assert tried, "no valid configuration has this place"


def test_the_table_holds_many_distinct_slips():
    assert len(set(IDS)) == len(MUTATIONS) >= 60


def test_many_slips_are_told_at_once_in_their_order(project):
    config = VALID["lora"]
    for mutation in (rename(("output_dir",), "ouput_dir"), put((*LORA, "r"), "8"), put(("host",), "locl")):
        config, _ = mutate(config, mutation)
    found = check(parse(dumps(config)), root=project)
    told = [problem for problem in found if problem.severity == "error"]
    assert [problem.key for problem in told] == ["passes.lora.r", "host", "ouput_dir"]
    assert [problem.line for problem in found] == sorted(problem.line for problem in found)
