"""Data sets of the Hugging Face hub: which of their files are wanted."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from scaffolder.dataset.sources import FORMATS
from scaffolder.errors import UsageError
from scaffolder.hub import Hub


def fetch_dataset(repo: str, revision: str | None, part: str, folder: Path) -> tuple[Path, str]:
    """Fetch the files of one part of a data set; return the folder and the commit.

    Args:
        repo: `organisation/name`.
        revision: Branch, tag or commit.
        part: "train", "test", …, or a pattern of names such as `data/en-*.parquet`.
        folder: Where to put them.

    Raises:
        UsageError: No file is of that part; those that there are get named.
        HubUnreachable: The hub does not answer.
        ScaffolderError: It has no such data set, or refuses it.
    """
    hub = Hub()
    commit, names = hub.dataset_files(repo, revision)
    place = folder / "hub"
    hub.fetch_dataset(repo, commit, _chosen(repo, names, part), place)
    return place, commit


def _chosen(repo: str, names: list[str], part: str) -> list[str]:
    """Return the data files of a part: those that match the pattern, or have its name in theirs."""
    data = [name for name in names if Path(name).suffix in (*FORMATS, ".txt")]
    if any(sign in part for sign in "*?["):
        found = [name for name in data if fnmatch.fnmatch(name, part)]
    else:
        found = [name for name in data if part in name.lower()] or (data if len(data) == 1 else [])
    if not found:
        shown = ", ".join(data[:20]) or "none in a known format"
        raise UsageError(f"{repo} has no data file for `{part}`", hint=f"--part PATTERN; its data files: {shown}")
    return found
