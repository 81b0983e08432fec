"""The only importer of huggingface_hub: list and fetch a repository, with errors in our terms."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaffolder.errors import EnvironmentFault, ScaffolderError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What training and export read; weights as safetensors alone.
WANTED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template*",
    "LICENSE*",
    "README.md",
)
# Copies of the same weights in other layouts.
UNWANTED = ("original/*", "onnx/*", "consolidated*", "*/*.safetensors")
_SECONDS_TO_ANSWER = 10.0


class HubUnreachable(EnvironmentFault):
    """The hub did not answer, or is switched off."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit: files with their sizes in bytes."""

    commit: str
    files: dict[str, int]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


def list_files(repo: str, revision: str | None) -> Listing:
    """Return the files wanted of a model repository.

    Raises:
        HubUnreachable: No answer from the hub.
        ScaffolderError: No such repository or revision, or it is gated.
    """
    import huggingface_hub
    from huggingface_hub.utils._paths import filter_repo_objects

    with _our_errors(repo, revision):
        info = huggingface_hub.HfApi().model_info(
            repo, revision=revision, files_metadata=True, timeout=_SECONDS_TO_ANSWER
        )
    siblings = {file.rfilename: file.size or 0 for file in info.siblings or []}
    wanted = filter_repo_objects(siblings, allow_patterns=list(WANTED), ignore_patterns=list(UNWANTED))
    return Listing(info.sha or "", {name: siblings[name] for name in wanted})


def fetch(repo: str, listing: Listing, folder: Path) -> None:
    """Fetch the listed files into `folder`; what lies there already from an earlier try is kept.

    Raises:
        HubUnreachable: The connection broke for good.
        EnvironmentFault: The disk is full.
    """
    import huggingface_hub

    with _our_errors(repo, listing.commit):
        huggingface_hub.snapshot_download(
            repo, revision=listing.commit, local_dir=folder, allow_patterns=list(listing.files)
        )


@contextlib.contextmanager
def _our_errors(repo: str, revision: str | None) -> Iterator[None]:
    import errno

    from huggingface_hub import errors

    offline = "the hub is switched off by HF_HUB_OFFLINE"
    try:
        yield
    except errors.GatedRepoError as error:
        raise ScaffolderError(
            f"{repo} is gated",
            hint=f"accept its terms on its page, then `hf auth login`; see {repo} on the hub",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ScaffolderError(
            f"the hub has no model {repo}, or it is private", hint="check the spelling, or `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ScaffolderError(f"{repo} has no revision {revision}") from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        reason = offline if isinstance(error, errors.OfflineModeIsEnabled) else "the hub cannot be reached"
        raise HubUnreachable(reason, hint="check the network, or HF_ENDPOINT and HF_HUB_OFFLINE") from error
    except errors.HfHubHTTPError as error:
        raise ScaffolderError(f"the hub refused {repo}: {_first_line(error)}") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise EnvironmentFault("the disk is full", hint="free some space; the download resumes") from error
        raise HubUnreachable(f"the hub cannot be reached: {_first_line(error)}", hint="check the network") from error
    except Exception as error:
        # Connection errors of the HTTP client underneath have no base class in huggingface_hub.
        if "httpx" in type(error).__module__ or "httpcore" in type(error).__module__:
            raise HubUnreachable(
                f"the hub cannot be reached: {_first_line(error)}", hint="check the network, or HF_ENDPOINT"
            ) from error
        raise


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
