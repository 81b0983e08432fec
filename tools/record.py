"""Turn a terminal recording (text with ANSI colours) on standard input into an SVG picture.

tmux capture-pane -p -e -S -300 | python tools/record.py docs/demo.svg [WIDTH]
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main() -> None:
    """Write the picture named on the command line."""
    width = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(sys.stdin.read().rstrip("\n")), soft_wrap=False)
    svg = console.export_svg(title="make demo")
    # The picture needs no font from elsewhere.
    Path(sys.argv[1]).write_text(re.sub(r"@font-face \{[^}]*\}\s*", "", svg), encoding="utf-8")


if __name__ == "__main__":
    main()
