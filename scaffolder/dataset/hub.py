"""Data sets of the Hugging Face hub: their files, fetched with the hub's own client."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from scaffolder.dataset.sources import FORMATS
from scaffolder.errors import EnvironmentFault, ScaffolderError, UsageError

_SECONDS_TO_ANSWER = 10.0


def fetch_dataset(repo: str, revision: str | None, part: str, folder: Path) -> tuple[Path, str | None]:
    """Fetch the files of one part of a data set; return the folder and the commit.

    Args:
        repo: `organisation/name`.
        revision: Branch, tag or commit.
        part: "train", "test", …, or a pattern of names such as `data/en-*.parquet`.
        folder: Where to put them.

    Raises:
        UsageError: No file is of that part; those that there are get named.
        EnvironmentFault: The hub does not answer.
        ScaffolderError: It has no such data set, or refuses it.
    """
    import huggingface_hub
    from huggingface_hub import errors

    try:
        info = huggingface_hub.HfApi().dataset_info(repo, revision=revision, timeout=_SECONDS_TO_ANSWER)
        names = [file.rfilename for file in info.siblings or []]
        chosen = _chosen(repo, names, part)
        place = huggingface_hub.snapshot_download(
            repo, repo_type="dataset", revision=info.sha, local_dir=folder / "hub", allow_patterns=chosen
        )
    except errors.GatedRepoError as error:
        raise ScaffolderError(f"{repo} is gated", hint="accept its terms on its page, then `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        raise ScaffolderError(f"{repo} has no revision {revision}") from error
    except errors.RepositoryNotFoundError as error:
        raise ScaffolderError(
            f"no file or folder {repo}, and the hub has no such data set, or it is private",
            hint="check the spelling, or `hf auth login`",
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise EnvironmentFault(
            f"no file or folder {repo}, and the hub is switched off by HF_HUB_OFFLINE", hint="unset HF_HUB_OFFLINE"
        ) from error
    except ScaffolderError:
        raise
    except Exception as error:
        # Connection errors of the HTTP client underneath have no base class in huggingface_hub.
        foreign = type(error).__module__.startswith("http")
        if not (foreign or isinstance(error, errors.HfHubHTTPError | OSError)):
            raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EnvironmentFault(
            f"{repo} cannot be fetched: {first}", hint="check the network, or HF_ENDPOINT"
        ) from error
    return Path(place), info.sha


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
