"""The command against the hub of the tests, in a process of its own: its client reads variables when imported."""

from __future__ import annotations

import os
import subprocess
import sys

REPO = "acme/tiny"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": bytes(range(256)) * 4000,
    "tokenizer.json": b'{"version": "1.0"}',
    "chat_template.jinja": b"{{ messages }}",
    "pytorch_model.bin": b"pickle" * 1000,
    "onnx/model.onnx": b"onnx",
    "original/consolidated.00.pth": b"weights",
}
WANTED = {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}


def environment(root, hub, **variables):
    return {
        **{name: value for name, value in os.environ.items() if name != "HF_TOKEN"},
        "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(root / ".hf-home"),
        **variables,
    }


def command(root, hub, *arguments, stdin=None, python=sys.executable, **variables):
    """Run `scaffolder ARGUMENTS` in the project `root`; no test may take minutes."""
    result = subprocess.run(
        [str(python), "-m", "scaffolder", *map(str, arguments)],
        cwd=root,
        env=environment(root, hub, **variables),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert "Traceback" not in result.stderr, result.stderr
    return result


def download(root, hub, *arguments, **options):
    return command(root, hub, "download", *arguments, **options)


def files_of(root, model=REPO):
    """Return the content of the files in a model's folder, by path."""
    folder = root / "model-cache" / model
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def is_whole(root, files=FILES, wanted=WANTED, model=REPO):
    return files_of(root, model) == {name: files[name] for name in wanted}
