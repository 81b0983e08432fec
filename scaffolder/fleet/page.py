"""The fleet's table as a page: one file, no script, readable on a telephone."""

from __future__ import annotations

import html
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaffolder.fleet.survey import Row

_STYLE = """
:root { color-scheme: light dark; --line: #d0d7de; --dim: #59636e; --good: #1a7f37; --warn: #9a6700; --bad: #cf222e }
@media (prefers-color-scheme: dark) {
  :root { --line: #3d444d; --dim: #9198a1; --good: #3fb950; --warn: #d29922; --bad: #f85149 }
}
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
h1 { font-size: 1.4rem; margin: 0 0 .25rem } .dim { color: var(--dim) }
ul.sums { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; list-style: none; padding: 0; margin: 1rem 0 }
ul.sums b { font-size: 1.3rem }
table { border-collapse: collapse; width: 100% } th { text-align: left; color: var(--dim); font-weight: 500 }
th, td { border-bottom: 1px solid var(--line); padding: .4rem .6rem; vertical-align: top }
th { white-space: nowrap } td:first-child { min-width: 9rem; overflow-wrap: anywhere }
td small { overflow-wrap: anywhere }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums }
.good { color: var(--good) } .warn { color: var(--warn) } .bad { color: var(--bad) }
small { display: block; color: var(--dim) }
@media (max-width: 640px) {
  thead { position: absolute; left: -9999px }
  tr { display: block; border-bottom: 1px solid var(--line); padding: .5rem 0 }
  td { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .1rem 0 }
  td::before { content: attr(data-name); color: var(--dim); flex: none } td.n { text-align: inherit }
  td > div { text-align: right; min-width: 0 } td:has(> div:empty) { display: none }
}
"""
_COLUMNS = ("project", "state", "version", "behind", "your changes", "conflicts", "last verified run")
_NUMBERS = {"behind", "your changes", "conflicts"}
_COLOURS = {"up to date": "good", "updated": "good", "proposed": "good", "already proposed": "good", "failed": "bad"}


def page(rows: Sequence[Row], *, title: str = "Projects and their template") -> str:
    """Return the table as HTML; every text in it is escaped."""
    counts = Counter(row.state for row in rows)
    sums = "".join(f'<li class="{_colour(state)}"><b>{count}</b> {state}</li>' for state, count in counts.items())
    newest = ", ".join(sorted({row.newest for row in rows if row.newest}))
    head = "".join(f'<th scope="col"{_number(name)}>{name}</th>' for name in _COLUMNS)
    body = "\n".join(map(_row, rows))
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{_STYLE}</style></head>
<body>
<h1>{html.escape(title)}</h1>
<div class="dim">{len(rows)} projects; newest template: {html.escape(newest) or "unknown"}</div>
<ul class="sums">{sums}</ul>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table>
</body></html>
"""


def _row(row: Row) -> str:
    conflicts = "".join(f"<small>{html.escape(one.path)}: {html.escape(one.kind)}</small>" for one in row.conflicts)
    message = f"<small>{html.escape(row.message)}</small>" if row.message else ""
    state = f'<span class="{_colour(row.state)}">{row.state}</span>{message}'
    known = bool(row.version)
    cells = (
        html.escape(row.name),
        state,
        html.escape(row.version),
        str(row.behind) if known else "",
        str(row.user_changes) if known else "",
        (str(len(row.conflicts)) if known else "") + conflicts,
        html.escape(row.last_run[:16].replace("T", " ")),
    )
    return (
        "<tr>"
        + "".join(
            f'<td data-name="{name}"{_number(name)}><div>{cell}</div></td>'
            for name, cell in zip(_COLUMNS, cells, strict=True)
        )
        + "</tr>"
    )


def _colour(state: str) -> str:
    return _COLOURS.get(state, "warn")


def _number(column: str) -> str:
    return " class=n" if column in _NUMBERS else ""
