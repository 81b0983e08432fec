"""What Olive checks in code rather than in its types: ranges, allowed strings, paths.

Only what is certain stands here: a value outside makes Olive, PEFT or transformers fail or do nothing.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

POSITIVE: Schema = {"exclusiveMinimum": 0}
AT_LEAST_ONE: Schema = {"minimum": 1}
NOT_NEGATIVE: Schema = {"minimum": 0}
SHARE: Schema = {"minimum": 0, "exclusiveMaximum": 1}
DTYPES = ["bfloat16", "float16", "float32"]
LORA_FAMILY = {"LoRA", "QLoRA", "LoftQ", "DoRA", "LoHa", "LoKr"}
# The names that onnxruntime-genai's builder tells apart.
INT4_ALGORITHMS = ["default", "rtn", "rtn_last", "k_quant", "k_quant_mixed", "k_quant_last", "k_quant_linear"]

ANYWHERE: dict[str, Schema] = {
    "user_script": {"x-path": "file"},
    "script_dir": {"x-path": "folder"},
    "model_script": {"x-path": "file"},
    "log_severity_level": {"minimum": 0, "maximum": 4},
    "ort_log_severity_level": {"minimum": 0, "maximum": 4},
    "ort_py_log_severity_level": {"minimum": 0, "maximum": 4},
    "max_samples": AT_LEAST_ONE,
    "max_seq_len": AT_LEAST_ONE,
    "seq_len": AT_LEAST_ONE,
    "batch_size": AT_LEAST_ONE,
    "group_size": {"minimum": -1},
    "high_group_size": {"minimum": -1},
    "damp_percent": SHARE,
    "priority": {"minimum": -1},
    "warmup_num": NOT_NEGATIVE,
    "repeat_test_num": AT_LEAST_ONE,
    "target_opset": AT_LEAST_ONE,
}
LORA: dict[str, Schema] = {
    "r": AT_LEAST_ONE,
    "alpha": POSITIVE,
    "lora_dropout": SHARE,
    "rank_dropout": SHARE,
    "module_dropout": SHARE,
    "torch_dtype": {"enum": DTYPES},
    "compute_dtype": {"enum": DTYPES},
    "quant_type": {"enum": ["fp4", "nf4"]},
    "loftq_iter": AT_LEAST_ONE,
}
TRAINING: dict[str, Schema] = {
    "learning_rate": POSITIVE,
    "num_train_epochs": POSITIVE,
    # Zero is neither a number of steps nor transformers' "not set", which is -1.
    "max_steps": {"minimum": -1, "not": {"const": 0}},
    "per_device_train_batch_size": AT_LEAST_ONE,
    "per_device_eval_batch_size": AT_LEAST_ONE,
    "gradient_accumulation_steps": AT_LEAST_ONE,
    "eval_accumulation_steps": AT_LEAST_ONE,
    "logging_steps": POSITIVE,
    "eval_steps": POSITIVE,
    "save_steps": POSITIVE,
    "warmup_steps": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "max_grad_norm": NOT_NEGATIVE,
    "adam_beta1": SHARE,
    "adam_beta2": SHARE,
    "adam_epsilon": POSITIVE,
    "label_smoothing_factor": SHARE,
    "dataloader_num_workers": NOT_NEGATIVE,
    "save_total_limit": AT_LEAST_ONE,
}
BY_OWNER: dict[str, dict[str, Schema]] = {
    **dict.fromkeys(LORA_FAMILY, LORA),
    "training_args": TRAINING,
    "HfModel": {
        "model_path": {"x-path": "model"},
        "adapter_path": {"x-path": "model"},
        "test_model_path": {"x-path": "model"},
    },
    "ONNXModel": {"model_path": {"x-path": "model"}},
    "PyTorchModel": {"model_path": {"x-path": "model"}},
    "TextGenParams": {
        "padding_side": {"enum": ["left", "right"]},
        "stride": AT_LEAST_ONE,
        "processing_batch_size": AT_LEAST_ONE,
        "random_retries": AT_LEAST_ONE,
    },
    "KVCacheConfig": {"batch_size": NOT_NEGATIVE},
    "ModelBuilder": {"int4_algo_config": {"enum": INT4_ALGORITHMS}},
    "MetricGoal": {
        "type": {
            "enum": [
                "threshold",
                "min-improvement",
                "percent-min-improvement",
                "max-degradation",
                "percent-max-degradation",
            ]
        }
    },
    "SearchStrategyConfig": {"max_iter": AT_LEAST_ONE, "max_time": AT_LEAST_ONE},
    "AcceleratorConfig": {"execution_providers": {"maxItems": 1}},
    "TargetUserConfig": {"accelerators": {"maxItems": 1}},
    "LocalSystem": {"accelerators": {"maxItems": 1}},
    "PythonEnvironment": {"accelerators": {"maxItems": 1}, "python_environment_path": {"x-path": "folder"}},
    "Docker": {"accelerators": {"maxItems": 1}, "build_context_path": {"x-path": "folder"}},
}


# The rest of what from_pretrained is often given; a near miss of one of these is worth a warning.
LOADING = (
    "attn_implementation",
    "cache_dir",
    "code_revision",
    "config",
    "dtype",
    "force_download",
    "gguf_file",
    "local_files_only",
    "low_cpu_mem_usage",
    "offload_folder",
    "offload_state_dict",
    "proxies",
    "revision",
    "subfolder",
    "token",
    "tp_plan",
    "use_kernels",
    "use_safetensors",
    "variant",
    "weights_only",
)


def refine(owner: str, name: str, schema: Schema) -> Schema:
    """Add to a parameter's schema what its owner checks in code."""
    extra = BY_OWNER.get(owner, {}).get(name)
    if extra is None:
        extra = ANYWHERE.get(name)
    if not extra:
        return schema
    if "enum" in extra and "null" in schema.get("type", []):
        extra = {**extra, "enum": [*extra["enum"], None]}
    if "anyOf" in schema and ("x-path" in extra or "x-ref" in extra):
        first, *others = schema["anyOf"]
        return {**schema, "anyOf": [{**first, **extra}, *others]}
    return {**schema, **extra}
