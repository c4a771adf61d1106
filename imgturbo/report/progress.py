"""Long work shows itself: a bar with its rate on a terminal, plain lines elsewhere.

Work tells how far it is either as a fraction of the whole, with a word on what is being done, or as
so many of a known number of steps, with the numbers that a step brought. Both look alike.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["Report", "WorkProgress", "task"]

Report = Callable[[str, float], None]
"""``report(what, fraction)``: what is being done, and how much of the whole is done, 0 to 1."""

_PLAIN_EVERY = 10.0  # seconds between lines of a log without a terminal
_PLAIN_FIRST = 2.0  # seconds until the first: what fails at once says only why


class WorkProgress:
    """What people see, on standard error, of one long piece of work while it runs.

    It is used as ``with WorkProgress("preparing tiles") as report: report("field A", 0.25)``, and
    so is itself a ``Report``; work in steps calls ``advance``, ``values`` and ``scores``.

    Args:
        name: of the work, such as "preparing tiles".
        steps: how many there are to do; None: the work tells fractions.
        shown: False for all but one of several processes, which then say nothing.
    """

    def __init__(self, name: str, steps: int | None = None, *, shown: bool = True) -> None:
        self._name, self._steps, self._shown = name, steps, shown
        self._said = time.monotonic() - _PLAIN_EVERY + _PLAIN_FIRST
        self._bar: Progress | None = None
        console = Console(stderr=True)
        if shown and console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", style="bold", markup=False),
                BarColumn(),
                _Done(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[what]}", style="dim", markup=False),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(name, total=steps or 1.0, what="", steps=steps)

    def __enter__(self) -> WorkProgress:
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

    def __call__(self, what: str, fraction: float) -> None:
        """``fraction`` of the work, 0 to 1, is done, and ``what`` comes now."""
        if self._bar is not None:
            total = self._steps or 1.0
            self._bar.update(self._task, completed=fraction * total, what=what)
            return
        now = time.monotonic()
        if now - self._said >= _PLAIN_EVERY:
            self._said = now
            self.line(f"{self._name}: {what} ({fraction:.0%})")

    def advance(self, step: int) -> None:
        """``step`` steps have been made."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def values(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of a step, beside the bar or as a line."""
        text = _listed(values)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, what=text)
        else:
            self.line(f"step {step}/{self._steps}  {text}")

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """A validation's scores, as a line that stays."""
        self.line(f"validation at step {step}: {_listed(scores) or 'no pairs to score'}")

    def line(self, text: str) -> None:
        """A line of its own that stays, such as a warning."""
        if not self._shown:
            return
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)


def task(name: str) -> WorkProgress:
    """Progress of work that tells the fraction that is done.

    Args:
        name: of the work.

    Returns:
        What ``with`` makes a ``Report`` of.
    """
    return WorkProgress(name)


class _Done(ProgressColumn):
    """How much is done and how fast: ``37%``, or ``120/500 3.1/s`` of steps."""

    def render(self, task: Task) -> Text:
        if task.fields["steps"] is None:
            return Text(f"{task.percentage:>3.0f}%", style="progress.percentage")
        speed = task.finished_speed or task.speed
        rate = "" if speed is None else f" {speed:.3g}/s"
        return Text(f"{task.completed:.0f}/{task.total:.0f}{rate}", style="progress.percentage")


def _listed(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
