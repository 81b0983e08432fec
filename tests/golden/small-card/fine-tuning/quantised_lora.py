"""Lets Olive train LoRA adapters over weights that Olive quantised (`QuantLinear`), which PEFT does not know.

A configuration names this file as `user_script` instead of `chat_data.py`, whose data component comes along.
The weights stay as they are: gradients pass through their dequantised values into the adapter alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from olive.common.quant.hf_utils import OliveHfQuantizer
from olive.common.quant.nn import QuantLinear
from peft import LoraConfig
from peft.tuners.lora.layer import LoraLayer

sys.path.insert(0, str(Path(__file__).parent))
import chat_data  # noqa: F401 - registers the data component


class QuantisedLora(torch.nn.Module, LoraLayer):
    """A `QuantLinear` with LoRA beside it."""

    def __init__(
        self, base_layer: QuantLinear, adapter_name: str, config: Any = None, r: int = 0, lora_alpha: int = 1, **_: Any
    ) -> None:
        super().__init__()
        LoraLayer.__init__(self, base_layer)
        self.in_features, self.out_features = base_layer.cols, base_layer.rows
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, r, lora_alpha=lora_alpha, config=config)

    def resolve_lora_variant(self, **_: Any) -> None:
        """Plain LoRA: none of PEFT's variants is offered here."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the quantised layer's result plus each active adapter's."""
        result = self.base_layer(inputs)
        if self.disable_adapters:
            return result
        for name in self.active_adapters:
            if name in self.lora_A:
                dropped = self.lora_dropout[name](self._cast_input_dtype(inputs, self.lora_A[name].weight.dtype))
                result = result + self.lora_B[name](self.lora_A[name](dropped)) * self.scaling[name]
        return result


def apply() -> None:
    """Tell PEFT about the layer, and the trainer that such a model can be trained; harmless when called twice."""
    if getattr(LoraConfig, "knows_quantised", False):
        return
    finish = LoraConfig.__post_init__

    def knowing(self: LoraConfig) -> None:
        finish(self)
        self._register_custom_module({QuantLinear: QuantisedLora})

    LoraConfig.__post_init__ = knowing
    LoraConfig.knows_quantised = True
    OliveHfQuantizer.is_trainable = property(lambda _self: True)


apply()
