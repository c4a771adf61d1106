"""Long work shows itself: a bar with its rate on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["ProgressReport", "Report", "task"]

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


class ProgressReport:
    """A bar with its rate on a terminal, plain lines elsewhere; silent in all but one process."""

    def __init__(self, steps: int, shown: bool) -> None:
        self._console = Console(stderr=True)
        self._steps, self._shown = steps, shown
        self._bar: Progress | None = None
        if shown and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("[bold]training"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("[dim]{task.description}"),
                console=self._console,
            )
            self._task = self._bar.add_task("", total=steps)

    def __enter__(self) -> ProgressReport:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, step: int) -> None:
        """``step`` updates have been made."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def values(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of a logged step."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=text)
        else:
            self.line(f"step {step}/{self._steps}  {text}")

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """A validation's scores."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self.line(f"validation at step {step}: {text or 'no pairs to score'}")

    def line(self, text: str) -> None:
        """A line of its own, such as a validation score or a warning."""
        if not self._shown:
            return
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)
