"""Packed training learns the same from the same examples, and counts its tokens truly."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.olive
MODEL = "model-cache/HuggingFaceTB/SmolLM2-135M-Instruct"


def trained(make, put_tiny, run_scaffolder, packing, max_seq_len):
    # Every example in each step, whether packed or alone.
    project = make(
        f"{packing}-{max_seq_len}",
        r=4,
        max_steps=2,
        epochs=0,
        batch_size=8,
        gradient_accumulation_steps=1,
        packing=packing,
        max_seq_len=max_seq_len,
    )
    put_tiny(project, "llama-chatml", MODEL)
    run_scaffolder(project, "run", "fine-tuning", "--json")
    (log,) = project.glob("fine-tuning/runs/*/events.jsonl")
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "metrics" and "loss" in event]
    tokens = [event["tokens"] for event in events if event["event"] == "step"]
    return losses, tokens


def test_packed_training_takes_the_same_steps(make, put_tiny, run_scaffolder):
    losses, tokens = trained(make, put_tiny, run_scaffolder, "none", 100)
    packed_losses, packed_tokens = trained(make, put_tiny, run_scaffolder, "pack", 100)
    assert len(losses) == 2
    assert packed_losses == pytest.approx(losses, rel=1e-4)
    assert packed_tokens == tokens
