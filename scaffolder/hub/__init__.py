"""The model hub: repositories read and written, files as bytes, sign-in; the only importer of huggingface_hub.

`dataset/hub.py` alone asks the same client for data sets.
"""

from scaffolder.hub.client import (
    Hub,
    HubUnreachable,
    OtherContent,
    RemoteFile,
    Repository,
    Transient,
    abandon,
    login,
    our_errors,
    read_timeout,
)
from scaffolder.hub.upload import Change, Published, Uploader

__all__ = [
    "Change", "Hub", "HubUnreachable", "OtherContent", "Published", "RemoteFile", "Repository", "Transient", "Uploader",
    "abandon", "login", "our_errors", "read_timeout",
]  # fmt: skip
