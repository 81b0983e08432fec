"""Repairs to the ModelBuilder of onnxruntime-genai: for Gemma 3 and SmolLM3 under transformers 5, and 0.15 for Olive.

Stands alone: list it as `user_script` of any entry of `data_configs`, used or not, and Olive imports it
before the first pass. It changes nothing for other architectures and versions.
"""

from __future__ import annotations

import functools
from typing import Any


def apply() -> None:
    """Mend the builders; harmless when called twice."""
    from onnxruntime_genai.models import builder

    _mend_gemma3(builder.Gemma3Model)
    _mend_smollm3(builder.SmolLM3Model)
    _mend_call(builder)


def _mend_call(builder: Any) -> None:
    # From 0.15 on the builder wants to be told the model's configuration, as its command line does, and has another
    # name for the product with quantised weights. Olive 0.13 knows neither: KeyError `hf_details`, AttributeError.
    original = builder.create_model
    if not hasattr(builder, "get_hf_details") or hasattr(builder, "mended"):
        return

    @functools.wraps(original)
    def create_model(*, model_name: str, input_path: str, cache_dir: str, **options: Any) -> None:
        details = builder.get_hf_details(model_name, input_path, cache_dir, options)
        options = {"hf_details": details, **options}
        original(model_name=model_name, input_path=input_path, cache_dir=cache_dir, **options)

    builder.create_model = create_model
    builder.Model.make_matmul_int4 = builder.Model.make_matmul_nbits
    builder.mended = True


def _mend_gemma3(model: Any) -> None:
    # transformers 5 keeps one set of rotary settings for each kind of layer in `rope_parameters`; the builder
    # reads `rope_local_base_freq` (AttributeError), `rope_theta` (silently 10000) and a flat linear `factor`
    # (silently 1: wrong for the global layers of Gemma 3 of 4 B and more).
    if hasattr(model, "mended"):
        return
    original = model.__init__

    def init(self: Any, config: Any, *args: Any) -> None:
        rope = getattr(config, "rope_parameters", None) or {}
        if "full_attention" in rope:
            config.rope_theta = rope["full_attention"]["rope_theta"]
            config.rope_local_base_freq = rope["sliding_attention"]["rope_theta"]
        self.global_factor = float(rope.get("full_attention", {}).get("factor", 1.0))
        original(self, config, *args)

    def both_caches(self: Any) -> None:
        make = super(model, self).make_rotary_embedding_caches
        for kind, theta, factor in (
            ("global", self.rope_attrs["theta"], self.global_factor),
            ("local", self.rope_local_theta, 1.0),
        ):
            names = f"cos_cache_{kind}", f"sin_cache_{kind}"
            setattr(self, f"cos_cache_{kind}_name", names[0])
            setattr(self, f"sin_cache_{kind}_name", names[1])
            self.rope_attrs |= {"create_caches": True, "theta": theta, "rescale_factors": factor}
            make(cos_cache_name=names[0], sin_cache_name=names[1])

    model.__init__ = init
    model.make_rotary_embedding_multi_cache = both_caches
    model.mended = True


def _mend_smollm3(model: Any) -> None:
    # Layers without positions only leave the fused rotation off, so a separate one is made for them, whose
    # `position_ids` the fused path has removed: KeyError.
    if hasattr(model, "mended"):
        return
    original = model.make_attention

    def mended(self: Any, layer_id: int, *args: Any, **kwargs: Any) -> None:
        self.attention_attrs["rope"] = bool(self.no_rope_layers[layer_id])
        try:
            original(self, layer_id, *args, **kwargs)
        finally:
            self.attention_attrs["rope"] = True

    model.make_attention = mended
    model.mended = True


apply()
