"""Estimates the memory that training takes on a GPU, from a model's shape alone.

Weights, gradients and optimiser are counted; activations follow which tensors a block keeps for its backward
pass (the method of Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models",
section 4.1, redone for rotary, gated and grouped-query blocks with attention that keeps no scores).
`_PEAK` and the adapters' terms are fitted to runs of a Phi-3.5-mini shape on one H200: of nine measured peaks
eight are met within 2 %, QLoRA at batch 1 is estimated 18 % too high (`tests/template/test_memory.py`). Not measured:
checkpointing, full fine-tuning, other shapes, and attention that does keep scores (`eager`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal["full", "lora", "qlora"]

# Working buffers and fragmentation above what is kept, as a share of the kept tensors. Fitted.
_PEAK = 1.17
# Bytes kept for each input feature of an adapted layer: a cast copy for lora_A, and casts back. Fitted.
_ADAPTER_INPUT = 4.4
# The same where adapters multiply in the model's own format (the template's `fast_training.py`). Fitted to peaks of
# adapters on attention and on every layer at 16 thousand tokens on one H200 (`benchmarks/gpu.py`'s model).
_ADAPTER_INPUT_FAST = 1.8
# Bytes more with dropout: the mask and the scaled copy. Fitted.
_ADAPTER_DROPOUT = 0.8
# NF4, double quantisation: 4 bits and 0.127 of constants a weight (Dettmers et al. 2023, QLoRA, section 3).
_NF4_BYTES = (4 + 0.127) / 8
# Adapters train in 32 bits (PEFT's `autocast_adapter_dtype`).
_ADAPTER_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What of an architecture decides its memory; the catalogue's `shape`."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool

    @property
    def features(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of each linear layer of a block, fused ones of Phi included."""
        query, pair = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, query),
            "k_proj": (self.hidden, pair),
            "v_proj": (self.hidden, pair),
            "qkv_proj": (self.hidden, query + 2 * pair),
            "o_proj": (query, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "gate_up_proj": (self.hidden, 2 * self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def block_weights(self) -> int:
        """Weights of all blocks' linear layers (norms and biases are under 0.1 %)."""
        names = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
        return self.layers * sum(rows * columns for rows, columns in (self.features[name] for name in names))

    @property
    def vocabulary_weights(self) -> int:
        """Weights of embeddings and head."""
        return self.vocab * self.hidden * (1 if self.tied else 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes at the peak of a training step."""

    weights: int
    adapters: int
    gradients: int
    optimizer: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """Everything together."""
        return sum((self.weights, self.adapters, self.gradients, self.optimizer, self.activations, self.logits))


def estimate_training_memory(
    shape: Shape,
    *,
    method: Method,
    sequence_length: int,
    batch: int,
    rank: int = 0,
    targets: tuple[str, ...] = (),
    dtype_bytes: int = 2,
    checkpointing: bool = False,
    fused_kernels: bool = False,
    dropout: bool = True,
    optimizer_bytes: int = 8,
    fast_adapters: bool = False,
) -> MemoryEstimate:
    """Estimate the peak memory of one training step on one device.

    Args:
        shape: of the model.
        method: `full` trains every weight, `lora` adapters, `qlora` adapters over 4-bit blocks.
        sequence_length: tokens of a row, padding included.
        batch: rows of one forward pass on this device (accumulation does not count).
        rank: of the adapters.
        targets: layers with adapters, as in the catalogue's `lora_targets`.
        dtype_bytes: of weights and activations: 2 for bfloat16, 4 for float32.
        checkpointing: keep only each block's input and compute the rest again.
        fused_kernels: Liger's norms, gate and loss (`use_liger_kernel`).
        dropout: whether adapters drop inputs.
        optimizer_bytes: of state for each trained number: 8 for AdamW, 2 for its 8-bit kind.
        fast_adapters: adapters multiply in the model's own format.

    Returns:
        Bytes by purpose. The device needs about 0.5 GB more for its context.

    Raises:
        ValueError: adapters without rank or targets, or an unknown target.
    """
    trained = _adapter_weights(shape, method, rank, targets)
    vocabulary = shape.vocabulary_weights * dtype_bytes
    blocks = shape.block_weights * (_NF4_BYTES if method == "qlora" else dtype_bytes)
    tokens = sequence_length * batch
    adapter_input = _ADAPTER_INPUT_FAST if fast_adapters else _ADAPTER_INPUT
    adapter_input += _ADAPTER_DROPOUT if dropout else 0
    block = _kept_by_block(
        shape, targets, dtype_bytes, adapter_input, fused=fused_kernels, cast=not fast_adapters, method=method
    )
    kept = shape.hidden * dtype_bytes * shape.layers + block if checkpointing else block * shape.layers
    trained_bytes = dtype_bytes if method == "full" else _ADAPTER_BYTES
    return MemoryEstimate(
        weights=int(blocks + vocabulary),
        adapters=0 if method == "full" else trained * _ADAPTER_BYTES,
        gradients=trained * trained_bytes,
        optimizer=trained * optimizer_bytes,
        activations=int(tokens * kept),
        logits=0 if fused_kernels else tokens * shape.vocab * (4 + 4 + dtype_bytes),
    )


def _adapter_weights(shape: Shape, method: Method, rank: int, targets: tuple[str, ...]) -> int:
    if method == "full":
        return shape.block_weights + shape.vocabulary_weights
    if rank < 1 or not targets:
        raise ValueError(f"`{method}` needs a rank and target layers")
    unknown = sorted(set(targets) - set(shape.features))
    if unknown:
        raise ValueError(f"unknown target layers: {', '.join(unknown)}")
    return shape.layers * sum(rank * sum(shape.features[name]) for name in targets)


def _kept_by_block(
    shape: Shape,
    targets: tuple[str, ...],
    dtype_bytes: int,
    adapter_input: float,
    *,
    fused: bool,
    cast: bool,
    method: Method,
) -> float:
    """Bytes one block keeps for each token until its backward pass."""
    query, pair = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    # Two norms' inputs; query, key, value and attention's result; gate and up.
    kept = dtype_bytes * (2 * shape.hidden + 2 * query + 2 * pair + 2 * shape.intermediate)
    if not fused:
        kept += 2 * 4 * shape.hidden  # norms work on a 32-bit copy of their input
    inputs = sum(shape.features[name][0] for name in (targets if cast else _distinct(targets)))
    if method == "full":
        # Weights that train keep their inputs: two norms' results, attention's (counted) and the gate's.
        return _PEAK * (kept + dtype_bytes * (2 * shape.hidden + shape.intermediate))
    return _PEAK * kept + inputs * adapter_input


def _distinct(targets: tuple[str, ...]) -> list[str]:
    """Return one layer for each input: what several of them read is kept once, unless each casts its own copy."""
    shared = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}
    return list(dict.fromkeys(shared.get(name, name) for name in targets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Settings of training that a device holds.

    Attributes:
        batch: Rows of one forward pass.
        sequence: Tokens of a row at most.
        checkpointing: Keep only each block's input and compute the rest again.
        targets: "all" linear layers, or those of "attention".
    """

    batch: int
    sequence: int
    checkpointing: bool
    targets: Literal["all", "attention"]


_SHORTEST_SEQUENCE = 512
# Tokens of a forward pass that keep a large card busy. On one H200 with 3.8 B weights and eight rows a step: 31
# thousand tokens/s at 8, 4 and 2 rows a pass and 21 at 1 (2048 tokens each); computing activations again for 8
# rows at once 24 to 28, by what had room to stay (`benchmarks/gpu_presets.py`). Smaller cards are busy with less.
_TOKENS_THAT_FILL = 4096
# Adapters of this rank; their share of the memory is small.
_FIT_RANK = 16


def fit(
    shape: Shape,
    layers: dict[Literal["all", "attention"], tuple[str, ...]],
    *,
    method: Method,
    usable_bytes: float,
    batch: int,
    sequence: int,
    fused_kernels: bool,
) -> Fit | None:
    """Return the fastest settings that fit a device.

    What is given up, in this order: rows of a pass down to the tokens that fill a card (accumulated, they make the same
    step), speed (checkpointing: in so small a pass most blocks still have room for their activations, which the
    template's `fast_training.py` then keeps), rows again, tokens of a row down to 512, adapters outside attention.
    Adapters multiply in the model's own format, as the template's do on cards.

    Args:
        shape: Of the model.
        layers: The adapted layers of each choice of targets.
        method: "lora" or "qlora".
        usable_bytes: What the device has for training.
        batch: Rows wanted.
        sequence: Tokens a row wanted.
        fused_kernels: Liger's norms, gate and loss.
    """
    wanted = [
        Fit(batch=rows, sequence=tokens, checkpointing=saving, targets=targets)
        for targets in layers
        for tokens in _halves(sequence, _SHORTEST_SEQUENCE)
        for filling in [min(batch, max(1, _TOKENS_THAT_FILL // tokens))]
        for saving, most, least in ((False, batch, filling), (True, filling, 1))
        for rows in _halves(most, least)
    ]
    for candidate in wanted:
        estimate = estimate_training_memory(
            shape,
            method=method,
            sequence_length=candidate.sequence,
            batch=candidate.batch,
            rank=_FIT_RANK,
            targets=layers[candidate.targets],
            checkpointing=candidate.checkpointing,
            fused_kernels=fused_kernels,
            dropout=False,
            fast_adapters=True,
        )
        if estimate.total <= usable_bytes:
            return candidate
    return None


def _halves(start: int, least: int) -> list[int]:
    found = [start]
    while found[-1] // 2 >= least:
        found.append(found[-1] // 2)
    return found
