"""What is printed: answers, notices and mistakes, each once, however many processes there are."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any, NoReturn

import typer

from imgturbo.stopping import Stopped

__all__ = ["fail", "leave", "note", "say", "stop"]


def say(message: object) -> None:
    """Print on standard output, once of all processes that `accelerate launch` has started."""
    if _first():
        typer.echo(message)


def note(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Stand in for ``warnings.showwarning``: a notice to the user is one line on standard error.

    Those of libraries to developers are not shown.
    """
    if issubclass(category, UserWarning) and _first():
        print(f"note: {' '.join(str(message).split())}", file=sys.stderr)


def fail(message: str) -> NoReturn:
    """Name a mistake of the user's in one line on standard error, and exit with status 2."""
    print(f"error: {message}", file=sys.stderr)
    leave(2)


def leave(status: int) -> NoReturn:
    """End the process with a status.

    One of several ends without Python's own end: DistributedDataParallel keeps torch's threads
    between the processes alive beyond their group, and one that is still letting go of a tensor
    when the interpreter is gone under it aborts a process that had done all its work (measured: 1
    of 48 ends on a busy machine).
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        sys.exit(status)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def stop(stopped: Stopped) -> NoReturn:
    """Say in one line on standard error that a signal ended the work, and exit as shells do."""
    if _first():
        print(stopped, file=sys.stderr)
    leave(stopped.status)


def _first() -> bool:
    return os.environ.get("RANK", "0") == "0"
