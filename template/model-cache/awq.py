"""Rescale a model's layers by what flows through them, as AWQ does, so that four bits cost less of its quality.

    .venv-awq/bin/python model-cache/awq.py [--grid N] [CONFIG]

CONFIG (else fine-tuning/quantise-then-lora.json) names the model to write, `model-cache/NAME-awq`, the examples to
calibrate on and the size of groups. What is written computes the same as `model-cache/NAME`, in the same format and
size: rounding is left to the configuration's pass. A card is used where there is one.

llm-compressor asks for other versions than the project's, so it has an environment of its own:

    python -m venv .venv-awq
    .venv-awq/bin/python -m pip install -r setup/awq.txt

The method is that of Lin et al., "AWQ: Activation-aware Weight Quantization" (https://arxiv.org/abs/2306.00978).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

try:
    import torch
    from compressed_tensors.offload import remove_dispatch
    from datasets import Dataset, load_dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.pipelines.cache import IntermediatesCache
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as error:
    sys.exit(f"error: {error}\n\n{__doc__}")

ROOT = Path(__file__).parent.parent
SUFFIX = "-awq"
# In nats a token; rescaling rounds in the model's own format, which changes less than this.
ALLOWED = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path, default=ROOT / "fine-tuning" / "quantise-then-lora.json")
    parser.add_argument("--grid", type=int, default=20, help="how many scales are tried for each layer (%(default)s)")
    arguments = parser.parse_args()
    if arguments.grid < 1:
        parser.error("--grid has to be 1 or more")
    config = arguments.config.resolve()
    # What a configuration names, it names from here.
    os.chdir(ROOT)
    try:
        source, target, calibration, group = read(config)
        before, after = rescale(source, target, calibration, group, arguments.grid)
    except KeyError as error:
        sys.exit(f"error: {config}: it has no {error}, or its data have no such column")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"{target}: loss on the calibration text {after:.4f}, before {before:.4f}")


def read(config: Path) -> tuple[Path, Path, dict[str, Any], int]:
    """Return a configuration's model as it is, where to write it, its calibration data, and the weights of a group.

    Raises:
        KeyError: The configuration lacks a part.
        ValueError: The configuration is not one that rounds a rescaled model.
        OSError: The configuration or the model is missing.
    """
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{config}: no JSON: {error}") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{config}: an object is needed, with input_model, data_configs and passes")  # noqa: TRY004
    target = Path(settings["input_model"]["model_path"])
    if not target.name.endswith(SUFFIX):
        raise ValueError(f"{config}: input_model.model_path has to end with {SUFFIX}; answer base_quantiser with awq")
    source = target.with_name(target.name.removesuffix(SUFFIX))
    if not (source / "config.json").is_file():
        raise FileNotFoundError(f"no model in {source}; `scaffolder download` brings it")
    rounding = next((one for one in settings["passes"].values() if "group_size" in one), None)
    calibration = next((one for one in settings["data_configs"] if one["name"] == "calibration"), None)
    if rounding is None or calibration is None:
        raise ValueError(f"{config}: a pass with group_size and data named calibration are needed")
    return source, target, calibration, rounding["group_size"]


def rescale(source: Path, target: Path, calibration: dict[str, Any], group: int, grid: int) -> tuple[float, float]:
    """Write the rescaled model and return the loss on the calibration text before and after, in nats a token.

    Raises:
        KeyError: The calibration data have no such column.
        OSError: The calibration data are missing.
        ValueError: The rescaled model computes something else; nothing is written.
    """
    tokenizer = AutoTokenizer.from_pretrained(source)
    template = Path("fine-tuning/chat_template.jinja")
    if template.is_file():
        tokenizer.chat_template = template.read_text(encoding="utf-8")
    blocks = joined(tokenizer, calibration)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plain = AutoModelForCausalLM.from_pretrained(source, dtype="auto").eval()
    before = loss(plain.to(device), blocks)
    plain.to("cpu")
    weights = rescaled(source, blocks, group, grid)
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    after = loss(plain.to(device), blocks)
    if not abs(after - before) < ALLOWED:
        raise ValueError(f"{source} can't be rescaled: its loss would go from {before:.4f} to {after:.4f}")
    aside = target.with_name(f".{target.name}")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(source, aside, ignore=shutil.ignore_patterns("*.safetensors*", "*.bin*", ".cache"))
    plain.save_pretrained(aside)
    # `scaffolder run` asks for a new one where these files have changed since.
    digests = {}
    for file in sorted(source.iterdir()):
        if file.suffix in {".safetensors", ".bin", ".json"}:
            with file.open("rb") as content:
                digests[file.name] = hashlib.file_digest(content, "sha256").hexdigest()
    (aside / "made-from.json").write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    return before, after


def rescaled(source: Path, blocks: list[list[int]], group: int, grid: int) -> dict[str, torch.Tensor]:
    """Return the weights, by name, that lose least when groups of `group` are rounded to four bits, before they are."""
    dtype = "auto"
    if not torch.cuda.is_available():
        # llm-compressor 0.14 pins memory for a card that is not there.
        IntermediatesCache.pin_memory = lambda *_: None
        dtype = "float32"  # several times as fast on processors
    weights = {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group", "group_size": group}
    # Only tells AWQ how rounding will go; nothing is rounded.
    rounding = QuantizationModifier(
        config_groups={"all": {"targets": ["Linear"], "weights": weights}}, ignore=["lm_head"]
    )
    model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
    oneshot(
        model=model,
        dataset=Dataset.from_dict({"input_ids": blocks, "attention_mask": [[1] * len(block) for block in blocks]}),
        recipe=[AWQModifier(n_grid=grid), rounding],
        max_seq_length=max(map(len, blocks)),
        num_calibration_samples=len(blocks),
    )
    # Else every weight read would be a copy on the card.
    remove_dispatch(model)
    return dict(model.state_dict())


def joined(tokenizer: Any, calibration: dict[str, Any]) -> list[list[int]]:
    """Return the calibration examples as token ids, one after the other, cut into sequences."""
    settings = dict(calibration["load_dataset_config"])
    how = calibration["pre_process_data_config"]
    rows = load_dataset(settings.pop("data_name"), **settings)
    rows = rows.select(range(min(how["max_samples"], len(rows))))
    text = "".join(tokenizer.apply_chat_template(conversation(row, how), tokenize=False) for row in rows)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    length = how["max_seq_len"]
    return [ids[start : start + length] for start in range(0, len(ids), length)]


def conversation(row: dict[str, Any], how: dict[str, Any]) -> list[dict[str, str]]:
    """Return a row's messages, as `fine-tuning/chat_data.py` reads it."""
    if how.get("messages_column"):
        messages = row[how["messages_column"]]
    else:
        prompt = row.get(how.get("prompt_column", "prompt"), "")
        if how.get("text_template"):
            prompt = re.sub(r"\{(\w+)\}", lambda found: str(row[found[1]]), how["text_template"])
        answer = row[how.get("response_column", "response")]
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    system = how.get("system_prompt")
    if system and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    return messages


@torch.inference_mode()
def loss(model: Any, blocks: list[list[int]]) -> float:
    """Return the mean loss of the sequences, in nats a token."""
    ids = [torch.tensor([block], device=model.device) for block in blocks if len(block) > 1]
    losses = [model(block, labels=block).loss.item() * (block.shape[1] - 1) for block in ids]
    return sum(losses) / sum(block.shape[1] - 1 for block in ids)


if __name__ == "__main__":
    main()
