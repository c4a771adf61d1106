"""Tasks on a cluster: what a worker runs, and how a driver hands tasks out.

A driver keeps a few tasks a worker on the way and no more, so that its memory does not grow with
the archive, and an elastic cluster sees how much there is to do. A task's key names what it makes:
of two drivers that submit the same, the second joins the first one's task. A task whose worker dies
is done again by another one, and so is one whose file system stumbles (`RETRIES` times).
"""

from __future__ import annotations

import contextlib
import errno
import queue
import signal
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch

from imgturbo import __version__
from imgturbo.bundle import Bundle, load_bundle
from imgturbo.bundle.settings import Settings
from imgturbo.errors import ImgturboError
from imgturbo.shipped import PRETRAINED
from imgturbo.stopping import Stopped

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["BundleName", "Here", "Task", "Unfit", "absolute", "handed_out", "passing"]

RETRIES = 2
_AHEAD = 3  # tasks on the way for each thread of a worker
_LEAST = 16  # tasks on the way, so that an elastic cluster has a reason to grow
_LOOK = 5.0  # seconds between looks at how many workers there are
_SAY = 60.0  # seconds without a worker after which that is said
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ECONNRESET, errno.EINTR}
_loading = Lock()


class Unfit(ImgturboError):
    """A worker can do none of the tasks."""


@dataclass(frozen=True)
class BundleName:
    """A bundle as it is sent: its path, or the name of a shipped one; never its weights."""

    word: str
    hash: str
    intervals: str | None = None
    version: str = __version__

    @classmethod
    def of(cls, bundle: Bundle) -> BundleName:
        """The name of a loaded bundle."""
        shipped = bundle.path.parent == PRETRAINED
        word = bundle.path.name if shipped else str(bundle.path.absolute())
        return cls(word, bundle.hash, _intervals(bundle))

    def load(self) -> Bundle:
        """The bundle, loaded once a process.

        Raises:
            Unfit: this machine has another one, none, or another version of this program.
        """
        if self.version != __version__:
            raise Unfit(
                f"a worker has imgturbo {__version__}, not {self.version}; install the same"
            )
        try:
            with _loading:
                return _loaded(self)
        except ImgturboError as error:
            raise Unfit(f"on a worker: {error}") from error


@cache
def _loaded(name: BundleName) -> Bundle:
    found = load_bundle(name.word)
    if found.hash != name.hash:
        raise ImgturboError(
            f"{name.word}: is model {found.hash} on a worker, not {name.hash}; give both the same"
        )
    if _intervals(found) != name.intervals:
        raise ImgturboError(f"{name.word}: is calibrated otherwise on a worker; give both the same")
    return found


def _intervals(bundle: Bundle) -> str | None:
    return None if bundle.intervals is None else bundle.intervals.name


class Here:
    """The worker that a task runs on; made in the task's own thread."""

    def __init__(self) -> None:
        from distributed import get_worker

        self._worker = get_worker()

    @property
    def device(self) -> str | None:
        """Its GPU, where several workers of one machine see all of them; else None."""
        count, name = torch.cuda.device_count(), self._worker.name
        return f"cuda:{name % count}" if isinstance(name, int) and count > 1 else None

    def settings(self, asked: Settings) -> Settings:
        """What was asked for, on this worker's own GPU."""
        return asked if asked.device is not None else replace(asked, device=self.device)

    def check(self) -> None:
        """Stop where the worker has been told to end.

        Raises:
            Stopped: it has.
        """
        from distributed import Status

        if self._worker.status in (Status.closing, Status.closed, Status.failed, Status.stopped):
            raise Stopped(signal.SIGTERM)


def passing(error: BaseException) -> bool:
    """Whether an error may be gone at the next try: of a network or its file system."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _PASSING:
            return True
        error = error.__cause__  # type: ignore[assignment]
    return False


def absolute(path: Any) -> Any:
    """A path that means the same in every working directory; an address stays as it is."""
    return path.absolute() if isinstance(path, Path) and "://" not in str(path) else path


# ------------------------------------------------------------------------------------ the driver


@dataclass(frozen=True)
class Task:
    """Something to do: a function of a module, what it is given, and the key that names it."""

    key: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    of: Any
    """Whatever the driver wants to know it by."""


def handed_out(
    client: Client, tasks: Iterable[Task], say: Callable[[str], None] | None = None
) -> Generator[tuple[Task, Any], None, None]:
    """Do tasks on a cluster, a few at a time; close it, and what is left is dropped.

    Args:
        client: of the cluster.
        tasks: drawn as they are needed.
        say: told where no worker comes.

    Yields:
        Each task that has ended with its result, or with the exception that it raised.

    Raises:
        ImgturboError: the scheduler is gone, or the workers have no such program.
    """
    ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
    on_way: dict[str, tuple[Task, Future]] = {}
    waiting, room = iter(tasks), _Room(client, say)
    more = True
    try:
        while True:
            while more and len(on_way) < room.now():
                task = next(waiting, None)
                if more := task is not None:
                    future = client.submit(
                        task.function, *task.arguments, key=task.key, retries=RETRIES, pure=False
                    )
                    on_way[task.key] = task, future
                    future.add_done_callback(ended.put)
            if not on_way:
                return
            try:
                future = ended.get(timeout=1.0)
            except queue.Empty:
                continue
            task, _ = on_way.pop(str(future.key))
            yield task, _result(client, future)
            del future
    finally:
        with contextlib.suppress(Exception):  # what ended it is what must be known
            client.cancel([future for _, future in on_way.values()])


class _Room:
    """How many tasks should be on the way."""

    def __init__(self, client: Client, say: Callable[[str], None] | None) -> None:
        self._client, self._say = client, say
        self._threads, self._looked, self._empty = 0, -_LOOK, time.monotonic()

    def now(self) -> int:
        if (now := time.monotonic()) - self._looked >= _LOOK:
            self._looked = now
            try:
                self._threads = sum(self._client.nthreads().values())
            except (OSError, TimeoutError):  # that it is gone, the tasks will tell
                self._threads = 0
            if self._threads:
                self._empty = now
            elif self._say is not None and now - self._empty >= _SAY:
                self._empty = now
                self._say("the cluster has no workers yet; the work begins when one comes")
        return max(_LEAST, _AHEAD * self._threads)


def _result(client: Client, future: Future) -> Any:
    """What a task gave, or the exception that it raised."""
    if future.status == "finished":
        return future.result()
    if future.status != "error":
        raise ImgturboError(
            f"{client.scheduler.address}: the scheduler is gone, or was told to drop this work; "
            "the same command continues"
        )
    error = future.exception()
    if isinstance(error, ModuleNotFoundError):
        raise ImgturboError(
            f"the workers have no {error.name}; install imgturbo {__version__} where they run"
        ) from error
    return error
