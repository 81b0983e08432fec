"""How changes, notes and conflicts of an update are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from scaffolder.merging import Conflict
    from scaffolder.updater import Change, Notes

_SIGNS = {"added": ("+", "green"), "changed": ("~", "yellow"), "deleted": ("-", "red"), "moved": (">", "cyan")}
_LONGEST = 30


def changes_view(title: str, changes: Sequence[Change]) -> list[RenderableType]:
    """Return a heading and a line a file; nothing where there are none."""
    from rich.text import Text

    if not changes:
        return []
    lines: list[RenderableType] = [Text(f"\n{title}", style="bold")]
    for change in changes[:_LONGEST]:
        sign, colour = _SIGNS[change.kind]
        moved = f"{change.before} → " if change.before else ""
        lines.append(Text.assemble((f"  {sign} ", colour), f"{moved}{change.path}"))
    if len(changes) > _LONGEST:
        lines.append(Text(f"  … and {len(changes) - _LONGEST} more"))
    return lines


def notes_view(notes: Sequence[Notes]) -> list[RenderableType]:
    """Return the changelog's lines by version."""
    from rich.padding import Padding
    from rich.text import Text

    lines: list[RenderableType] = []
    for note in notes:
        lines.append(Text(f"\n{note.version}", style="bold"))
        lines += [Padding(Text(f"- {line}"), (0, 0, 0, 2), expand=False) for line in note.lines]
    return lines


def conflicts_view(conflicts: Sequence[Conflict]) -> list[RenderableType]:
    """Return a table of files in conflict; nothing where there are none."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if not conflicts:
        return []
    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in ("file", "conflict", "places", "keys", "settled"):
        table.add_column(name, overflow="fold", justify="right" if name == "places" else "left")
    for conflict in conflicts:
        settled = conflict.mode.value if conflict.mode.value != "stop" else ""
        table.add_row(conflict.path, conflict.kind, str(conflict.hunks), ", ".join(conflict.keys), settled)
    return [Text("\nconflicts", style="bold"), table]
