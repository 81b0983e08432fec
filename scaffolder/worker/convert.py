"""A GGUF file as a transformers folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .channel import Channel


def convert_gguf(job: dict[str, Any], channel: Channel) -> None:
    """Read `job["gguf"]` and save safetensors in bfloat16, tokenizer and chat template to `job["output"]`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf, output = Path(job["gguf"]), Path(job["output"])
    channel.emit("stage", name="weights", state="start")
    # bfloat16 is the precision the model was published in; reading in float32 keeps GGUF's kernels quick.
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # The weights are plain tensors by now: what remains of the quantizer would refuse to save them.
    model.is_quantized = False
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    # Where the file lay on the machine that made it.
    model.config._name_or_path = ""
    model.to(torch.bfloat16).save_pretrained(output)
    channel.emit("stage", name="weights", state="done")
    channel.emit("stage", name="tokenizer", state="start")
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(output)
    channel.emit("stage", name="tokenizer", state="done")
