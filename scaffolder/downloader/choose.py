"""Which files of a repository are fetched: what training and export read, each thing once, and no pickles unasked."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from scaffolder.errors import ScaffolderError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scaffolder.hub import RemoteFile

# Files at the root of a repository; folders hold copies of the weights for other programs.
_ALWAYS = (
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "spiece.model",
    "*.tiktoken",
    "chat_template*",
    "*processor_config.json",
    "LICENSE*",
    "README.md",
)
_NESTED = ("chat_templates/*.jinja", "additional_chat_templates/*.jinja")
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_INDEX = "model.safetensors.index.json"
# Formats that run code when they are loaded.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_ASKED_FOR_BY_SUFFIX = (*PICKLES, ".py")


def choose(
    files: Mapping[str, RemoteFile],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    code: bool = False,
) -> list[str]:
    """Return the paths to fetch.

    Args:
        files: All files of the repository.
        include: Patterns of files to take besides; pickles and code only where a pattern ends in their suffix.
        exclude: Patterns of files to leave out.
        code: Take the repository's own Python files, for one that is trusted to run them.

    Raises:
        UsageError: A pattern of `include` fits no file.
    """
    chosen = {path for path in files if any(fnmatch(path, pattern) for pattern in _patterns(path))}
    chosen |= set(_weights(files))
    chosen |= {path for path in files if code and path.endswith(".py")}
    for pattern in include:
        fitting = {path for path in files if fnmatch(path, pattern) and _asked_for(path, pattern)}
        if not fitting:
            raise UsageError(f"`--include {pattern}` fits no file", hint=_there_are(files))
        chosen |= fitting
    return sorted(path for path in chosen if not any(fnmatch(path, pattern) for pattern in exclude))


def need_weights(repo: str, files: Mapping[str, RemoteFile], chosen: Iterable[str]) -> None:
    """Refuse a repository that would be of no use: one without weights that are safe to load.

    Raises:
        ScaffolderError: It has none; the hint says what it has instead.
    """
    if any(path.endswith((".safetensors", ".gguf", *PICKLES)) for path in chosen):
        return
    ggufs = [path for path in sorted(files) if path.endswith(".gguf")]
    pickles = [path for path in sorted(files) if path.endswith(PICKLES) and "/" not in path]
    if ggufs:
        hint = f"it has GGUF files, which can be converted: `scaffolder download hf://{repo}/{ggufs[0]}`"
    elif pickles:
        hint = f"it has pickles, which run code when they are loaded; if you trust it: `--include {pickles[0]}`"
    else:
        hint = _there_are(files)
    raise ScaffolderError(f"{repo} has no weights as safetensors", hint=hint)


def _patterns(path: str) -> tuple[str, ...]:
    return _NESTED if "/" in path else _ALWAYS


def _weights(files: Mapping[str, RemoteFile]) -> list[str]:
    """Return one set of weights: the whole file, else the shards, else what there is (adapters)."""
    root = [path for path in files if path.endswith(".safetensors") and "/" not in path]
    if "model.safetensors" in root:
        return ["model.safetensors"]
    shards = [path for path in root if _SHARD.fullmatch(path)]
    if shards:
        return [*shards, *({_INDEX} & files.keys())]
    return [path for path in root if not path.startswith("consolidated")]


def _asked_for(path: str, pattern: str) -> bool:
    suffix = next((suffix for suffix in _ASKED_FOR_BY_SUFFIX if path.endswith(suffix)), None)
    return suffix is None or pattern.endswith(suffix)


def _there_are(files: Mapping[str, RemoteFile]) -> str:
    names = sorted(files)
    return f"there are: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}" if names else "it is empty"
