"""One thread that does small jobs in order while the main thread computes.

Reading the next window and writing the last one cost little next to the network, but done in
sequence they add up to more than the 15 % that the translator may lose to them. A lane is bounded:
whoever submits waits once `depth` jobs are pending, so memory is too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["Lane", "ahead"]

T = TypeVar("T")
U = TypeVar("U")


class Lane:
    """Jobs run in the order given; the first one that fails is raised by a later call."""

    def __init__(self, depth: int = 2) -> None:
        self._depth = depth
        self._pool = ThreadPoolExecutor(1)
        self._pending: deque[Future[Any]] = deque()

    def submit(self, job: Callable[..., None], *args: Any) -> None:
        """Queue a job; waits while `depth` are pending."""
        while len(self._pending) >= self._depth:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(job, *args))

    def drain(self) -> None:
        """Wait for all of them."""
        while self._pending:
            self._pending.popleft().result()

    def __enter__(self) -> Lane:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.drain()
        finally:
            self._pool.shutdown(cancel_futures=True)


def ahead(read: Callable[[T], U], items: Iterable[T]) -> Iterator[tuple[T, U]]:
    """(item, read(item)) in order, each read while the one before it is being used."""
    with ThreadPoolExecutor(1) as pool:
        pending: tuple[T, Future[U]] | None = None
        try:
            for item in items:
                following = (item, pool.submit(read, item))
                if pending is not None:
                    yield pending[0], pending[1].result()
                pending = following
            if pending is not None:
                yield pending[0], pending[1].result()
        finally:
            pool.shutdown(cancel_futures=True)
