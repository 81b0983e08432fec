"""Run one Olive configuration, and believe the files it made instead of its exit."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import progress, resume, stepdown, verify
from .adapters import exchange_adapter
from .explain import TaskError
from .loading import loading
from .measure import folder_size, peak_gpu_memory, peak_memory
from .remedies import NO_CUDA
from .stages import TRAINING_PASSES

if TYPE_CHECKING:
    from .channel import Channel
    from .rank import Recorder

# What Olive leaves beside its output about its own bookkeeping, with paths of this machine.
_BOOKKEEPING = (
    "footprint.json",
    "output_footprint.json",
    "run_history.txt",
    "input_model_metrics.json",
    "model_config.json",
)


def run_workflow(job: dict[str, Any], channel: Channel) -> None:
    """Run `job["config"]`, verify what it made and leave it in `job["output"]`.

    Args:
        job: `config` (an Olive configuration), `output` (a folder that does not exist yet), `cache`
            (Olive's, kept for these inputs alone), `seed`, `base` (the base model's folder, public name
            and, where it is known, loss) and, where there is one, `evaluation` (a data set, see
            `chat.read_conversations`) and `kept_base` (see `adapters.exchange_adapter`).
        channel: Where the events go.

    Raises:
        TaskError: Olive made nothing, or what it made does not work.
    """
    output, cache = Path(job["output"]), Path(job["cache"])
    if job.get("kept_base") and exchange_adapter(job, channel):
        prove(output, job, channel)
        return
    resume.drop_unfinished(cache)
    run_passes(job["config"], output, cache, job["seed"], channel)
    finish(output, job, channel)


def run_passes(config: dict[str, Any], output: Path, cache: Path, seed: int, channel: Channel | Recorder) -> None:
    """Run the passes of a configuration into `output`.

    Raises:
        TaskError: Olive made nothing.
    """
    # Olive writes into what it is given.
    config = {**copy.deepcopy(config), "output_dir": str(output), "cache_dir": str(cache)}
    channel.emit("stage", name="olive", state="start")
    with loading():
        import transformers

        _check_device(config)
        _keep_card_busy(config["passes"])
        from olive.workflows import run as run_olive

        resume.install()  # its part of a checkpoint is there before a stop that waits for one
        progress.install(channel)
        stepdown.install(channel)
    failures = _report_passes(channel)
    _leave_base_model()
    _hash_by_mark()
    # Adapters are drawn before the trainer sets its own seed.
    transformers.set_seed(seed)
    result = run_olive(config)
    if failures:
        raise failures[-1]
    if not result.has_output_model():
        raise TaskError("Olive ended without a model", "the end of the log says why")
    channel.emit("stage", name="olive", state="done")


def finish(output: Path, job: dict[str, Any], channel: Channel | Recorder) -> None:
    """Take what is Olive's and this machine's own out of a finished output, and prove that it works."""
    for name in _BOOKKEEPING:
        (output / name).unlink(missing_ok=True)
    _forget_machine(output, job)
    prove(output, job, channel)


def prove(output: Path, job: dict[str, Any], channel: Channel | Recorder) -> None:
    """Verify what lies in `output`, and report its figures.

    Raises:
        TaskError: It does not work.
    """
    started = time.monotonic()
    channel.emit("stage", name="verify", state="start")
    metrics = verify.verify(output, job, channel)
    channel.emit("stage", name="verify", state="done", seconds=round(time.monotonic() - started, 2))
    channel.emit(
        "verified",
        metrics=metrics,
        size=folder_size(output),
        peak_memory=peak_memory(),
        peak_gpu_memory=peak_gpu_memory(),
    )


def _check_device(config: dict[str, Any]) -> None:
    """Refuse a configuration for cards where there is none: Olive would train on the processor without a word."""
    import torch

    roles = [config.get(role) for role in ("host", "target")]
    systems = [role if isinstance(role, dict) else config.get("systems", {}).get(role, {}) for role in roles]
    accelerators = [accelerator for system in systems for accelerator in system.get("accelerators") or []]
    if "CUDAExecutionProvider" not in json.dumps(accelerators) or torch.cuda.is_available():
        return
    why = "sees none" if torch.version.cuda else f"({torch.__version__}) is built for processors alone"
    raise TaskError(f"the configuration asks for a GPU, and PyTorch {why}", NO_CUDA, kind="environment")


def _keep_card_busy(passes: dict[str, Any]) -> None:
    """Let the processor work ahead of a card, instead of each waiting for the other."""
    import torch

    if not torch.cuda.is_available():
        return
    for settings in passes.values():
        if str(settings.get("type", "")).lower() in TRAINING_PASSES:
            arguments = settings.setdefault("training_args", {})
            # Asks after each pass whether its loss is a number; `progress` does at each log.
            arguments.setdefault("logging_nan_inf_filter", False)


def _report_passes(channel: Channel | Recorder) -> list[BaseException]:
    """Make Olive's engine report each pass; return the list that will hold what a pass raised."""
    from olive.engine.engine import Engine

    failures: list[BaseException] = []
    run_pass = Engine._run_pass

    @functools.wraps(run_pass)
    def reported(engine: Any, pass_name: str, *args: Any, **kwargs: Any) -> Any:
        kind = engine.computed_passes_configs[pass_name].type
        started = time.monotonic()
        channel.emit("stage", name=pass_name, pass_type=kind, state="start")
        try:
            result = run_pass(engine, pass_name, *args, **kwargs)
        except Exception as error:
            failures.append(error)
            raise
        channel.emit(
            "stage",
            name=pass_name,
            pass_type=kind,
            state="done",
            seconds=round(time.monotonic() - started, 2),
        )
        return result

    Engine._run_pass = reported
    return failures


def _leave_base_model() -> None:
    """Keep Olive from copying the base model beside every adapter: only what a pass made is output."""
    from olive.cache import OliveCache

    save_model = OliveCache._save_model

    @functools.wraps(save_model)
    def made_only(cache: Any, model_json: Any, output_dir: Any, overwrite: bool = False, **kwargs: Any) -> Any:
        return save_model(cache, model_json, output_dir, overwrite, **{**kwargs, "only_cache_files": True})

    OliveCache._save_model = made_only


def _hash_by_mark() -> None:
    """Let Olive tell files apart by place, size and time: reading a whole model for that takes long.

    The cache that the hash is for belongs to inputs whose content is known already.
    """
    from olive.model.config import model_config

    def mark(path: Path, **_: Any) -> str:
        status = path.stat()
        return hashlib.sha256(f"{path} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()

    model_config.hash_file = mark


def _forget_machine(output: Path, job: dict[str, Any]) -> None:
    """Replace paths of this machine in the artefact's own settings."""
    # PEFT's model card is a form to fill in, with the path of the base model in it.
    (output / "adapter" / "README.md").unlink(missing_ok=True)
    adapter_config = output / "adapter" / "adapter_config.json"
    if adapter_config.is_file():
        settings = json.loads(adapter_config.read_text(encoding="utf-8"))
        settings["base_model_name_or_path"] = job["base"]["id"]
        # PEFT writes sets: without an order the same adapter would differ from run to run.
        for key in ("target_modules", "modules_to_save", "exclude_modules"):
            if isinstance(settings.get(key), list):
                settings[key] = sorted(settings[key])
        adapter_config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    model_config = output / "config.json"
    if model_config.is_file():
        settings = json.loads(model_config.read_text(encoding="utf-8"))
        settings.pop("_name_or_path", None)
        model_config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
