"""Proof that an artefact works: it opens, its numbers are finite, it answers."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .chat import prompt_text
from .explain import TaskError
from .loss import evaluation_samples, response_loss
from .models import LanguageModel, Sample, Sampling, answer, load_model
from .onnx_model import OWN_ADAPTER, OnnxModel
from .torch_model import TorchModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .channel import Channel
    from .rank import Recorder

_PROBE = [{"role": "user", "content": "What is the capital of France?"}]
_PROBE_TOKENS = 16
# What PEFT sets to zero at the start, so that an adapter does nothing: B of LoRA, and its like in LoHa and LoKr.
_ZERO_AT_START = re.compile(r"\.(lora_B\.|hada_w2_b$|lokr_w1(_a)?$)")
_FITTING = "it must have been trained on this base, with the same layers"


def kind_of(folder: Path) -> str:
    """Return "onnx", "adapter", "model" or "unknown" for what lies in `folder`."""
    if (folder / "genai_config.json").is_file():
        return "onnx"
    if (folder / "adapter" / "adapter_config.json").is_file():
        return "adapter"
    return "model" if _model_folder(folder) else "unknown"


def _model_folder(folder: Path) -> Path | None:
    """Return where the weights lie: Olive puts those of a quantised model into a folder of their own."""
    for place in (folder, folder / "model"):
        if (place / "config.json").is_file() and any(place.glob("*.safetensors")):
            return place
    return None


def verify(folder: Path, job: dict[str, Any], channel: Channel | Recorder) -> dict[str, Any]:
    """Open the artefact in `folder` and use it.

    Returns:
        Figures for the run's record: `kind`, the `template` hash and, where there are evaluation examples,
        the loss `after` and for an adapter also `before`, that of the model under it, as `loss.response_loss`
        gives it.

    Raises:
        TaskError: It does not open, holds numbers that are not finite, or does not answer.
    """
    kind = kind_of(folder)
    if kind == "adapter":
        return {"kind": kind, **_verify_adapter(folder, job, channel)}
    if kind == "onnx":
        return {"kind": kind, **_verify_onnx(folder, job)}
    if kind == "model":
        model = load_model({"kind": "base", "path": str(_model_folder(folder))})
        check_answer(model)
        return {"kind": kind, "template": template_hash(model), **_losses(model, job)}
    raise TaskError(f"no model was found in the output ({', '.join(sorted(p.name for p in folder.iterdir()))})")


def template_hash(model: LanguageModel) -> str:
    """Return the SHA-256 of the chat template, to compare training with inference."""
    return hashlib.sha256((model.tokenizer.chat_template or "").encode()).hexdigest()


def _verify_adapter(folder: Path, job: dict[str, Any], channel: Channel | Recorder) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file

    adapter = folder / "adapter"
    weights = load_file(adapter / "adapter_model.safetensors")
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise TaskError(f"{len(broken)} of {len(weights)} adapter weights are not finite", "lower the learning rate")
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    moved = [bool(tensor.any()) for name, tensor in weights.items() if _ZERO_AT_START.search(name)]
    if moved and not any(moved):
        raise TaskError("the adapter is as it was before training", "check learning_rate and max_steps")
    quantised = _model_folder(folder)  # what it was trained over, where that is not the base itself
    base = {"path": str(quantised)} if quantised else job["base"]
    model = TorchModel({"kind": "adapter", "path": base["path"], "adapter": str(adapter)})
    check_answer(model)
    figures: dict[str, Any] = {"template": template_hash(model), "parameters": _count(weights)}
    figures["rank"] = settings.get("r")
    if job.get("evaluation"):
        samples = evaluation_samples(model, job["evaluation"], limit=None)
        channel.emit("stage", name="evaluate", state="start", rows=len(samples))
        after = response_loss(model, samples)
        figures |= {"before": base.get("loss") or _loss_without_adapter(model, samples), "after": after}
        channel.emit("stage", name="evaluate", state="done")
    return figures


def _loss_without_adapter(model: TorchModel, samples: Sequence[Sample]) -> dict[str, float]:
    with model.model.disable_adapter():
        return response_loss(model, samples)


def _count(weights: dict[str, Any]) -> int:
    return sum(tensor.numel() for tensor in weights.values())


def _verify_onnx(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    adapters = {file.stem: str(file) for file in sorted(folder.glob("*.onnx_adapter"))}
    own = Path(OWN_ADAPTER).stem
    model = OnnxModel({"path": str(folder), "adapters": adapters})
    if not model.tokenizer.chat_template:
        raise TaskError("the exported tokenizer has no chat template")
    text = prompt_text(model.tokenizer, _PROBE)
    ours = model.tokenizer.encode(text, add_special_tokens=False)
    native = [int(token) for token in model.native_tokenizer.encode(text)]
    if ours != native:
        raise TaskError(
            "ONNX Runtime GenAI splits the prompt into other tokens than the tokenizer used in training",
            "another release of onnxruntime-genai may read this tokenizer; scaffolder doctor names the tested one",
        )
    figures: dict[str, Any] = {}
    if model.adapters:
        _check_adapters(model)
        figures["adapters"] = list(model.adapters)
        model.use(None)
        if job.get("evaluation"):
            figures["before"] = _losses(model, job)["after"]
        model.use(own if own in adapters else next(iter(adapters)))
    figures |= check_answer(model)
    return {"template": template_hash(model), **figures, **_losses(model, job)}


def _check_adapters(model: OnnxModel) -> None:
    """Set each adapter active: its logits are finite, and not those of the base alone."""
    import torch

    samples = [Sample(model.tokenizer.encode(prompt_text(model.tokenizer, _PROBE), add_special_tokens=False), 1)]
    model.use(None)
    [base] = model.response_logits(samples)
    for name in model.adapters:
        model.use(name)
        try:
            [logits] = model.response_logits(samples)
        except Exception as error:
            message = str(error).strip().splitlines()[0]
            raise TaskError(f"the adapter {name} does not fit the model: {message}", _FITTING) from error
        if not torch.isfinite(logits).all():
            raise TaskError(f"with the adapter {name} the model's logits are not finite", "train it again")
        if torch.equal(logits, base):
            raise TaskError(f"the adapter {name} changes nothing: the model answers as without it", _FITTING)


def check_answer(model: LanguageModel) -> dict[str, Any]:
    """Ask a plain question and return the speed.

    Raises:
        TaskError: The numbers are not finite, or the answer is empty.
    """
    import torch

    ids = model.tokenizer.encode(prompt_text(model.tokenizer, _PROBE), add_special_tokens=False)
    [logits] = model.response_logits([Sample(ids, 1)])
    if not torch.isfinite(logits).all():
        raise TaskError("the model's logits are not finite")
    _, figures = answer(model, ids, Sampling(max_new_tokens=_PROBE_TOKENS))
    if figures["tokens"] < 1:
        raise TaskError("the model answers a plain question with nothing")
    return {"tokens_per_second": figures["tokens_per_second"]}


def _losses(model: LanguageModel, job: dict[str, Any]) -> dict[str, Any]:
    if not job.get("evaluation"):
        return {}
    samples = evaluation_samples(model, job["evaluation"], limit=None)
    return {"after": response_loss(model, samples)}
