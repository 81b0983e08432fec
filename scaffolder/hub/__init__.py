"""The only importer of huggingface_hub."""

from scaffolder.hub.client import Hub, RemoteFile, Repository, abandon, login
from scaffolder.hub.failures import HubUnreachable, OtherContent, Transient, read_timeout

__all__ = [
    "Hub", "HubUnreachable", "OtherContent", "RemoteFile", "Repository", "Transient",
    "abandon", "login", "read_timeout",
]  # fmt: skip
