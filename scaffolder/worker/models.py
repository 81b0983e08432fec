"""The forms a model takes (base, adapter, merged, ONNX), behind one way to score and to answer."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .explain import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# What the chat models of the catalogue are measured with; generation itself stops at end tokens.
DEFAULT_MAX_NEW_TOKENS = 256
# Enough for efficient matrix products, little enough for the logits of large vocabularies.
_SCORING_BATCH = 8


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose the next token; temperature 0 is greedy."""

    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 50
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """Token ids of a conversation, and how many of them come before its last answer."""

    ids: list[int]
    prompt: int


class LanguageModel(Protocol):
    """A loaded model with its tokenizer."""

    tokenizer: Any

    def response_logits(self, samples: Sequence[Sample]) -> Iterator[Any]:
        """Yield, for each sample in order, what predicts its response.

        Float32 tensors on the processor, of shape (response tokens, vocabulary).
        """
        ...

    def stream(self, ids: list[int], sampling: Sampling) -> Iterator[int]:
        """Yield new token ids until an end token (left out) or `max_new_tokens`."""
        ...


def load_model(spec: dict[str, Any]) -> LanguageModel:
    """Load a model from its description.

    Args:
        spec: `kind` ("base", "adapter", "merged" or "onnx"), `path` of the model, `adapter` for the two
            kinds that need one, `dtype` for PyTorch ("float32" where left out), and `template`, a file with a
            chat template in place of the tokenizer's own.

    Raises:
        TaskError: A folder is missing.
    """
    for key in ("path", "adapter"):
        if spec.get(key) and not Path(spec[key]).is_dir():
            raise TaskError(f"missing {key} folder {spec[key]}")
    return OnnxModel(spec["path"]) if spec["kind"] == "onnx" else TorchModel(spec)


def _teach_quantised(folder: Path) -> None:
    """Let transformers load weights that Olive quantised; otherwise it draws new ones, with a warning alone.

    Raises:
        TaskError: The weights are quantised in a way that transformers does not know.
    """
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    method = (settings.get("quantization_config") or {}).get("quant_method")
    if method is None:
        return
    from transformers.quantizers import auto

    if method == "olive":
        from olive.common.quant.hf_utils import OliveHfQuantizationConfig, OliveHfQuantizer

        auto.AUTO_QUANTIZATION_CONFIG_MAPPING["olive"] = OliveHfQuantizationConfig
        auto.AUTO_QUANTIZER_MAPPING["olive"] = OliveHfQuantizer
    if method not in auto.AUTO_QUANTIZER_MAPPING:
        raise TaskError(f"the model is quantised as {method}, which transformers cannot load")


class TorchModel:
    """A transformers model, alone or with a PEFT adapter (applied aside or merged in)."""

    def __init__(self, spec: dict[str, Any]) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = getattr(torch, spec.get("dtype") or ("bfloat16" if device == "cuda" else "float32"))
        _teach_quantised(Path(spec["path"]))
        model = AutoModelForCausalLM.from_pretrained(spec["path"], dtype=dtype)
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
            for _ in range(sampling.max_new_tokens):
                out = self.model(input_ids=inputs, past_key_values=past, use_cache=True)
                past = out.past_key_values
                token = _choose(out.logits[0, -1].float().cpu(), sampling, generator)
                if token in end:
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


class OnnxModel:
    """A folder that ONNX Runtime GenAI can open, with the adapters that lie in it.

    Attributes:
        adapters: Their names: those of their files, without the ending.
        active: The one in use, or None for the base alone; at first the one the export made.
    """

    ADAPTER = "adapter_weights"

    def __init__(self, folder: str) -> None:
        import onnxruntime_genai as og
        from transformers import AutoTokenizer

        self._og = og
        self.model = og.Model(folder)
        self.native_tokenizer = og.Tokenizer(self.model)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        files = sorted(Path(folder).glob("*.onnx_adapter"))
        self._adapters = og.Adapters(self.model)
        for file in files:
            try:
                self._adapters.load(str(file), file.stem)
            except Exception as error:
                raise TaskError(f"the adapter {file.name} cannot be read: {error}") from error
        self.adapters = [file.stem for file in files]
        self.active = self.ADAPTER if self.ADAPTER in self.adapters else next(iter(self.adapters), None)

    def response_logits(self, samples: Sequence[Sample]) -> Iterator[Any]:
        """See `LanguageModel.response_logits`."""
        import torch

        for sample in samples:
            generator = self._generator(len(sample.ids) + 1, Sampling())
            generator.append_tokens(sample.ids)
            logits = generator.get_output("logits")[0, sample.prompt - 1 : -1]
            yield torch.from_numpy(logits).float()

    def stream(self, ids: list[int], sampling: Sampling) -> Iterator[int]:
        """See `LanguageModel.stream`."""
        generator = self._generator(len(ids) + sampling.max_new_tokens, sampling)
        generator.append_tokens(ids)
        end = set(self.native_tokenizer.eos_token_ids)
        while not generator.is_done():
            generator.generate_next_token()
            token = int(generator.get_next_tokens()[0])
            if token in end:
                return
            yield token

    def _generator(self, max_length: int, sampling: Sampling) -> Any:
        # Without max_length the cache of the whole context is reserved.
        options: dict[str, Any] = {"max_length": max_length, "do_sample": sampling.temperature > 0}
        if sampling.temperature > 0:
            options |= {
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k,
                "random_seed": sampling.seed,
            }
        params = self._og.GeneratorParams(self.model)
        params.set_search_options(**options)
        generator = self._og.Generator(self.model, params)
        if self.active is not None:
            generator.set_active_adapter(self._adapters, self.active)
        return generator


def answer(model: LanguageModel, ids: list[int], sampling: Sampling) -> tuple[str, dict[str, float]]:
    """Return the whole answer and its speeds; see `stream_text`."""
    text, figures = "", {}
    for piece, now in stream_text(model, ids, sampling):
        text, figures = text + piece, now
    return text, figures


def stream_text(model: LanguageModel, ids: list[int], sampling: Sampling) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield pieces of text that are whole characters, with the figures so far.

    The figures: `tokens`, `first_token_seconds` (prompt processing included) and `tokens_per_second`
    (of the tokens after the first). The last piece may be empty.
    """
    started = time.perf_counter()
    tokens: list[int] = []
    first = shown = 0.0
    text = ""
    for token in model.stream(ids, sampling):
        tokens.append(token)
        now = time.perf_counter()
        first = first or now - started
        shown = now
        whole = model.tokenizer.decode(tokens, skip_special_tokens=True)
        if whole.endswith("\ufffd"):  # in the middle of a character of several tokens
            continue
        piece, text = whole[len(text) :], whole
        if piece:
            yield piece, _speeds(tokens, first, shown - started)
    whole = model.tokenizer.decode(tokens, skip_special_tokens=True)
    yield whole[len(text) :], _speeds(tokens, first, shown - started)


def _speeds(tokens: list[int], first: float, whole: float) -> dict[str, float]:
    later = len(tokens) - 1
    return {
        "tokens": len(tokens),
        "first_token_seconds": round(first, 4),
        "tokens_per_second": round(later / (whole - first), 2) if later > 0 and whole > first else 0.0,
    }
