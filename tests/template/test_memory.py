"""The memory estimate against peaks measured on one H200 (a random model of Phi-3.5-mini's shape)."""

from __future__ import annotations

import pytest

from scaffolder.memory import Shape, estimate_training_memory

PHI = Shape(
    layers=32, hidden=3072, intermediate=8192, heads=32, kv_heads=32, head_dim=96, vocab=32064, tied=False
)
ATTENTION = ("qkv_proj", "o_proj")
EVERY = (*ATTENTION, "gate_up_proj", "down_proj")
GB = 1e9

MEASURED = {
    "olive finetune, 1 x 1024": (13, {"batch": 1, "sequence_length": 1024}),
    "1 x 2048": (18, {"batch": 1}),
    "4 x 2048": (49, {"batch": 4}),
    "4 x 2048 fused": (38, {"batch": 4, "fused_kernels": True}),
    "8 x 2048 fused": (65, {"batch": 8, "fused_kernels": True, "dropout": False}),
    "16 x 1024 fused": (65, {"batch": 16, "sequence_length": 1024, "fused_kernels": True, "dropout": False}),
    "8 x 2048 fused, every layer": (
        91,
        {"batch": 8, "fused_kernels": True, "dropout": False, "targets": EVERY},
    ),
    "qlora 1 x 2048": (15, {"batch": 1, "method": "qlora", "targets": EVERY}),
    "qlora 8 x 2048 fused": (
        85,
        {"batch": 8, "method": "qlora", "targets": EVERY, "fused_kernels": True, "dropout": False},
    ),
}


def estimate(**changes):
    settings = {"method": "lora", "rank": 64, "targets": ATTENTION, "sequence_length": 2048} | changes
    return estimate_training_memory(PHI, **settings)


@pytest.mark.parametrize("name", MEASURED)
def test_estimate_is_near_the_measured_peak(name):
    measured, settings = MEASURED[name]
    assert estimate(**settings).total / GB == pytest.approx(measured, rel=0.20)


def test_estimates_are_near_on_average():
    errors = [abs(estimate(**settings).total / GB / peak - 1) for peak, settings in MEASURED.values()]
    assert sum(errors) / len(errors) < 0.05


# With adapters in the model's own format, 2048 tokens a row.
@pytest.mark.parametrize(
    ("batch", "targets", "peak"), [(2, ATTENTION, 20.1), (4, ATTENTION, 31.9), (8, ATTENTION, 55.6), (8, EVERY, 68.3)]
)
def test_fast_adapters_keep_less(batch, targets, peak):
    found = estimate(batch=batch, targets=targets, fused_kernels=True, dropout=False, fast_adapters=True)
    assert found.total / GB == pytest.approx(peak, rel=0.06)


def test_checkpointing_keeps_less():
    assert estimate(batch=4, checkpointing=True).activations < estimate(batch=4).activations / 5


def test_block_and_vocabulary_weights_are_the_model():
    assert PHI.block_weights + PHI.vocabulary_weights == pytest.approx(3_821_079_552, rel=1e-3)


@pytest.mark.parametrize(("rank", "targets"), [(0, ATTENTION), (8, ()), (8, ("query",))])
def test_impossible_adapters_are_refused(rank, targets):
    with pytest.raises(ValueError, match=r"needs a rank|unknown target"):
        estimate(rank=rank, targets=targets, batch=1)
