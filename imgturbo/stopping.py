"""Ends that come from outside: a signal, or a parent that is no more.

A command is told to stop by SIGINT (Ctrl-C) or SIGTERM. Under :func:`signals_stop` both raise
:class:`Stopped`, so that whatever is open is put away as after any other end, the user is told in
a line how to go on, and the status is 130 or 143, as shells have it. A second signal acts at once.

Processes that work for another one end with it, even if it is killed and can tell nobody: those of
:func:`workers`, from the first line that they run, and those that a launcher started
(:func:`end_with_launcher`).
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from types import FrameType
from typing import Any, NoReturn

__all__ = ["Stopped", "alone", "end_with_launcher", "going_on", "signals_stop", "workers"]

_PR_SET_PDEATHSIG = 1
_PATIENCE = 5.0  # seconds for a launcher to answer
_FIRST = (
    f"import ctypes, os; ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {int(signal.SIGKILL)}); "
    "os.getppid() == {parent} or os._exit(1); "
)
"""What a worker runs before it loads anything: it ends with its parent, or has lost it already."""


class Stopped(BaseException):
    """A signal ended the work; no Exception, since nothing has failed.

    Args:
        number: of the signal.
        message: what the user is told; empty: which signal it was, and :attr:`advice`.
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(number)
        self.number, self.message = number, message
        self.advice = "the same command begins anew"

    @property
    def status(self) -> int:
        """What the process exits with."""
        return 128 + self.number

    def __str__(self) -> str:
        return self.message or f"stopped by {signal.Signals(self.number).name}; {self.advice}"


@contextmanager
def signals_stop() -> Iterator[None]:
    """While the block runs, SIGINT and SIGTERM raise :class:`Stopped`; each once.

    A signal that is ignored, as in the background, stays so; and Python has handlers in its main
    thread alone.
    """
    before: dict[int, Any] = {}

    def stop(number: int, _: FrameType | None) -> NoReturn:
        for each, handler in before.items():
            signal.signal(each, handler)
        raise Stopped(number)

    if threading.current_thread() is threading.main_thread():
        for own, usual in (
            (signal.SIGINT, signal.default_int_handler),
            (signal.SIGTERM, signal.SIG_DFL),
        ):
            if signal.getsignal(own) == usual:
                before[own] = signal.signal(own, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is stop:
                signal.signal(number, handler)


@contextmanager
def going_on(advice: str) -> Iterator[None]:
    """Say how to go on if the block is stopped.

    Args:
        advice: such as ``"the same command continues"``.
    """
    try:
        yield
    except Stopped as stopped:
        stopped.advice = advice
        raise


# ------------------------------------------------------------------------ who works for others


class _Worker(SpawnProcess):
    """A fresh interpreter that ends with its parent while it is still starting, too.

    What it imports before it is told anything, the parent's main module among it, takes seconds,
    and on a busy machine many; a parent that is killed meanwhile would be missed only after that.
    """

    _one_at_a_time = threading.Lock()

    def start(self) -> None:
        """Start it, with :data:`_FIRST` before what Python lets it run."""
        plain = spawn.get_command_line

        def first(**options: Any) -> list[str]:
            words = plain(**options)
            if sys.platform == "linux" and "-c" in words:  # not if all of Python is frozen
                program = words.index("-c") + 1
                words[program] = _FIRST.format(parent=os.getpid()) + words[program]
            return words

        with self._one_at_a_time:
            spawn.get_command_line = first
            try:
                super().start()
            finally:
                spawn.get_command_line = plain


class _Workers(SpawnContext):
    Process = _Worker


@contextmanager
def workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh interpreters, which end with the block and with this process.

    After an error the jobs that are running come to their end, for what they write is kept; after a
    signal they are ended.
    """
    before = set(multiprocessing.active_children())
    # Fresh interpreters: a fork of a process that runs threads may hang.
    pool = ProcessPoolExecutor(count, _Workers(), initializer=_obey, initargs=(os.getpid(),))
    try:
        yield pool
    except Exception:
        raise
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def alone(script: str, *words: str, **environment: str) -> dict[str, Any]:
    """Arguments of ``subprocess.Popen`` for a file of this package that runs as a program.

    It may crash without harm here, and finds the modules that are found here. Nothing is said to
    it, and nothing that it says is shown.

    Args:
        script: the file, which then must import nothing of this package.
        words: for it.
        environment: set besides.
    """
    places = os.pathsep.join(place for place in sys.path if place)
    return {
        "args": [sys.executable, "-P", os.path.abspath(script), *words],
        "env": {**os.environ, "PYTHONPATH": places, **environment},
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }


def end_with_launcher() -> None:
    """Let this process end with the ``torchrun`` or ``accelerate launch`` that started it.

    It may have been killed before this is called, while the interpreter was starting: then it has
    left the place where the processes of a job meet, and without that they would wait for days.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _end_with(os.getppid())
        if _launcher_is_gone():
            os._exit(1)


def _launcher_is_gone() -> bool:
    """Whether nobody listens any more where a launcher lets its processes meet."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return False
    place = os.environ.get("MASTER_ADDR", ""), int(os.environ.get("MASTER_PORT", "0"))
    try:
        with socket.create_connection(place, _PATIENCE):
            return False
    except ConnectionRefusedError:
        return True
    except OSError:  # a name that is not known yet, a slow network: who meets there will see
        return False


def _obey(parent: int) -> None:
    """Of a worker: Ctrl-C is the parent's business, and its end is the worker's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _end_with(parent)


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    elif (alive := multiprocessing.parent_process()) is not None:  # known of our own workers alone

        def watch() -> None:
            alive.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
    if os.getppid() != parent:  # it ended before this was said
        os._exit(1)
