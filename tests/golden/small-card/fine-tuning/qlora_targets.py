"""Lets QLoRA train the layers that its configuration names; Olive takes every 4-bit layer instead.

Olive imports this file because a configuration names it as `user_script`.
"""

from __future__ import annotations

import functools
from typing import Any

from olive.passes.pytorch.lora import QLoRA


def apply() -> None:
    """Make `target_modules` count; harmless when called twice."""
    if getattr(QLoRA, "keeps_targets", False):
        return
    load = QLoRA.get_quant_model

    @functools.wraps(load)
    def keeping(self: QLoRA, model: Any, config: Any, output_model_path: str) -> Any:
        asked, enable = config.target_modules, self.enable_lora

        def enable_asked(pytorch_model: Any, config: Any, *args: Any) -> Any:
            config.target_modules = asked or config.target_modules
            return enable(pytorch_model, config, *args)

        self.enable_lora = enable_asked
        try:
            return load(self, model, config, output_model_path)
        finally:
            del self.enable_lora

    QLoRA.get_quant_model = keeping
    QLoRA.keeps_targets = True


apply()
