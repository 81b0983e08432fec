"""Templates: where they come from, their versions, and what they render; the only importer of copier."""

from scaffolder.templating.answers import Answers, read_answers, refuse_unasked
from scaffolder.templating.history import History, Version, open_history
from scaffolder.templating.origin import Origin, find_origin
from scaffolder.templating.rendering import Question, Rendered, render, render_tree
from scaffolder.templating.shipped import shipped_template

__all__ = [
    "Answers", "History", "Origin", "Question", "Rendered", "Version",
    "find_origin", "open_history", "read_answers", "refuse_unasked", "render", "render_tree", "shipped_template",
]  # fmt: skip
