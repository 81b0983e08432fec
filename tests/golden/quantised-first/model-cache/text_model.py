"""Take the language model out of a Gemma 3 that also sees images: what is tuned and exported is the text model.

`python model-cache/text_model.py model-cache/google/gemma-3-4b-it` writes `model-cache/google/gemma-3-4b-it-text`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

PREFIX = "language_model."


def text_model(source: Path) -> Path:
    """Write the text model beside `source`, tensor by tensor, and return its folder."""
    target = source.with_name(f"{source.name}-text")
    aside = target.with_name(f".{target.name}")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(source, aside, ignore=shutil.ignore_patterns("*.safetensors*", "*processor_config.json"))
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    dtype = config.get("dtype", config.get("torch_dtype", "bfloat16"))
    text = {**config["text_config"], "architectures": ["Gemma3ForCausalLM"], "dtype": dtype}
    (aside / "config.json").write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
    weights = {}
    for file in sorted(source.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - no dictionary
                if name.startswith(PREFIX):
                    weights[name.removeprefix(PREFIX)] = tensors.get_tensor(name)
    save_file(weights, aside / "model.safetensors", metadata={"format": "pt"})
    # `scaffolder run` asks for a new one where these files have changed since.
    digests = {}
    for file in sorted(source.iterdir()):
        if file.suffix in {".safetensors", ".bin", ".json"}:
            with file.open("rb") as content:
                digests[file.name] = hashlib.file_digest(content, "sha256").hexdigest()
    (aside / "made-from.json").write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    return target


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(text_model(Path(sys.argv[1])))
