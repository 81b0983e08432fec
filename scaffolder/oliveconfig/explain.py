"""Words for unknown keys: what an old key is called today, or the nearest right spelling."""

from __future__ import annotations

from difflib import SequenceMatcher, get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Where = tuple[str, ...]

_GONE = "{} was removed from Olive"
_NO_USE = "no longer does anything in Olive; leave it out"
_EVAL_SPLIT = "is not read; give the pass an `eval_data_config` with a `split` of its own"
_QLORA_ONLY = "belongs to QLoRA passes; LoRA ignores it"
_HF_CONFIG = "is refused today; write `type` HfModel with `model_path`, `task` and `load_kwargs`"
_PARAMS = "is refused today; its keys stand in `load_dataset_config` and `pre_process_data_config`"

# What Olive, PEFT and transformers called things up to 0.12 and 4.x; by part, then key.
OLD: dict[str, dict[str, str]] = {
    "root": {
        "azureml_client": "is refused since Olive 0.10; Azure ML is a target in scaffolder.toml now",
        "hf_token": "is refused today; set the variable HF_TOKEN or run `hf auth login`",
        "pass_flows": "is refused today; passes run in the order in which they are written",
        "output_name": "is refused today; `output_dir` alone says where the result goes",
        "auto_optimizer_config": "was removed from Olive; write the passes out",
        "packaging_configs": "is called `packaging_config`",
        "verbose": "is called `log_severity_level`",
        "$schema": "is refused by `olive run`; connect the schema in .vscode/settings.json",
    },
    "input_model": {
        "hf_config": _HF_CONFIG,
        "model_name": "is called `model_path` today",
        "from_pretrained_args": "is called `load_kwargs` today",
        "model_loading_args": "is called `load_kwargs` today",
        "is_file": _NO_USE,
    },
    "system": {
        "aml_compute": _GONE.format("Azure ML as a system"),
        "aml_docker_config": _GONE.format("Azure ML as a system"),
        "olive_managed_env": _GONE.format("the environment that Olive managed"),
    },
    "data": {
        "params_config": _PARAMS,
        "component_kwargs": _PARAMS,
        "components": "is refused today; each component has a key of its own, such as `load_dataset_config`",
        "load_dataset": "is called `load_dataset_config`",
        "pre_process_data": "is called `pre_process_data_config`",
        "dataloader": "is called `dataloader_config`",
    },
    "load_dataset_config": {
        "batch_size": "belongs in `dataloader_config`",
        "component_kwargs": _PARAMS,
    },
    "pre_process_data_config": {
        "corpus_strategy": "is called `strategy` today",
        "source_max_len": "is called `max_seq_len` today",
        "dataset_type": _NO_USE,
        "use_chat_template": "is called `chat_template` today",
    },
    "pass": {
        "lora_r": "is called `r` today; Olive ignores the old name and trains with r 64",
        "lora_alpha": "is called `alpha` today; Olive ignores the old name and trains with alpha 16",
        "double_quant": _QLORA_ONLY,
        "quant_type": _QLORA_ONLY,
        "compute_dtype": _QLORA_ONLY,
        "eval_dataset_size": _EVAL_SPLIT,
        "use_ort_trainer": _NO_USE,
        "ortmodule_onnx_opset_version": _NO_USE,
        "pack_inputs": _NO_USE,
        "use_gpu": _NO_USE,
        "disable_search": _NO_USE,
        "clean_run_cache": _NO_USE,
        "output_name": _NO_USE,
    },
    "training_args": {
        "evaluation_strategy": "is called `eval_strategy` today",
        "group_by_length": 'is written `train_sampling_strategy: "group_by_length"` today',
        "eval_dataset_size": _EVAL_SPLIT,
        "per_gpu_train_batch_size": "is called `per_device_train_batch_size` today",
        "per_gpu_eval_batch_size": "is called `per_device_eval_batch_size` today",
        "no_cuda": "is called `use_cpu` today",
        "adafactor": 'is written `optim: "adafactor"` today',
        "logging_dir": "was removed from transformers",
        "save_safetensors": "was removed from transformers, which writes nothing else now",
        "push_to_hub_token": "is called `hub_token` today",
        "push_to_hub_model_id": "is called `hub_model_id` today",
        "bf16_backend": "was removed from transformers",
        "fp16_backend": "was removed from transformers",
        "half_precision_backend": "was removed from transformers",
        "fp16_opt_level": "was removed from transformers",
    },
}
COMPONENTS = {
    "load_dataset_config",
    "pre_process_data_config",
    "post_process_data_config",
    "dataloader_config",
}
OLD_SYSTEMS = {"azureml": "AzureML", "isolatedort": "IsolatedORT"}
OLD_PASSES = {"onnxmodeloptimizer": "OnnxPeepholeOptimizer", "ortperftuning": "OrtSessionParamsTuning"}


def part_of(where: Where) -> str:
    """The part of a configuration that an object at `where` is, as `OLD` names it."""
    match where:
        case ():
            return "root"
        case ("input_model",):
            return "input_model"
        case ("systems", _) | ("host",) | ("target",):
            return "system"
        case ("data_configs", _):
            return "data"
        case ("data_configs", _, component) if component in COMPONENTS:
            return component
        case ("passes", _) | ("passes", _, "0" | "1" | "2" | "3"):
            return "pass"
        case (*_, "training_args"):
            return "training_args"
        case _:
            return ""


def old_key(where: Where, key: str) -> str:
    """What to say of a key that an older version knew; empty when none is known."""
    return OLD.get(part_of(where), {}).get(key, "")


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The known spelling that is nearest to `word`, minding neither case nor dashes; or empty."""
    spelled = {_plain(name): name for name in known if name}
    wanted = _plain(word)
    if wanted in spelled:
        return spelled[wanted]
    if near := get_close_matches(wanted, spelled, n=1, cutoff=cutoff):
        return spelled[near[0]]
    inside = [name for plain, name in spelled.items() if len(plain) > 3 and plain in wanted]
    return max(inside, key=lambda name: SequenceMatcher(None, name, wanted).ratio(), default="")


def _plain(word: str) -> str:
    return str(word).casefold().replace("-", "").replace("_", "")
