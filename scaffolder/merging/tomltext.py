"""Puts the outcome of a merge by key into TOML text; tomlkit keeps the comments."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from scaffolder.merging.keys import MISSING, merge_keys, same

if TYPE_CHECKING:
    from scaffolder.merging.keys import Edit


def merge_toml(base: str, ours: str, theirs: str, *, prefer: str = "") -> tuple[str | None, list[str]]:
    """Merge three TOML texts by key.

    Returns:
        The user's text with the template's changes in it, and the keys in conflict. The text is None where there
        are conflicts, where a text cannot be read, or where the edits would not give the merged value.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        found = merge_keys(*(tomllib.loads(text) for text in (base, ours, theirs)), prefer=prefer)
        if found.conflicts:
            return None, found.conflicts
        document, template = tomlkit.parse(ours), tomlkit.parse(theirs)
        for edit in found.edits:
            _apply(document, template, edit)
        text = tomlkit.dumps(document)
        return (text, []) if same(tomllib.loads(text), found.merged) else (None, [])
    except (ValueError, TOMLKitError, LookupError, TypeError):
        return None, []


def is_sound_toml(text: str) -> bool:
    """Whether a text is TOML."""
    try:
        tomllib.loads(text)
    except ValueError:
        return False
    return True


def _apply(document: Any, template: Any, edit: Edit) -> None:
    *parents, last = edit.path
    holder, source = document, template
    for part in parents:
        holder = holder[part]
        source = source[part] if edit.value is not MISSING else source
    if edit.value is MISSING:
        del holder[last]
    else:
        holder[last] = source[last]
