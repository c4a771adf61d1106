"""Where training data come from: one contract for stores, priors and simulators.

A source gives the batch of every step as a pure function of (seed, step, rank, world size), so that
a killed run reads on as if nothing had happened (law 5). What the two spaces are is said by its
sides; what data they are, by its digest, which a checkpoint remembers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from imgturbo.data.batch import Batch
from imgturbo.side import Side

__all__ = ["Source"]


class Source(ABC):
    """Training data: batches by their step, and validation samples.

    Attributes:
        name: what error messages call it: the path of a store, or what is drawn.
        source, target: what z and x are.
        digest: 16 hexadecimal digits that change with the data.
        extent: the side in pixels of the images of its batches; None for tables of numbers.
        batch_size: samples a process and step.
        workers: threads that prepare batches ahead.
    """

    name: str
    source: Side
    target: Side
    digest: str
    extent: int | None
    batch_size: int
    workers: int = 0

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """The batch of a step (from 0), always the same for the same step."""

    @abstractmethod
    def validation(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """Batches that nothing is trained on, always the same ones.

        Args:
            batch_size: samples a batch; the last one may be smaller.
            limit: at most so many samples.
        """

    @abstractmethod
    def alone(self) -> Source:
        """The same data as a single process reads them: equal in all processes."""

    def iterate(self, first_step: int = 0) -> Iterator[Batch]:
        """Batches of ``first_step``, ``first_step + 1``, … without end.

        With ``workers`` > 0 that many threads prepare the next batches; the batches are the same.
        """
        step = first_step
        if self.workers == 0:
            while True:
                yield self.batch(step)
                step += 1
        with ThreadPoolExecutor(self.workers, thread_name_prefix="batches") as pool:
            waiting: deque[Future[Batch]] = deque()
            try:
                while True:
                    while len(waiting) < self.workers + 1:
                        waiting.append(pool.submit(self.batch, step))
                        step += 1
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
