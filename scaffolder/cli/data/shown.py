"""What several commands about data show alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from scaffolder.cli.output import Output


@contextlib.contextmanager
def rows_read(output: Output) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a sink for `rows` events: one line that counts up on a terminal, nothing elsewhere."""
    if not output.live:
        yield lambda _event: None
        return
    with output.talk.status("starting") as status:
        yield lambda event: status.update(f"{event['file']}: {event['rows']:,} rows")
