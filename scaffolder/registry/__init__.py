"""Finished models to a registry: checked, described by their lineage, and never twice."""

from scaffolder.registry.azure import Entry, entry, register, workspace_of
from scaffolder.registry.deliverable import Deliverable, find_deliverable, refuse
from scaffolder.registry.hf import Parcel, own_repo, prepare, publish

__all__ = [
    "Deliverable",
    "Entry",
    "Parcel",
    "entry",
    "find_deliverable",
    "own_repo",
    "prepare",
    "publish",
    "refuse",
    "register",
    "workspace_of",
]
