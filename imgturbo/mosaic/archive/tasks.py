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
from imgturbo.remote import readable
from imgturbo.shipped import PRETRAINED
from imgturbo.stopping import Stopped

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = [
    "MORE_MEMORY",
    "BundleName",
    "Here",
    "Task",
    "Unfit",
    "absolute",
    "handed_out",
    "passing",
]

RETRIES = 2
_AHEAD = 3  # tasks on the way for each thread of a worker
_LEAST = 16  # tasks on the way, so that an elastic cluster has a reason to grow
_LOOK = 5.0  # seconds between looks at how many workers there are
_SAY = 60.0  # seconds without a worker, or without one that moves, after which that is said
_LOST = 3  # workers that end, and no task is done, before that is said
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ECONNRESET, errno.EINTR}
_loading = Lock()


MORE_MEMORY = (
    "give workers more memory (--memory-limit 0 of 'dask worker', memory=4GB in --slurm, fewer "
    "--jobs of local ones)"
)
"""What helps where workers end, or stand still, before they have done anything."""


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


def absolute(path: Path | str) -> Path:
    """A path that means the same in every working directory; an address stays as it is."""
    return readable(path).absolute()


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
        say: told where no worker comes, or those that come end, or stand still.

    Yields:
        Each task that has ended with its result, or with the exception that it raised.

    Raises:
        ImgturboError: the scheduler is gone, or the workers have no such program.
    """
    ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
    on_way: dict[str, tuple[Task, Future]] = {}
    waiting, watch = iter(tasks), _Watch(client, say)
    more = True
    try:
        while True:
            watch.look()
            while more and len(on_way) < watch.room:
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
            if future.status == "finished":
                watch.moved()
            yield task, _result(client, future)
            del future
    finally:
        with contextlib.suppress(Exception):  # what ended it is what must be known
            client.cancel([future for _, future in on_way.values()])


class _Watch:
    """How many tasks should be on the way, and whether anything moves.

    A worker whose memory limit is too small for what it loads is ended by its nanny and begun anew,
    or paused, for ever and without a word.
    """

    def __init__(self, client: Client, say: Callable[[str], None] | None) -> None:
        self._client, self._say = client, say
        self._workers: set[str] = set()
        self._threads, self._lost = 0, 0
        self._looked, self._still = -_LOOK, time.monotonic()

    @property
    def room(self) -> int:
        """Tasks that should be on the way."""
        return max(_LEAST, _AHEAD * self._threads)

    def moved(self) -> None:
        """A task is done."""
        self._lost, self._still = 0, time.monotonic()

    def look(self) -> None:
        """Look at the workers, every few seconds, and say what stands still."""
        if (now := time.monotonic()) - self._looked < _LOOK:
            return
        self._looked = now
        try:
            threads = self._client.nthreads()
        except (OSError, TimeoutError):  # that it is gone, the tasks will tell
            threads = {}
        self._lost += len(self._workers - set(threads))
        self._workers, self._threads = set(threads), sum(threads.values())
        if self._say is None or now - self._still < _SAY:
            return
        if (what := self._trouble()) is not None:
            self._still = now
            self._say(what)

    def _trouble(self) -> str | None:
        if self._lost >= _LOST:
            return (
                f"{self._lost} workers have ended and nothing was done meanwhile, for want of "
                f"memory as a rule; {MORE_MEMORY}"
            )
        if not self._workers:
            return "the cluster has no workers yet; the work begins when one comes"
        try:
            known = self._client.scheduler_info(n_workers=-1)["workers"].values()
        except (OSError, TimeoutError):
            return None
        limits = [worker["memory_limit"] or 0 for worker in known if worker["status"] == "paused"]
        if not limits or len(limits) < len(self._workers):
            return None
        return (
            f"all {len(limits)} workers stand still at their limit of memory "
            f"({min(limits) / 1e9:.1f} GB); {MORE_MEMORY}"
        )


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
