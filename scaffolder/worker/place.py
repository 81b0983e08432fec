"""Inputs that an engine put somewhere on a node go to their places in the project, compared with what they should be.

    PYTHON worker/ place PLACES.json [NAME=PATH ...]

in the folder that becomes the project's. The file holds `files`: by input's name the `path` in the project and
`sha256` by path below it ("" for a file); and where the model comes from the hub, `hub`: `repo`, `commit`, `path`,
`sha256`, and `keyvault` and `secret` where a token is needed. The token is read inside this process and kept there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_SECONDS_TO_ANSWER = 60


def main(arguments: list[str]) -> int:
    """Place the inputs and return 0, or 1 with a line of JSON for each that is not what it should be."""
    parser = argparse.ArgumentParser(prog="worker place")
    parser.add_argument("places", type=Path)
    parser.add_argument("inputs", nargs="*")
    given = parser.parse_args(arguments)
    places = json.loads(given.places.read_text(encoding="utf-8"))
    found = dict(each.partition("=")[::2] for each in given.inputs)
    problems = []
    for name, wanted in places["files"].items():
        target = Path(wanted["path"])
        _put(_holder(Path(found[name]), wanted["sha256"]), target)
        problems += _differences(target, wanted["sha256"])
    if places.get("hub"):
        _download(places["hub"])
        problems += _differences(Path(places["hub"]["path"]), places["hub"]["sha256"])
    for problem in problems:
        _tell(problem)
    return 1 if problems else 0


def _holder(source: Path, wanted: dict[str, str]) -> Path:
    """Return the folder that holds the files: registries keep a model some folders down in its package."""
    first = next(iter(wanted), "")
    if not source.is_dir() or (source / first).exists():
        return source
    found = sorted(source.rglob(first), key=lambda path: len(path.parts))
    return Path(str(found[0]).removesuffix(first)) if found else source


def _put(source: Path, target: Path) -> None:
    """Files are copied, since programs among them look beside themselves; folders hold weights and are linked."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        if target.is_symlink():
            target.unlink()
        target.symlink_to(source.resolve(), target_is_directory=True)
    else:
        shutil.copyfile(source, target)


def _differences(target: Path, wanted: dict[str, str]) -> list[str]:
    def look(item: tuple[str, str]) -> str | None:
        path = target / item[0] if item[0] else target
        if not path.is_file():
            return f"{path.as_posix()} is missing"
        with path.open("rb") as stream:
            same = hashlib.file_digest(stream, "sha256").hexdigest() == item[1]
        return None if same else f"{path.as_posix()} has other content than the project's"

    with ThreadPoolExecutor() as pool:
        return [problem for problem in pool.map(look, wanted.items()) if problem]


def _download(hub: dict[str, Any]) -> None:
    from huggingface_hub import snapshot_download

    token = _secret(hub["keyvault"], hub["secret"]) if hub.get("keyvault") else None
    snapshot_download(
        hub["repo"],
        revision=hub["commit"],
        local_dir=hub["path"],
        allow_patterns=list(hub["sha256"]),
        token=token or False,
    )


def _secret(vault: str, name: str) -> str:
    """Return a secret of a key vault, with the job's own identity."""
    from azure.identity import DefaultAzureCredential
    from azure.keyvault.secrets import SecretClient

    client = SecretClient(f"https://{vault}.vault.azure.net", DefaultAzureCredential())
    return str(client.get_secret(name, timeout=_SECONDS_TO_ANSWER).value)


def _tell(problem: str) -> None:
    event = {"event": "failed", "type": "TaskError", "message": problem, "hint": "", "kind": "data"}
    print(json.dumps(event), flush=True)  # noqa: T201 - the job's log is how it speaks
