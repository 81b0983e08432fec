"""A model in PyTorch: the base, an adapter over it or merged into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .explain import TaskError
from .loading import loading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .models import Sample, Sampling

# Enough for efficient matrix products, little enough for the logits of large vocabularies.
_SCORING_BATCH = 8


def _teach_quantised(folder: Path) -> bool:
    """Let transformers load weights that Olive quantised; otherwise it draws new ones, with a warning alone.

    Returns:
        Whether they are Olive's.

    Raises:
        TaskError: The weights are quantised in a way that transformers does not know.
    """
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    method = (settings.get("quantization_config") or {}).get("quant_method")
    if method is None:
        return False
    from transformers.quantizers import auto

    if method == "olive":
        from olive.common.quant.hf_utils import OliveHfQuantizationConfig, OliveHfQuantizer

        auto.AUTO_QUANTIZATION_CONFIG_MAPPING["olive"] = OliveHfQuantizationConfig
        auto.AUTO_QUANTIZER_MAPPING["olive"] = OliveHfQuantizer
    if method not in auto.AUTO_QUANTIZER_MAPPING:
        raise TaskError(f"the model is quantised as {method}, which transformers cannot load")
    return bool(method == "olive")


def _dequantise(model: Any) -> None:
    """Put plain layers in the place of those that Olive quantised, with the same results.

    PEFT takes no others, and they would dequantise their weights for every token.
    """
    from olive.common.quant.nn import QuantLinear
    from torch import nn

    for name, layer in list(model.named_modules()):
        if isinstance(layer, QuantLinear):
            linear = nn.Linear(layer.cols, layer.rows, bias=layer.bias is not None, device="meta")
            linear.weight = nn.Parameter(layer.unpack_and_dequantize(layer.qweight, layer.scales, layer.qzeros))
            if layer.bias is not None:
                linear.bias = nn.Parameter(layer.bias)
            model.set_submodule(name, linear)
    model.hf_quantizer.remove_quantization_config(model)


class TorchModel:
    """A transformers model, alone or with PEFT adapters (applied aside or merged in); see `models.load_model`."""

    def __init__(self, spec: dict[str, Any]) -> None:
        with loading():
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer

        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = getattr(torch, spec.get("dtype") or ("bfloat16" if device == "cuda" else "float32"))
        quantised = _teach_quantised(Path(spec["path"]))
        model = AutoModelForCausalLM.from_pretrained(spec["path"], dtype=dtype)
        # Where the project's own training ran in this process, its script did it while they were loaded.
        if quantised and hasattr(model, "hf_quantizer"):
            _dequantise(model)
        if spec["kind"] in ("adapter", "merged"):
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, spec["adapter"])
            if spec["kind"] == "merged":
                model = model.merge_and_unload()
        self.tokenizer = AutoTokenizer.from_pretrained(spec["path"])
        if spec.get("template"):
            self.tokenizer.chat_template = Path(spec["template"]).read_text(encoding="utf-8")
        self.model = model.to(device).eval()
        self.device = device
        self.adapters: dict[str, str] = spec.get("adapters", {})
        # PEFT's names may hold no dot, ours may.
        self._loaded = {spec["adapter"]: "default"} if spec["kind"] == "adapter" else {}

    @property
    def context(self) -> int | None:
        """Tokens that prompt and answer may have together, where the configuration tells."""
        length = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return int(length) if length else None

    def use(self, adapter: str | None) -> None:
        """See `LanguageModel.use`."""
        if adapter is None:
            if self._loaded:
                self.model.disable_adapter_layers()
            return
        folder = self.adapters[adapter]
        if folder not in self._loaded:
            self._load(folder)
        self.model.enable_adapter_layers()
        self.model.set_adapter(self._loaded[folder])

    def _load(self, folder: str) -> None:
        name = f"adapter{len(self._loaded)}"
        if self._loaded:
            self.model.load_adapter(folder, adapter_name=name)
        else:
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, folder, adapter_name=name)
        self.model.to(self.device).eval()
        self._loaded[folder] = name

    def response_logits(self, samples: Sequence[Sample]) -> Iterator[Any]:
        """See `LanguageModel.response_logits`."""
        order = sorted(range(len(samples)), key=lambda index: len(samples[index].ids))
        found: dict[int, Any] = {}
        for start in range(0, len(order), _SCORING_BATCH):
            chosen = order[start : start + _SCORING_BATCH]
            found.update(zip(chosen, self._batch_logits([samples[index] for index in chosen]), strict=True))
        for index in range(len(samples)):
            yield found.pop(index)

    def _batch_logits(self, batch: list[Sample]) -> list[Any]:
        import torch
        from torch.nn.utils.rnn import pad_sequence

        # Padding lies to the right, where a causal model does not look; row t predicts token t + 1.
        ids = pad_sequence([torch.tensor(sample.ids) for sample in batch], batch_first=True)
        mask = pad_sequence([torch.ones(len(sample.ids)) for sample in batch], batch_first=True).long()
        first = min(sample.prompt for sample in batch) - 1
        with torch.inference_mode():
            out = (
                self.model(
                    input_ids=ids.to(self.device),
                    attention_mask=mask.to(self.device),
                    logits_to_keep=torch.arange(first, ids.shape[1], device=self.device),
                    use_cache=False,
                )
                .logits.float()
                .cpu()
            )
        return [
            out[row, sample.prompt - 1 - first : len(sample.ids) - 1 - first].clone()
            for row, sample in enumerate(batch)
        ]

    def stream(self, ids: list[int], sampling: Sampling) -> Iterator[int]:
        """See `LanguageModel.stream`."""
        import torch

        end = self._end_tokens()
        generator = torch.Generator().manual_seed(sampling.seed)
        inputs, past = torch.tensor([ids], device=self.device), None
        with torch.inference_mode():
            for made in range(sampling.max_new_tokens):
                out = self.model(input_ids=inputs, past_key_values=past, use_cache=True)
                past = out.past_key_values
                token = _choose(out.logits[0, -1].float().cpu(), sampling, generator)
                if token in end and made >= sampling.min_new_tokens:
                    return
                yield token
                inputs = torch.tensor([[token]], device=self.device)

    def _end_tokens(self) -> set[int]:
        configured = self.model.generation_config.eos_token_id
        listed = configured if isinstance(configured, list) else [configured]
        return {token for token in (*listed, self.tokenizer.eos_token_id) if token is not None}


def _choose(logits: Any, sampling: Sampling, generator: Any) -> int:
    import torch

    if sampling.temperature == 0:
        return int(logits.argmax())
    values, order = torch.topk(logits / sampling.temperature, min(sampling.top_k, logits.numel()))
    weights = torch.softmax(values, dim=-1)
    # Nucleus: drop what comes after the mass top_p, never the first.
    weights[torch.cumsum(weights, dim=-1) - weights >= sampling.top_p] = 0
    return int(order[torch.multinomial(weights, 1, generator=generator)])
