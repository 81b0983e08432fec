"""Base models into `model-cache/`, from the hub or elsewhere: resumed, verified, locked."""

from scaffolder.downloader.fetch import Downloaded, Planned, download, plan_download
from scaffolder.downloader.target import Request
from scaffolder.downloader.update import Change
from scaffolder.downloader.verify import Verified, problem_error, verify
from scaffolder.hub import Hub, login

__all__ = [
    "Change", "Downloaded", "Hub", "Planned", "Request", "Verified",
    "download", "login", "plan_download", "problem_error", "verify",
]  # fmt: skip
