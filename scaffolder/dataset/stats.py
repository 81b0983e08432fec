"""What training on the examples will take: tokens, steps, memory and time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder import catalogue, plan
from scaffolder.dataset.sources import data_configs, files, training_data
from scaffolder.errors import ConfigError, ScaffolderError
from scaffolder.estimate import estimate_training
from scaffolder.pace import training_rate
from scaffolder.records import find_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scaffolder.dataset.report import FileReport, Report
    from scaffolder.plan import Workflow
    from scaffolder.project import Project

# Of transformers.TrainingArguments.
_DEFAULT_BATCH = 8
_DEFAULT_EPOCHS = 3.0


@dataclass(frozen=True, slots=True)
class MethodEstimate:
    """One way to fine-tune, by its preset in the workflow's folder.

    Attributes:
        method: Its name in the catalogue.
        memory: Bytes at the peak, of the process or of the card; None where the model's shape is not known.
        tokens_per_second: Of this project's last run of it, else expected; None where nothing tells.
        measured: Whether it was a run that told.
        seconds: Of the training alone, at that speed.
    """

    method: str
    memory: int | None
    tokens_per_second: float | None
    measured: bool
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
    tokens = round(lengths.kept * scale)
    course = _course(workflow.config, data, file)
    return Stats(
        path=file.path,
        rows=file.good,
        estimated=file.every > 1,
        tokens=tokens,
        learnt=round(lengths.learnt * scale),
        cut=round(lengths.cut_tokens * scale),
        max_seq_len=course.limit,
        packed_blocks=math.ceil(tokens / course.limit),
        batch=course.batch,
        steps_per_epoch=course.steps_per_epoch,
        steps=course.steps,
        epochs=round(course.steps / course.steps_per_epoch, 2),
        seen_tokens=course.seen,
        preset=workflow.preset,
        methods=tuple(_methods(project, workflow, file)),
    )


@dataclass(frozen=True, slots=True)
class _Course:
    """A training over the file: tokens of a sequence, rows of a step, steps, and tokens seen."""

    limit: int
    longest: int
    batch: int
    steps_per_epoch: int
    steps: int
    seen: int


def _course(config: dict[str, Any], data: dict[str, Any], file: FileReport) -> _Course:
    assert file.lengths is not None
    lengths, scale = file.lengths, file.good / file.lengths.counted_rows
    arguments = _training_arguments(config)
    batch = int(arguments.get("per_device_train_batch_size", _DEFAULT_BATCH))
    batch *= int(arguments.get("gradient_accumulation_steps", 1))
    tokens = round(lengths.kept * scale)
    limit = file.max_seq_len or lengths.longest
    packed = (data.get("pre_process_data_config") or {}).get("packing") == "pack"
    used = math.ceil(tokens / limit) if packed else round((lengths.counted_rows - lengths.untrained) * scale)
    per_epoch = max(1, math.ceil(used / batch))
    steps = _steps(arguments, per_epoch)
    longest = limit if packed else min(lengths.longest, limit)
    return _Course(limit, longest, batch, per_epoch, steps, round(tokens * steps / per_epoch))


def _training_arguments(config: dict[str, Any]) -> dict[str, Any]:
    for settings in config.get("passes", {}).values():
        if isinstance(settings, dict) and isinstance(settings.get("training_args"), dict):
            return dict(settings["training_args"])
    return {}


def _steps(arguments: dict[str, Any], per_epoch: int) -> int:
    if int(arguments.get("max_steps", -1)) > 0:
        return int(arguments["max_steps"])
    return math.ceil(per_epoch * float(arguments.get("num_train_epochs", _DEFAULT_EPOCHS)))


def _methods(project: Project, workflow: Workflow, file: FileReport) -> Iterator[MethodEstimate]:
    speeds = {
        record.preset: record.training["tokens_per_second"]
        for record in find_runs(project)
        if record.workflow == workflow.name and record.training.get("tokens_per_second")
    }
    for name in catalogue.methods():
        config = _config_of(project, workflow, name)
        data = next(
            (data for data in data_configs(config or {}) if project.manifest.dataset.train in files(data)), None
        )
        if config is None or data is None:
            continue
        course = _course(config, data, file)
        counted = {"sequence": course.longest, "steps": course.steps, "tokens": course.seen}
        estimate = estimate_training(config, project.root, project.manifest.model.id, counted=counted)
        rate = training_rate(project, estimate.training.device) if estimate else None
        seconds = estimate.seconds(rate) if estimate and rate else None
        if name in speeds:
            seconds = course.seen / speeds[name]
        yield MethodEstimate(
            method=name,
            memory=estimate.memory if estimate else None,
            tokens_per_second=round(course.seen / seconds, 1) if seconds else None,
            measured=name in speeds,
            seconds=round(seconds, 1) if seconds else None,
        )


def _config_of(project: Project, workflow: Workflow, method: str) -> dict[str, Any] | None:
    """Return the configuration of a method: the workflow's own, or the preset beside it; None without one."""
    if workflow.preset == method:
        return workflow.config
    try:
        return plan.resolve(project, workflow.name, preset=method).config
    except ScaffolderError:
        return None
