"""Upgrades the arguments of training from transformers 4 to those of transformers 5."""

from __future__ import annotations

from scaffolder.oliveconfig.upgrade.record import Ledger, Table, join

RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "no_cuda": "use_cpu",
    "push_to_hub_token": "hub_token",
    "push_to_hub_model_id": "hub_model_id",
}
REMOVED = (
    "bf16_backend", "dispatch_batches", "fp16_backend", "fp16_opt_level", "fsdp_min_num_params",
    "fsdp_transformer_layer_cls_to_wrap", "half_precision_backend", "include_inputs_for_metrics",
    "include_tokens_per_second", "jit_mode_eval", "logging_dir", "past_index", "push_to_hub_organization",
    "ray_scope", "sharded_ddp", "save_safetensors", "split_batches", "torchdynamo", "tpu_metrics_debug",
    "tpu_num_cores", "use_ipex", "use_legacy_prediction_loop", "use_mps_device", "xpu_backend",
)  # fmt: skip


def upgrade_training(args: Table, at: str, ledger: Ledger) -> None:
    """Bring `training_args` to today's form."""
    ledger.lift(args, "extra_args", at)
    for old, new in RENAMED.items():
        ledger.rename(args, old, new, at, "transformers renamed it")
    for key in REMOVED:
        ledger.drop(args, key, at, "was removed from transformers")
    ledger.drop(args, "fp16", at, "Olive drops it; the pass's `torch_dtype` decides")
    _switch(args, "group_by_length", "train_sampling_strategy", "group_by_length", at, ledger)
    _switch(args, "adafactor", "optim", "adafactor", at, ledger)
    _warmup(args, at, ledger)


def _switch(args: Table, old: str, new: str, value: str, at: str, ledger: Ledger) -> None:
    """Turn a switch of its own into a value of another argument."""
    if old not in args:
        return
    if not args[old] or args.get(new) not in (None, value):
        reason = "is off, as without it" if not args[old] else f"`{new}` is given too"
        ledger.drop(args, old, at, reason)
        return
    ledger.rename(args, old, new, at, f'transformers writes it `{new}: "{value}"`')
    args[new] = value


def _warmup(args: Table, at: str, ledger: Ledger) -> None:
    """Turn the share of steps for warming up into `warmup_steps`.

    transformers 5 takes a value below 1 there as a share of all steps, so the author's number is kept.
    """
    ratio = args.get("warmup_ratio")
    if "warmup_ratio" not in args:
        return
    is_share = isinstance(ratio, (int, float)) and not isinstance(ratio, bool) and 0 <= ratio < 1
    if args.get("warmup_steps") or not is_share:
        reason = "`warmup_steps` is given, and counts" if args.get("warmup_steps") else "is no share of the steps"
        ledger.drop(args, "warmup_ratio", at, reason)
        return
    args.pop("warmup_steps", None)
    note = "transformers 5 has no `warmup_ratio`; below 1 `warmup_steps` is a share of all steps"
    ledger.rename(args, "warmup_ratio", "warmup_steps", at, note)


def evaluation_size(entry: Table, at: str, ledger: Ledger) -> tuple[object, str]:
    """Take the size of the held-out part out of a pass.

    Returns:
        The size, None where none is given, and the path of the key that gave it.
    """
    args = entry.get("training_args")
    found: object = None
    key = ""
    for table, where in ((args, join(at, "training_args")), (entry, at)):
        if isinstance(table, dict) and "eval_dataset_size" in table:
            if table["eval_dataset_size"]:
                found, key = table.pop("eval_dataset_size"), join(where, "eval_dataset_size")
            else:
                ledger.drop(table, "eval_dataset_size", where, "holds nothing out")
    return found, key
