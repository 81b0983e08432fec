"""Strict check of an Olive configuration, without Olive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaffolder.oliveconfig.files import check_files
from scaffolder.oliveconfig.flatten import flatten
from scaffolder.oliveconfig.references import check_references
from scaffolder.oliveconfig.rules import check_rules
from scaffolder.oliveconfig.schema import schema
from scaffolder.oliveconfig.walk import Walk

if TYPE_CHECKING:
    from pathlib import Path

    from scaffolder.oliveconfig.document import Document, Problem


def check(document: Document, *, root: Path) -> list[Problem]:
    """Find everything that is wrong with a configuration, at once.

    Args:
        document: The configuration as read.
        root: The project's folder, to which its relative paths relate.

    Returns:
        Problems in the order of their place; no error among them means that Olive takes the file.
    """
    problems = list(document.problems)
    if document.root is not None:
        tree, nested = flatten(document.root, document.file)
        walk = Walk(document.file)
        walk.check(tree, schema())
        check_references(tree, walk)
        check_rules(tree, walk)
        check_files(tree, walk, root)
        problems += [*nested, *walk.problems]
    return sorted(problems, key=lambda problem: (problem.line, problem.column, problem.severity, problem.message))
