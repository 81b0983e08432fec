"""What a training pass will take, told before it starts: memory and time from shape, rows and settings."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from scaffolder import catalogue
from scaffolder.memory import Method, Shape, estimate_training_memory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_METHODS: dict[str, Method] = {
    "lora": "lora", "dora": "lora", "loha": "lora", "lokr": "lora", "qlora": "qlora", "loftq": "qlora",
}  # fmt: skip
_ATTENTION_AND_GATES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

# Interpreter with torch, transformers and Olive; a CUDA context. Measured.
_RUNTIME_BYTES = {"cpu": 650_000_000, "gpu": 500_000_000}
# Times as much for logits as on a card: their copy, softmax and gradients all live at once. Fitted to peaks of
# SmolLM2-135M in float32 from 1 x 128 to 8 x 256 tokens, with and without checkpointing (`tests/test_estimate.py`).
_CPU_LOGITS = 2.35
# Forward and backward pass through frozen weights, and the forward pass again where blocks are recomputed: FLOP for
# each weight and token (Kaplan et al. 2020, section 2.1, less the frozen weights' own gradients).
_FLOP, _FLOP_CHECKPOINTING = 4.0, 6.0
# What training gets out of a processor (35 to 70 GFLOP/s were seen), and of a card's data sheet: on one H200 a plain
# configuration 20 %, the template's own 35 to 49 % (`benchmarks/gpu.py`).
_CPU_FLOPS = 35e9
_CARD_SHARE = 0.35
# With fewer steps, warm-up and decay of the learning rate leave hardly any at full rate; a choice of ours.
_FEW_STEPS = 20
# What a step costs beside its arithmetic: the loader, Python, the optimiser's own loop. Measured on a tiny model.
_STEP_SECONDS = 0.1
# Bytes of a row of JSON, keys and all, for each token of its text: of the template's own travel questions with
# SmolLM2's tokenizer. The longest row is taken to be as dense as code.
_BYTES_A_TOKEN, _FEWEST_BYTES_A_TOKEN = 5.0, 3.0
# Of the chat template's own marks, in tokens a row.
_TEMPLATE_TOKENS = 20
_MOST_ROWS_READ = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The settings of a training pass that decide what it takes.

    Attributes:
        name: Of the pass.
        method: How the memory is counted.
        device: "cpu" or "gpu".
        batch: Rows of one forward pass.
        accumulation: Forward passes of one step.
        sequence: Tokens of the longest row, after cutting.
        checkpointing: Blocks are computed again in the backward pass.
        steps: Optimiser steps.
        by_epochs: The steps follow from the data, not from `max_steps`.
        tokens: Trained on, padding left out.
    """

    name: str
    method: Method
    device: Literal["cpu", "gpu"]
    batch: int
    accumulation: int
    sequence: int
    checkpointing: bool
    steps: int
    by_epochs: bool
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run's training takes.

    Attributes:
        training: The settings counted with.
        memory: Bytes at the peak, of the process or of the card.
        flop: Floating-point operations of all steps.
    """

    training: Training
    memory: int
    flop: float

    def seconds(self, flops: float) -> float:
        """Return the time that the steps take at a rate in floating-point operations a second."""
        return self.flop / flops + self.training.steps * _STEP_SECONDS


def estimate_training(
    config: dict[str, Any], root: Path, hub_id: str, *, counted: Mapping[str, Any] | None = None
) -> Estimate | None:
    """Estimate the first training pass of a configuration, from texts alone; nothing heavy is loaded.

    Args:
        config: The Olive configuration, resolved.
        root: The project's folder, which its paths are relative to.
        hub_id: Of the base model, for one that is not downloaded yet.
        counted: `sequence`, `steps` and `tokens` of `Training` where they are known better than from bytes.

    Returns:
        The estimate, or None where nothing is trained, or the model's shape is not known.
    """
    found = _training_pass(config)
    shape = _shape(config, root, hub_id)
    if found is None or shape is None:
        return None
    name, settings = found
    training = replace(_training(name, settings, config, root), **(counted or {}))
    return Estimate(
        training=training, memory=_memory(shape, settings, training, fast=_fast(config)), flop=_flop(shape, training)
    )


def expected_rate(device: str, *, processors: int, card: str | None) -> float | None:
    """Return what training reaches in floating-point operations a second, before anything was measured.

    Args:
        device: "cpu" or "gpu".
        processors: That this process may use.
        card: Name of the GPU, as its driver says it.

    Returns:
        The rate, within a factor of two; None for a card that the catalogue does not know.
    """
    if device == "cpu":
        return processors * _CPU_FLOPS
    known = {name: tera for name, tera in catalogue.cards().items() if card and name.lower() in card.lower()}
    return known[max(known, key=len)] * 1e12 * _CARD_SHARE if known else None


def smaller(config: dict[str, Any], root: Path, hub_id: str, *, available: int) -> tuple[str, int] | None:
    """Return settings under which training fits, as `--set` takes them, and the memory it then needs.

    What is given up, in this order: rows of a forward pass (accumulation makes up for them, the result stays the
    same), speed (checkpointing), tokens of a row.

    Args:
        config: The configuration that does not fit.
        root: The project's folder.
        hub_id: Of the base model.
        available: Bytes there are.
    """
    found, shape = _training_pass(config), _shape(config, root, hub_id)
    if found is None or shape is None:
        return None
    name, settings = found
    training = _training(name, settings, config, root)
    for sequence, checkpointing, batch in itertools.product(
        _halves(training.sequence, 128), sorted({training.checkpointing, True}), _halves(training.batch, 1)
    ):
        candidate = replace(training, batch=batch, checkpointing=checkpointing, sequence=sequence)
        memory = _memory(shape, settings, candidate, fast=_fast(config))
        if memory <= available:
            return _changes(config, settings, training, candidate), memory
    return None


def too_few_steps(training: Training) -> str:
    """Say what to set where so little data fills a few large steps that next to nothing is learnt; else nothing."""
    if not training.by_epochs or training.steps >= _FEW_STEPS or training.batch * training.accumulation == 1:
        return ""
    rows = training.batch * training.accumulation
    batch = max(1, rows * training.steps // _FEW_STEPS)
    arguments = f"passes.{training.name}.training_args"
    change = f"--set {arguments}.per_device_train_batch_size={batch}"
    change += f" --set {arguments}.gradient_accumulation_steps=1" if training.accumulation > 1 else ""
    return f"the data makes {training.steps} steps, which teach little; {training.steps * rows // batch} with {change}"


def _changes(config: dict[str, Any], settings: dict[str, Any], before: Training, after: Training) -> str:
    arguments = f"passes.{before.name}.training_args"
    changed = []
    if after.batch != before.batch:
        rows = before.batch * before.accumulation
        changed += [
            f"{arguments}.per_device_train_batch_size={after.batch}",
            f"{arguments}.gradient_accumulation_steps={max(1, rows // after.batch)}",
        ]
    if after.checkpointing != before.checkpointing:
        changed.append(f"{arguments}.gradient_checkpointing=true")
    if after.sequence != before.sequence:
        data = settings.get("train_data_config")
        place = (
            data if isinstance(data, str) else next((d.get("name") for d in config.get("data_configs", [])), "train")
        )
        changed.append(f"data_configs.{place}.pre_process_data_config.max_seq_len={after.sequence}")
    return " ".join(f"--set {change}" for change in changed)


def _halves(start: int, least: int) -> list[int]:
    found = [start]
    while found[-1] // 2 >= least:
        found.append(found[-1] // 2)
    return found


def _training_pass(config: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    for name, settings in config.get("passes", {}).items():
        if isinstance(settings, dict) and str(settings.get("type", "")).lower() in _METHODS:
            return name, settings
    return None


def _shape(config: dict[str, Any], root: Path, hub_id: str) -> Shape | None:
    """Return the shape of the model that is there, else the catalogue's for its id."""
    folder = root / str(config.get("input_model", {}).get("model_path"))
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        found = found.get("text_config", found)
        heads = found["num_attention_heads"]
        return Shape(
            layers=found["num_hidden_layers"],
            hidden=found["hidden_size"],
            intermediate=found["intermediate_size"],
            heads=heads,
            kv_heads=found.get("num_key_value_heads") or heads,
            head_dim=found.get("head_dim") or found["hidden_size"] // heads,
            vocab=found["vocab_size"],
            tied=bool(found.get("tie_word_embeddings", False)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        entry = catalogue.models().get(hub_id.rpartition("/")[2])
        return Shape(**entry.shape.model_dump()) if entry and entry.repo == hub_id else None


def _training(name: str, settings: dict[str, Any], config: dict[str, Any], root: Path) -> Training:
    """Read the settings, with the defaults of Olive 0.13 and transformers where nothing is said."""
    arguments = settings.get("training_args") or {}
    batch = int(arguments.get("per_device_train_batch_size", 8))
    accumulation = int(arguments.get("gradient_accumulation_steps", 1))
    process = _data(settings, config).get("pre_process_data_config", {})
    limit = int(process.get("max_seq_len", 1024))
    rows, mean, longest = _rows(_data(settings, config), root, limit)
    if process.get("packing", "none") != "none" or process.get("strategy") == "join":
        rows, mean, longest = max(1, int(rows * mean / limit)), float(limit), limit
    if process.get("padding") == "max_length" or process.get("pad_to_max_len"):
        longest = limit
    steps = int(arguments.get("max_steps", -1))
    by_epochs = steps <= 0
    if by_epochs:
        steps = max(1, round(float(arguments.get("num_train_epochs", 3)) * rows / (batch * accumulation)))
    return Training(
        name=name,
        method=_METHODS[str(settings["type"]).lower()],
        device="gpu" if '"gpu"' in json.dumps(config.get("systems", {})).lower() else "cpu",
        batch=batch,
        accumulation=accumulation,
        sequence=longest,
        checkpointing=bool(arguments.get("gradient_checkpointing", True)),
        steps=steps,
        by_epochs=by_epochs,
        tokens=int(steps * batch * accumulation * mean),
    )


def _data(settings: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    wanted = settings.get("train_data_config")
    if isinstance(wanted, dict):
        return wanted
    named = (entry for entry in config.get("data_configs", []) if entry.get("name") == wanted)
    return cast("dict[str, Any]", next(named, {}))


def _rows(data: dict[str, Any], root: Path, limit: int) -> tuple[int, float, int]:
    """Return rows, mean and longest length in tokens, cut at `limit`, as the bytes of the files let expect."""
    files = data.get("load_dataset_config", {}).get("data_files")
    sizes: list[int] = []
    total = 0
    for name in [files] if isinstance(files, str) else files if isinstance(files, list) else []:
        try:
            with (root / name).open("rb") as lines:
                read = [len(line) for line in itertools.islice(lines, _MOST_ROWS_READ) if not line.isspace()]
            total += int((root / name).stat().st_size / (sum(read) / len(read))) if read else 0
            sizes += read
        except OSError:
            continue
    if not sizes:
        return 0, float(limit), limit
    tokens = [min(limit, _TEMPLATE_TOKENS + size / _BYTES_A_TOKEN) for size in sizes]
    # Rows that were not read may be longer.
    partial = total > len(sizes)
    longest = limit if partial else min(limit, _TEMPLATE_TOKENS + int(max(sizes) / _FEWEST_BYTES_A_TOKEN))
    return total, sum(tokens) / len(tokens), longest


def _memory(shape: Shape, settings: dict[str, Any], training: Training, *, fast: bool) -> int:
    arguments = settings.get("training_args") or {}
    targets = settings.get("target_modules")
    known = tuple(name for name in targets if name in shape.features) if isinstance(targets, list) else ()
    estimate = estimate_training_memory(
        shape,
        method=training.method,
        sequence_length=training.sequence,
        batch=training.batch,
        rank=int(settings.get("r", 64)),
        targets=known or _ATTENTION_AND_GATES,
        dtype_bytes=_BYTES.get(str(settings.get("torch_dtype", "bfloat16")), 2),
        checkpointing=training.checkpointing,
        fused_kernels=bool(arguments.get("use_liger_kernel", False)),
        dropout=float(settings.get("lora_dropout", 0.05)) > 0,
        optimizer_bytes=2 if "8bit" in str(arguments.get("optim", "")) else 8,
        fast_adapters=fast,
    )
    more = estimate.logits * (_CPU_LOGITS - 1) if training.device == "cpu" else 0
    return int(estimate.total + more + _RUNTIME_BYTES[training.device])


def _fast(config: dict[str, Any]) -> bool:
    scripts = [str(entry.get("user_script", "")) for entry in config.get("data_configs", []) if isinstance(entry, dict)]
    return any(script.endswith("fast_training.py") for script in scripts)


def _flop(shape: Shape, training: Training) -> float:
    # The embedding's table is looked up; the head multiplies.
    weights = shape.block_weights + shape.vocab * shape.hidden
    return (_FLOP_CHECKPOINTING if training.checkpointing else _FLOP) * weights * training.tokens
