"""What was found in a file: counted by kind, the first few kept with their places."""

from __future__ import annotations

from typing import Any

# Enough to see what is wrong; the counts say how often.
_SHOWN = 10
ERROR, WARNING = "error", "warning"

# kind: severity, and the remedy for all of its kind
KINDS: dict[str, tuple[str, str]] = {
    "unreadable": (ERROR, "`scaffolder data import` reads other formats and encodings"),
    "encoding": (ERROR, "`scaffolder data import FILE` converts it to UTF-8"),
    "syntax": (ERROR, "one JSON object a line"),
    "too-long": (ERROR, "split the row, or leave it out"),
    "missing-column": (
        ERROR,
        "`scaffolder data import FILE --prompt COLUMN --response COLUMN` renames them; to keep other names, give them "
        "under [dataset] in scaffolder.toml and in the configuration's pre_process_data_config",
    ),
    "no-text": (ERROR, "every example needs text to read and text to learn"),
    "roles": (ERROR, "a conversation is system (once, first), then user and assistant, and ends with assistant"),
    "no-rows": (ERROR, "put your examples there, one JSON object a line"),
    "order": (WARNING, "many chat templates refuse turns that do not alternate"),
    "duplicate": (WARNING, "`scaffolder data split` keeps equal rows on one side; delete what is there twice"),
    "near-duplicate": (WARNING, "look at the pairs: what is nearly the same teaches little"),
    "in-both": (WARNING, "an example in both files makes every figure meaningless: `scaffolder data split`"),
    "near-in-both": (WARNING, "`scaffolder data split` keeps what is nearly the same on one side"),
    "prompt-in-both": (WARNING, "the model saw the question in training: `scaffolder data split`"),
    "cut": (WARNING, "raise max_seq_len, or shorten the rows"),
    "untrained": (WARNING, "the question alone fills max_seq_len: these rows are left out"),
    "special-token": (WARNING, "the tokenizer reads it as control, not as text"),
    "secret": (WARNING, "the model can repeat it: take it out and revoke it"),
    "personal": (WARNING, "the model can repeat it: take it out where you may not use it"),
    "characters": (WARNING, "the text was damaged before it came here"),
}


class Findings:
    """The findings of one file.

    Args:
        file: How messages name it.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[str, dict[str, Any]] = {}

    def add(self, kind: str, message: str, line: int | None = None, column: int | None = None, count: int = 1) -> None:
        """Count a finding, and keep it while there are few of its kind."""
        severity, hint = KINDS[kind]
        entry = self._found.setdefault(
            kind, {"file": self.file, "kind": kind, "severity": severity, "count": 0, "hint": hint, "places": []}
        )
        entry["count"] += count
        if len(entry["places"]) < _SHOWN:
            entry["places"].append({"line": line, "column": column, "message": message})

    def listed(self) -> list[dict[str, Any]]:
        """Return the findings, errors first, each with its count and first places."""
        order = list(KINDS)
        return sorted(self._found.values(), key=lambda entry: order.index(entry["kind"]))
