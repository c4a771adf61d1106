"""Long work shows itself: a bar with its rate on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["Report", "task"]

Report = Callable[[str, float], None]
"""``report(what, fraction)``: what is being done, and how much of the whole is done, 0 to 1."""

_PLAIN_EVERY = 10.0  # seconds between lines of a log without a terminal
_PLAIN_FIRST = 2.0  # seconds until the first: what fails at once says only why


@contextmanager
def task(name: str) -> Iterator[Report]:
    """Show a task's progress on standard error; yields the function that reports it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain(name)
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[what]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task(name, total=1.0, what="")
        yield lambda what, fraction: bars.update(bar, completed=fraction, what=what)


def _plain(name: str) -> Report:
    last = time.monotonic() - _PLAIN_EVERY + _PLAIN_FIRST

    def report(what: str, fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PLAIN_EVERY:
            last = now
            print(f"{name}: {what} ({fraction:.0%})", file=sys.stderr, flush=True)

    return report
