"""Why a worker ended without a result, and what to do next."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from scaffolder import machine
from scaffolder.errors import EnvironmentFault, RunFailed, ScaffolderError
from scaffolder.estimate import estimate_training, smaller

_KERNEL_COUNTERS = Path("/proc/vmstat")
# An estimate that proved too low: aim at this share of it.
_LOWER = 2 / 3


def kernel_kills() -> int | None:
    """Return how many processes the kernel has killed for want of memory since it started; None if it keeps silent."""
    try:
        lines = _KERNEL_COUNTERS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def failed(event: dict[str, Any], job: dict[str, Any], stage: str, last_lines: list[str]) -> ScaffolderError:
    """Return the error for a failure that the worker reported.

    Args:
        event: `message`, `hint` and `kind` ("run", "environment" or "memory").
        job: The worker's.
        stage: The pass, or other stage, at hand.
        last_lines: The log's place and how to go on, for the hint.
    """
    message, hint = event["message"], event["hint"]
    if event["kind"] == "memory":
        message += _estimated(job)
        hint = hint or _less_memory(job, stage)
    kind = EnvironmentFault if event["kind"] == "environment" else RunFailed
    return kind(message, hint=_lines([hint, *last_lines]))


def died(
    code: int, job: dict[str, Any], stage: str, kills_before: int | None, last_lines: list[str]
) -> ScaffolderError:
    """Return the error for a worker that ended without a word.

    Args:
        code: Its exit code; negative for a signal.
        job: The worker's.
        stage: The pass, or other stage, at hand.
        kills_before: What `kernel_kills` said when it started.
        last_lines: The log's place and how to go on, for the hint.
    """
    where = f" in {stage}" if stage else ""
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        kills = kernel_kills()
        if kills is None or kills_before is None or kills > kills_before:
            message = f"the worker was killed{where}: memory ran out, {machine.total_memory() / 1e9:.1f} GB are there"
            return RunFailed(message + _estimated(job), hint=_lines([_less_memory(job, stage), *last_lines]))
        return RunFailed(f"the worker was killed{where} from outside (SIGKILL)", hint=_lines(last_lines))
    if code < 0:
        message = f"the worker was ended{where} by {signal.Signals(-code).name}"
    else:
        message = f"the worker ended{where} with exit code {code} and without a verified result"
    return RunFailed(message, hint=_lines(last_lines))


def _lines(parts: list[str]) -> str:
    return "\n      ".join(part for part in parts if part)


def _estimated(job: dict[str, Any]) -> str:
    estimate = job.get("estimate")
    return f"; the estimate was {estimate['memory'] / 1e9:.1f} GB" if estimate else ""


def _less_memory(job: dict[str, Any], stage: str) -> str:
    """Say which settings to lower, and to what."""
    root, hub_id = Path(job["root"]), job["base"]["id"]
    estimate = estimate_training(job["config"], root, hub_id)
    if estimate is None or stage not in (estimate.training.name, "olive", ""):
        return (
            "a pass over the whole model needs several times its weights: close other programs, or use a larger machine"
        )
    # It did not fit although the estimate said so: what was estimated is no longer to be believed.
    target = min(machine.total_memory(), int(estimate.memory * _LOWER))
    fitting = smaller(job["config"], root, hub_id, available=target)
    if fitting is None or not fitting[0]:
        return "lower per_device_train_batch_size or max_seq_len, or set gradient_checkpointing to true"
    return f"by the same estimate {fitting[1] / 1e9:.1f} GB with {fitting[0]}"
