"""One input of a campaign: what is tried with it, under which limits, and how that ended.

An input ends as

    ok              it was read, and :attr:`Trial.check` finds nothing wrong
    clean           refused by an ImgturboError in one line, and :attr:`Trial.refused` finds nothing
    defect:KIND     exception, hang, stuck, crash, growth, message, silent, or a Defect's own kind
"""

from __future__ import annotations

import os
import random
import resource
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from imgturbo.errors import ImgturboError

__all__ = ["ROOT", "Defect", "Limits", "Result", "Trial", "one", "tried"]

ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 2000  # characters of a message that a person reads


def nothing(_: Any) -> str | None:
    """Nothing to be said against it."""
    return None


@dataclass(frozen=True)
class Trial:
    """One input, made and ready to be tried.

    Args:
        recipe: what was done to the input, a line each.
        call: what the product does with it.
        check: what is wrong with what ``call`` gave, or None: a silent defect, whose group is what
            stands before the first colon.
        refused: what is wrong after an ImgturboError, such as a file left behind; or None.
        growth: MB that memory may grow, where it is not as in :class:`Limits`.
    """

    recipe: Sequence[str]
    call: Callable[[], Any]
    check: Callable[[Any], str | None] = nothing
    refused: Callable[[ImgturboError], str | None] = nothing
    growth: float | None = None


@dataclass(frozen=True)
class Limits:
    """Of one input.

    Args:
        seconds: of work until the alarm.
        shared: how much longer it may take on the clock, since other work may have the machine.
        space: GB of address space in a child; 0: any.
        growth: MB that its memory may grow.
        patience: seconds on the clock more until a child that hears no alarm is killed.
    """

    seconds: float = 10.0
    space: float = 4.0
    growth: float = 600.0
    patience: float = 30.0
    shared: float = 12.0


@dataclass(frozen=True)
class Result:
    """How one input ended; ``group`` is where, without what differs from input to input."""

    number: int
    outcome: str
    group: str = ""
    detail: str = ""
    recipe: list[str] = field(default_factory=list)

    @property
    def defect(self) -> bool:
        return self.outcome.startswith("defect")


class Defect(Exception):
    """What a campaign found wrong itself, in the middle of a call."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class _Hang(BaseException):
    """The alarm's; no Exception, so that no reader takes it for the file's fault."""


def _alarm(_: int, __: FrameType | None) -> None:
    raise _Hang


# ------------------------------------------------------------------------------- one input


def tried(number: int, trial: Trial, limits: Limits) -> Result:
    """Do what the trial says and judge how it ended."""

    def ended(outcome: str, group: str = "", detail: str = "") -> Result:
        return Result(number, outcome, group, detail, list(trial.recipe))

    _forget_peak()
    before = _peak()
    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, limits.seconds),
        signal.SIGALRM: (signal.ITIMER_REAL, limits.shared * limits.seconds),
    }
    for heard, (timer, seconds) in timers.items():
        signal.signal(heard, _alarm)
        signal.setitimer(timer, seconds, 1.0)  # again, if someone swallows one
    try:
        found = ended("ok")
        wrong = trial.check(trial.call())
        if wrong:
            found = ended("defect:silent", wrong.split(":")[0], wrong)
    except ImgturboError as error:
        found = ended("clean", "", str(error))
        wrong = trial.refused(error)
        if wrong:
            found = ended("defect:silent", wrong.split(":")[0], wrong)
        elif len(str(error)) > _LONGEST or not str(error).isprintable():
            found = ended("defect:message", _place(error), str(error)[:_LONGEST])
    except Defect as error:
        found = ended(f"defect:{error.kind}", str(error).split(":")[0], str(error))
    except _Hang as error:
        found = ended("defect:hang", _place(error), _trace(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # Rust's panics too
        found = ended("defect:exception", _place(error), _trace(error))
    finally:
        for heard, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(heard, signal.SIG_IGN)
    grown = (_peak() - before) / 1e6
    if not found.defect and grown > (trial.growth or limits.growth):
        return ended("defect:growth", found.outcome, f"{grown:.0f} MB; {found.detail}")
    return found


def _place(error: BaseException) -> str:
    """The exception's kind, the innermost line of the project and the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f"{os.sep}imgturbo{os.sep}" in f.filename.removeprefix(str(ROOT))
            or f"{os.sep}data_prep{os.sep}" in f.filename]  # fmt: skip

    def named(frame: traceback.FrameSummary) -> str:
        return f"{os.sep.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}"

    inner = named(ours[-1]) if ours else "?"
    return f"{type(error).__name__} at {inner} in {named(frames[-1]) if frames else '?'}"


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-4000:]


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: the peak of the whole child counts
        return


def _peak() -> int:
    """Bytes of memory at the most since the last :func:`_forget_peak`."""
    try:
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def one(campaign: Any, state: Any, seed: int, number: int, folder: Path, limits: Limits) -> Result:
    """Make the input of (seed, number) and try it."""
    trial = campaign.attempt(state, random.Random(f"{seed}/{number}"), folder)
    return tried(number, trial, limits)
