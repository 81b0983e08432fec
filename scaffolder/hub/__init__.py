"""The model hub: repositories read and written, files as bytes, sign-in; the only importer of huggingface_hub."""

from scaffolder.hub.client import Hub, RemoteFile, Repository, abandon, login
from scaffolder.hub.failures import HubUnreachable, OtherContent, Transient, read_timeout
from scaffolder.hub.upload import Change, Published, Uploader

__all__ = [
    "Change", "Hub", "HubUnreachable", "OtherContent", "Published", "RemoteFile", "Repository", "Transient", "Uploader",
    "abandon", "login", "read_timeout",
]  # fmt: skip
