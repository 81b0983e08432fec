"""A model for ONNX Runtime GenAI, with the adapters that its graph takes as inputs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import remedies
from .explain import TaskError
from .loading import loading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .models import Sample, Sampling

# As Olive's ExtractAdapters names the adapter that an export was made with.
OWN_ADAPTER = "adapter_weights.onnx_adapter"


class OnnxModel:
    """A folder that ONNX Runtime GenAI can open; see `models.load_model`.

    No adapter is in use until `use` names one.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        with loading():
            import onnxruntime_genai as og
            from transformers import AutoTokenizer

        folder = Path(spec["path"])
        settings = _settings(folder)
        self._og = og
        self.model = _opened(og, folder, settings)
        self.native_tokenizer = og.Tokenizer(self.model)
        self.tokenizer = AutoTokenizer.from_pretrained(spec["path"])
        self.adapters: dict[str, str] = spec.get("adapters", {})
        self._store = og.Adapters(self.model) if self.adapters else None
        self._loaded: set[str] = set()
        self._active: str | None = None
        self._end = set(self.native_tokenizer.eos_token_ids)
        self.context: int | None = settings["model"].get("context_length")
        self._vocabulary: int = settings["model"]["vocab_size"]

    def use(self, adapter: str | None) -> None:
        """See `LanguageModel.use`."""
        if adapter is not None and adapter not in self._loaded:
            assert self._store is not None
            try:
                self._store.load(self.adapters[adapter], adapter)
            except Exception as error:
                raise TaskError(f"the adapter {Path(self.adapters[adapter]).name} cannot be read: {error}") from error
            self._loaded.add(adapter)
        self._active = adapter

    def response_logits(self, samples: Sequence[Sample]) -> Iterator[Any]:
        """See `LanguageModel.response_logits`."""
        import torch

        for sample in samples:
            generator = self._generator(len(sample.ids) + 1, {})
            generator.append_tokens(sample.ids)
            logits = generator.get_output("logits")[0, sample.prompt - 1 : -1]
            yield torch.from_numpy(logits).float()

    def stream(self, ids: list[int], sampling: Sampling) -> Iterator[int]:
        """See `LanguageModel.stream`."""
        generator = self._generator(len(ids) + sampling.max_new_tokens, self._search(sampling, len(ids)))
        generator.append_tokens(ids)
        while not generator.is_done():
            generator.generate_next_token()
            token = int(generator.get_next_tokens()[0])
            if token in self._end:
                return
            yield token

    def _generator(self, max_length: int, search: dict[str, Any]) -> Any:
        params = self._og.GeneratorParams(self.model)
        # Without max_length the cache of the whole context is reserved.
        params.set_search_options(max_length=max_length, **search)
        generator = self._og.Generator(self.model, params)
        if self._active is not None:
            generator.set_active_adapter(self._store, self._active)
        return generator

    def _search(self, sampling: Sampling, prompt: int) -> dict[str, Any]:
        shortest = {"min_length": prompt + sampling.min_new_tokens} if sampling.min_new_tokens else {}
        if sampling.temperature == 0:
            return {"do_sample": False, **shortest}
        return {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            # The runtime makes room for as many as it is told.
            "top_k": min(sampling.top_k, self._vocabulary),
            "random_seed": sampling.seed,
            **shortest,
        }


def _settings(folder: Path) -> dict[str, Any]:
    """Return the settings of an export that has all its files.

    Raises:
        TaskError: A file is missing or damaged.
    """
    file = folder / "genai_config.json"
    try:
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        needed = (settings["model"]["decoder"]["filename"], "tokenizer.json", "tokenizer_config.json")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TaskError(f"{file} cannot be read: {type(error).__name__}: {error}", remedies.EXPORT_AGAIN) from error
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise TaskError(f"{folder} has no {', '.join(missing)}", remedies.EXPORT_AGAIN)
    return settings


def _opened(og: Any, folder: Path, settings: dict[str, Any]) -> Any:
    try:
        return og.Model(_fitted(og, folder, settings))
    except RuntimeError as error:
        if re.search("external (data|initializer)|protobuf", str(error), re.IGNORECASE):
            raise TaskError(f"{folder}: graph or weights are missing or damaged", remedies.EXPORT_AGAIN) from error
        raise


def _fitted(og: Any, folder: Path, settings: dict[str, Any]) -> Any:
    """Return the folder's configuration, fitted to this machine.

    A graph made for a card that is not here runs on the processor, with a thread for each core. The runtime's own
    guess is half the processors where it cannot tell its cores, as on many virtual machines: on two, one thread wrote
    166 tokens/s where two wrote 222. More threads than a container or an affinity allows would wait for each other.
    """
    config = og.Config(str(folder))
    providers = settings["model"]["decoder"]["session_options"].get("provider_options", [])
    if any("cuda" in provider for provider in providers):
        if og.is_cuda_available() and _has_card():
            import onnxruntime

            onnxruntime.preload_dlls()  # CUDA's libraries, where they came as packages
        else:
            config.clear_providers()
    options = {"intra_op_num_threads": min(_allowed_processors(), _cores())}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
    return config


def _has_card() -> bool:
    """Whether there is a card of NVIDIA's; the runtime itself says only what it was built for."""
    import torch

    return bool(torch.cuda.is_available())


def _cores() -> int:
    """Return the machine's cores; two threads on one take turns at its arithmetic."""
    import psutil

    return psutil.cpu_count(logical=False) or os.cpu_count() or 1


def _allowed_processors() -> int:
    """Return how many processors the affinity and the container's quota leave to this process."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, int(quota) // int(period)))
