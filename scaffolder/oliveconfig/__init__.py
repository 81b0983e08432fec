"""Reads, checks, upgrades and writes Olive configurations, without importing Olive."""

from scaffolder.oliveconfig.check import check
from scaffolder.oliveconfig.document import Document, Json, Node, Problem, Severity, describe
from scaffolder.oliveconfig.reader import parse, read
from scaffolder.oliveconfig.upgrade import Change, Unresolved, Upgrade, upgrade
from scaffolder.oliveconfig.writer import dumps

__all__ = [
    "Change", "Document", "Json", "Node", "Problem", "Severity", "Unresolved", "Upgrade",
    "check", "describe", "dumps", "parse", "read", "upgrade",
]  # fmt: skip
