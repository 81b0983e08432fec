"""What a project needs from its machine, line by line, with the command that mends it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scaffolder import machine, presets, process
from scaffolder.environment import Environment, find_environment
from scaffolder.errors import EnvironmentFault
from scaffolder.records import find_runs, other_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scaffolder.project import Project

# Of the stack's packages, those a run cannot do without; the others follow from them.
_NEEDED = (
    "olive-ai",
    "torch",
    "transformers",
    "peft",
    "onnxruntime",
    "onnxruntime-genai",
    "datasets",
    "requests",
)
_DISK_NEEDED = 5 * 10**9
_MEMORY_NEEDED = 4 * 10**9


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, what was found, and how to mend it.

    Attributes:
        name: What was looked at.
        status: "ok", "warning" or "error".
        found: What is there.
        fix: The command or the edit that mends it; empty when all is well.
    """

    name: str
    status: str
    found: str
    fix: str = ""


def diagnose(project: Project | None) -> list[Check]:
    """Check the machine, and the project's environment where there is a project."""
    return [*_machine(project.root if project else Path.cwd()), *(_project(project) if project else ())]


def _machine(folder: Path) -> Iterator[Check]:
    yield _python()
    yield _git()
    yield _memory()
    yield _disk(folder)
    yield _card()
    yield _hub()


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("python", "ok", version)
    return Check("python", "error", version, "use Python 3.11, 3.12 or 3.13")


def _git() -> Check:
    if shutil.which("git") is None:
        return Check("git", "error", "missing", "install git, for example `sudo apt-get install git`")
    return Check("git", "ok", process.capture(["git", "--version"]).stdout.strip().removeprefix("git version "))


def _memory() -> Check:
    free = machine.free_memory()
    found = f"{free / 1e9:.1f} GB free of {machine.total_memory() / 1e9:.1f} GB"
    if free < _MEMORY_NEEDED:
        return Check("memory", "warning", found, "close other programs: a small model trains in 4 GB")
    return Check("memory", "ok", found)


def _disk(folder: Path) -> Check:
    free = machine.free_disk(folder)
    if free < _DISK_NEEDED:
        return Check("disk", "warning", f"{free / 1e9:.1f} GB free", "free some space: 5 GB do for a small model")
    return Check("disk", "ok", f"{free / 1e9:.1f} GB free")


def _card() -> Check:
    try:
        cards = machine.cards()
    except EnvironmentFault as fault:
        return Check("accelerator", "warning", fault.message.replace("`", ""), fault.hint)
    if not cards:
        return Check("accelerator", "ok", f"none; {process.processor_count()} processors")
    found = [f"{card.name}, {card.free / 1e9:.1f} GB free of {card.memory / 1e9:.1f} GB" for card in cards]
    return Check("accelerator", "ok", f"{'; '.join(found)}; driver {cards[0].driver}")


def _hub() -> Check:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return Check("hub", "warning", "switched off", "unset HF_HUB_OFFLINE to download models")
    endpoint = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    port = endpoint.port or (443 if endpoint.scheme == "https" else 80)
    try:
        socket.create_connection((endpoint.hostname or "", port), timeout=5).close()
    except OSError as error:
        fix = f"check the network; {presets.EMBEDDED_MODEL.partition('/')[2]} works without the hub"
        return Check("hub", "warning", f"{endpoint.hostname} cannot be reached ({error})", fix)
    return Check("hub", "ok", f"{endpoint.hostname} answers")


def _project(project: Project) -> Iterator[Check]:
    try:
        environment = find_environment(project.root)
    except EnvironmentFault as fault:
        yield Check("environment", "error", fault.message, fault.hint)
        return
    yield Check("environment", "ok", str(environment.python))
    stack = "cuda" if environment.version("onnxruntime-genai-cuda") else "cpu"
    yield from _packages(environment, presets.lock(stack))
    yield _model(project)
    yield from _templates(project)


def _packages(environment: Environment, lock: dict[str, str]) -> Iterator[Check]:
    install = f"{environment.python} -m pip install"
    others = []
    for name, wanted in lock.items():
        found = environment.version(name)
        found = found.partition("+")[0] if found else None
        needed = name.removesuffix("-cuda") in _NEEDED or name == "onnxruntime-gpu"
        if found == wanted:
            others += [] if needed else [name]
            if needed:
                yield Check(name, "ok", wanted)
        elif found is None:
            yield Check(name, "error", "missing", f"{install} {name}=={wanted}")
        else:
            yield Check(name, "warning", f"{found}, tested with {wanted}", f"{install} {name}=={wanted}")
    yield Check("other packages", "ok", f"{len(others)} as locked")


def _templates(project: Project) -> Iterator[Check]:
    for record in find_runs(project):
        adapter = other_template(project, record)
        if adapter is not None:
            found = f"{record.output} has another than {adapter} was trained with"
            yield Check("chat template", "warning", found, f"scaffolder run {record.workflow} --preset {record.preset}")


def _model(project: Project) -> Check:
    if (project.model_folder / "config.json").is_file():
        return Check("model", "ok", project.manifest.model.path)
    missing = f"no model in {project.manifest.model.path}"
    return Check("model", "warning", missing, project.how_to_get(project.manifest.model.path))
