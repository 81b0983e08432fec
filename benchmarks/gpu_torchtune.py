"""torchtune's way to train the same adapter, for `benchmarks/gpu.py`: python gpu_torchtune.py MODEL ROWS STEPS.

Its own model, packing, compiled blocks and loss, as its recipe `lora_finetune_single_device` puts them together with
`packed` and `compile` on. Needs the packages torchtune and torchao beside the cuda stack; models of Phi-3's kind alone.
Prints one line of JSON: `steps` as [time, tokens so far], the peak of memory and the first and last loss.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from torchtune import training, utils
from torchtune.data import padded_collate_packed
from torchtune.datasets import PackedDataset
from torchtune.models.phi3 import lora_phi3
from torchtune.models.phi3._convert_weights import phi3_hf_to_tune
from torchtune.modules.loss import CEWithChunkedOutputLoss
from torchtune.modules.peft import get_adapter_params, set_trainable_params
from transformers import AutoTokenizer

BATCH, LENGTH, RANK = 8, 2048, 64
IGNORED = -100


def main() -> None:
    folder, rows, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, adapters = load(folder, device)
    loss = CEWithChunkedOutputLoss(ignore_index=IGNORED)
    model.set_num_output_chunks(loss.num_output_chunks)
    if device.type == "cuda":
        training.compile_model(model)
        loss = training.compile_loss(loss)
    optimizer = torch.optim.AdamW(adapters, lr=1e-4, fused=device.type == "cuda")
    clock: list[tuple[float, int]] = []
    losses, tokens = [], 0
    for repeated in itertools.islice(itertools.cycle(packed(folder, rows)), steps):
        batch = dict(repeated)
        utils.batch_to_device(batch, device)
        labels = batch.pop("labels")
        tokens += int((labels != IGNORED).sum())
        found = loss(model(**batch), torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED))
        found.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(round(found.item(), 3))  # waits for the card
        clock.append((time.time(), tokens))
    peak = round(torch.cuda.max_memory_allocated() / 1e9, 1) if device.type == "cuda" else 0
    print(json.dumps({"steps": clock, "peak_gb": peak, "losses": [losses[0], losses[-1]]}))


def load(folder: Path, device: torch.device) -> tuple[Any, list[torch.nn.Parameter]]:
    """Return the model in bfloat16 with adapters on attention, and the adapters' weights."""
    config = json.loads((folder / "config.json").read_text())
    heads, pairs, hidden = config["num_attention_heads"], config["num_key_value_heads"], config["hidden_size"]
    with training.set_default_dtype(torch.bfloat16), device:
        model = lora_phi3(
            lora_attn_modules=["q_proj", "k_proj", "v_proj", "output_proj"],
            vocab_size=config["vocab_size"],
            num_layers=config["num_hidden_layers"],
            num_heads=heads,
            num_kv_heads=pairs,
            embed_dim=hidden,
            intermediate_dim=config["intermediate_size"],
            max_seq_len=LENGTH,
            lora_rank=RANK,
            lora_alpha=RANK,
        )
    weights = {key: value for file in sorted(folder.glob("*.safetensors")) for key, value in load_file(file).items()}
    missing, unknown = model.load_state_dict(phi3_hf_to_tune(weights, heads, pairs, hidden), strict=False)
    assert not unknown, unknown
    adapters = get_adapter_params(model)
    assert set(missing) <= set(adapters), set(missing) - set(adapters)
    set_trainable_params(model, adapters)
    return model.train(), list(adapters.values())


def packed(folder: Path, rows: Path) -> DataLoader[Any]:
    """Return batches of packed rows, with masks that keep the rows of a sequence apart."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [json.loads(line) for line in rows.read_text().splitlines()]
    ids = [tokenizer(f"{row['prompt']}\n{row['response']}").input_ids for row in texts]
    packs = PackedDataset([{"tokens": row, "labels": row} for row in ids], max_seq_len=LENGTH)
    return DataLoader(packs, BATCH, shuffle=True, drop_last=True, collate_fn=padded_collate_packed)


if __name__ == "__main__":
    main()
