"""Merges three trees of files: what a template made, what it makes now, and what the user has."""

from scaffolder.merging.conflicts import Choices, Conflict, Mode, read_choices
from scaffolder.merging.trees import Merge, Workspace, merge_trees

__all__ = ["Choices", "Conflict", "Merge", "Mode", "Workspace", "merge_trees", "read_choices"]
