"""What training on the examples will take: tokens, steps, memory and time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder import catalogue, memory
from scaffolder.dataset.sources import training_data
from scaffolder.errors import ConfigError
from scaffolder.records import find_runs

if TYPE_CHECKING:
    from scaffolder.dataset.report import FileReport, Report
    from scaffolder.plan import Workflow
    from scaffolder.project import Project

# Of transformers.TrainingArguments.
_DEFAULT_BATCH = 8
_DEFAULT_EPOCHS = 3.0
_BYTES = {"float32": 4, "float": 4, "fp32": 4}


@dataclass(frozen=True, slots=True)
class MethodEstimate:
    """One way to fine-tune.

    Attributes:
        method: Its name in the catalogue.
        memory: Bytes at the peak of a step on a card; None where the model is not in the catalogue.
        tokens_per_second: Measured in this project's last run of it; None before.
        seconds: Of the training alone, at that speed.
    """

    method: str
    memory: int | None
    tokens_per_second: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures of the training file.

    Attributes:
        path: The file.
        rows: Examples in it.
        estimated: Whether tokens are estimated from a part of the rows.
        tokens: An epoch, after cutting.
        learnt: Of these with a loss.
        cut: Tokens lost to `max_seq_len`.
        max_seq_len: Longest sequence.
        packed_blocks: Blocks of `max_seq_len` that the tokens fill.
        batch: Rows of a step, accumulation included; packed, sequences of several.
        steps_per_epoch: Steps that see every row once.
        steps: Of the whole training as configured.
        epochs: Of the whole training.
        seen_tokens: Tokens of the whole training.
        preset: The configuration that these come from.
        methods: What each way to fine-tune takes.
    """

    path: str
    rows: int
    estimated: bool
    tokens: int
    learnt: int
    cut: int
    max_seq_len: int
    packed_blocks: int
    batch: int
    steps_per_epoch: int
    steps: int
    epochs: float
    seen_tokens: int
    preset: str
    methods: tuple[MethodEstimate, ...]


def measure(project: Project, report: Report) -> Stats:
    """Work out what training takes, from a check of the training file.

    Raises:
        ConfigError: No workflow trains on the file, or lengths are not known.
    """
    found = training_data(project)
    if found is None:
        raise ConfigError(f"no workflow trains on {project.manifest.dataset.train}", hint="`scaffolder validate`")
    workflow, data = found
    file = report.files[0]
    if file.lengths is None or not file.lengths.counted_rows:
        reason = "; ".join(report.notes) or f"{file.path} holds no example that training can use"
        raise ConfigError(reason, hint="`scaffolder data check`")
    lengths, scale = file.lengths, file.good / file.lengths.counted_rows
    used = round((lengths.counted_rows - lengths.untrained) * scale)
    arguments = _training_arguments(workflow.config)
    rows = int(arguments.get("per_device_train_batch_size", _DEFAULT_BATCH))
    batch = rows * int(arguments.get("gradient_accumulation_steps", 1))
    tokens = round(lengths.kept * scale)
    limit = file.max_seq_len or lengths.longest
    packed = (data.get("pre_process_data_config") or {}).get("packing") == "pack"
    per_epoch = max(1, math.ceil((math.ceil(tokens / limit) if packed else used) / batch))
    steps = _steps(arguments, per_epoch)
    seen = round(tokens * steps / per_epoch)
    return Stats(
        path=file.path,
        rows=file.good,
        estimated=file.every > 1,
        tokens=tokens,
        learnt=round(lengths.learnt * scale),
        cut=round(lengths.cut_tokens * scale),
        max_seq_len=limit,
        packed_blocks=math.ceil(tokens / limit),
        batch=batch,
        steps_per_epoch=per_epoch,
        steps=steps,
        epochs=round(steps / per_epoch, 2),
        seen_tokens=seen,
        preset=workflow.preset,
        methods=_methods(project, workflow, file, rows, seen),
    )


def _training_arguments(config: dict[str, Any]) -> dict[str, Any]:
    for settings in config.get("passes", {}).values():
        if isinstance(settings, dict) and isinstance(settings.get("training_args"), dict):
            return dict(settings["training_args"])
    return {}


def _steps(arguments: dict[str, Any], per_epoch: int) -> int:
    if int(arguments.get("max_steps", -1)) > 0:
        return int(arguments["max_steps"])
    return math.ceil(per_epoch * float(arguments.get("num_train_epochs", _DEFAULT_EPOCHS)))


def _methods(
    project: Project, workflow: Workflow, file: FileReport, rows: int, seen: int
) -> tuple[MethodEstimate, ...]:
    speeds = {
        record.preset: record.training["tokens_per_second"]
        for record in find_runs(project)
        if record.workflow == workflow.name and record.training.get("tokens_per_second")
    }
    return tuple(
        MethodEstimate(
            name,
            _memory(project, workflow, entry, file, rows),
            speeds.get(name),
            round(seen / speeds[name], 1) if name in speeds else None,
        )
        for name, entry in catalogue.methods().items()
    )


def _memory(
    project: Project, workflow: Workflow, entry: catalogue.MethodEntry, file: FileReport, rows: int
) -> int | None:
    model = next((m for m in catalogue.models().values() if m.repo == project.manifest.model.id), None)
    if model is None or file.lengths is None:
        return None
    settings: dict[str, Any] = next(iter(workflow.config.get("passes", {}).values()), {})
    arguments = _training_arguments(workflow.config)
    longest = min(file.lengths.longest, file.max_seq_len or file.lengths.longest)
    shape = memory.Shape(**model.shape.model_dump())
    targets = [name for name in settings.get("target_modules") or model.lora_targets if name in shape.features]
    estimate = memory.estimate_training_memory(
        shape,
        method=entry.memory,
        sequence_length=longest,
        batch=rows,
        rank=int(settings.get("r") or entry.rank),
        targets=tuple(targets),
        dtype_bytes=_BYTES.get(str(settings.get("torch_dtype")), 2),
        checkpointing=bool(arguments.get("gradient_checkpointing", False)),
        fused_kernels=bool(arguments.get("use_liger_kernel", False)),
        dropout=bool(settings.get("lora_dropout", 0)),
    )
    return estimate.total
