"""Lets Olive train adapters over weights that Olive quantised, as over any others.

A configuration names this file as `user_script` instead of `chat_data.py`, whose data component comes along.
The weights are dequantised once, when the model is loaded: training sees the values that the export will serve, and
takes the memory of a base in 16 bits (32 on a processor). Olive itself would dequantise them in every pass and, but
with `gradient_checkpointing`, keep all of them for the backward pass just the same.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

from olive.common.quant.hf_utils import OliveHfQuantizer
from olive.common.quant.nn import QuantLinear
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import chat_data  # noqa: F401 - registers the data component

LOADED = OliveHfQuantizer._process_model_after_weight_loading


@functools.wraps(LOADED)
def dequantise(self: OliveHfQuantizer, model: nn.Module, **settings: Any) -> nn.Module:
    """Put plain layers in the place of quantised ones; called by transformers when the weights are there."""
    model = LOADED(self, model, **settings)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, QuantLinear):
            model.set_submodule(name, plain(layer))
    # Neither the trainer nor PEFT has to know.
    self.remove_quantization_config(model)
    return model


def plain(layer: QuantLinear) -> nn.Linear:
    """Return a layer that computes what a quantised one does."""
    linear = nn.Linear(layer.cols, layer.rows, bias=layer.bias is not None, device="meta")
    weight = layer.unpack_and_dequantize(layer.qweight, layer.scales, layer.qzeros)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if layer.bias is not None:
        linear.bias = nn.Parameter(layer.bias, requires_grad=False)
    return linear


if not hasattr(LOADED, "__wrapped__"):  # not yet; Olive imports this file for each part of the data
    OliveHfQuantizer._process_model_after_weight_loading = dequantise
