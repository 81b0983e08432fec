"""Repairs to the ModelBuilder of onnxruntime-genai 0.14.1 under transformers 5, for Gemma 3 and SmolLM3.

Stands alone: list it as `user_script` of any entry of `data_configs`, used or not, and Olive imports it
before the first pass. It changes nothing for other architectures.
"""

from __future__ import annotations

from typing import Any


def apply() -> None:
    """Mend both builders; harmless when called twice."""
    from onnxruntime_genai.models import builder

    _mend_gemma3(builder.Gemma3Model)
    _mend_smollm3(builder.SmolLM3Model)


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
