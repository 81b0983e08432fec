"""Remedies that depend on what is here: the lock, the model, the disk, the configuration."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
from pathlib import Path
from typing import Any

NO_CUDA = (
    "on a machine with an NVIDIA card: `nvidia-smi` must answer, and the cuda stack be installed\n"
    '      on this one: "device": "cpu" and CPUExecutionProvider in the configuration\'s systems'
)
EXPORT_AGAIN = "scaffolder run gen-model --restart makes the export again"
# Distributions whose import name is another.
_DISTRIBUTIONS = {"olive": "olive-ai", "google": "protobuf", "yaml": "pyyaml", "dateutil": "python-dateutil"}
# Their releases must fit together; others rarely matter.
_DECISIVE = (
    "olive-ai", "transformers", "peft", "torch", "onnxruntime", "onnxruntime-gpu", "onnxruntime-genai",
    "onnxruntime-genai-cuda", "onnx", "onnxscript", "accelerate", "datasets", "huggingface-hub", "tokenizers",
    "safetensors", "numpy",
)  # fmt: skip


def locked(job: dict[str, Any]) -> dict[str, str]:
    """Return the versions that the project's requirements name, by distribution; empty where there are none."""
    try:
        text = Path(job["root"], "setup", "requirements.txt").read_text(encoding="utf-8")
    except (KeyError, OSError):
        return {}
    return dict(re.findall(r"^([\w.-]+)==([\w.+!-]+)", text, re.MULTILINE))


def install(module: str, job: dict[str, Any]) -> str:
    """Return the command that installs what brings `module`, in the version of the project's stack."""
    name = _DISTRIBUTIONS.get(module, module).replace("_", "-").lower()
    version = locked(job).get(name)
    python = Path(sys.executable)
    root = Path(job.get("root", "/"))
    shown = python.relative_to(root) if python.is_relative_to(root) else python
    return f"{shown} -m pip install {name}" + (f"=={version}" if version else "")


def callable_builder(job: dict[str, Any]) -> str:
    """Return the way to a ModelBuilder that Olive's pass can call: a script on the cuda stack, else another release."""
    if "onnxruntime-genai-cuda" in locked(job):
        return (
            'the configuration has to name "gen-model/genai_fixes.py" as the `user_script` of an entry of data_configs'
        )
    return install("onnxruntime-genai", job)


def other_versions(job: dict[str, Any]) -> str:
    """Name the decisive packages that are not the ones this project was tested with, or nothing."""
    found = []
    for name, wanted in locked(job).items():
        if name not in _DECISIVE:
            continue
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "missing"
        if installed.partition("+")[0] != wanted:
            found.append(f"{name} {installed}, tested {wanted}")
    return f"other versions than tested: {'; '.join(found)}" if found else ""


def more_room(job: dict[str, Any]) -> str:
    """Say how much room is left where the run works."""
    place = Path(job.get("output") or job.get("root", "."))
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    return f"{free / 1e6:,.0f} MB are free at {place}; make room, then run the same command again: it goes on"


def no_example(_: re.Match[str], job: dict[str, Any]) -> str:
    """Say what keeps every row of the data from becoming an example."""
    for data in job.get("config", {}).get("data_configs", []):
        process = data.get("pre_process_data_config", {})
        # Olive's text component joins rows into blocks unless it is told otherwise.
        joins = str(process.get("strategy", "join" if "text_template" in process else "")).startswith("join")
        if joins and process.get("type") is None:
            length = process.get("max_seq_len", 1024)
            return (
                f"all rows joined are shorter than one block of max_seq_len={length} tokens: "
                f"lower it, add examples, or set strategy to line-by-line"
            )
    return "max_seq_len cuts every response away, or every row is empty: raise it, or look at the columns"


def whole_model(_: re.Match[str], job: dict[str, Any]) -> str:
    """Name the damaged files, and how to get them again."""
    from safetensors import SafetensorError, safe_open

    folder = Path(
        job.get("config", {}).get("input_model", {}).get("model_path") or job.get("base", {}).get("path", ".")
    )
    broken = []
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError):
            broken.append(file.name)
    again = f"scaffolder download {job['base']['id']} --force" if "base" in job else "scaffolder download --force"
    return f"{folder.name}: {', '.join(broken)}\n      {again}" if broken else "scaffolder run --restart makes it again"


def exportable(_: re.Match[str], job: dict[str, Any]) -> str:
    """Name the model's architecture; the catalogue's are known to work."""
    import json

    folder = Path(job.get("config", {}).get("input_model", {}).get("model_path") or ".")
    try:
        names = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    except (OSError, ValueError, KeyError):
        names = []
    which = f"it is {', '.join(names)}; " if names else ""
    return f"{which}`scaffolder presets` lists models that can be exported"


def layers(_: re.Match[str], job: dict[str, Any]) -> str:
    """Name the layers of the base model that an adapter can sit on."""
    from safetensors import safe_open

    names: set[str] = set()
    for file in Path(job.get("base", {}).get("path", ".")).glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            for key in weights.keys():  # noqa: SIM118 # no mapping
                parts = key.split(".")
                # Within numbered blocks, matrices alone.
                if any(part.isdigit() for part in parts) and len(weights.get_slice(key).get_shape()) == 2:
                    names.add(parts[-2])
    return f"set target_modules to some of {', '.join(sorted(names))}" if names else ""
