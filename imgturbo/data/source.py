"""Where training data come from: one contract for stores, priors and simulators.

A source gives the batch of every step as a pure function of (seed, step, rank, world size), so that
a killed run reads on as if nothing had happened (law 5). With B samples a process and J = B · world
in all, sample p of step s has the global number

    g = s·J + p,      p ∈ [r·B, (r+1)·B) for rank r,

and everything about it is a function of g: so two ranks of B see, at every step, what one rank of
2B would. What the two spaces are is said by the source's sides; what data they are, by its digest,
which a checkpoint remembers.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from imgturbo.config import DataConfig
from imgturbo.data.batch import Batch
from imgturbo.errors import ImgturboError
from imgturbo.side import Side

__all__ = ["Extents", "Source", "asked_fraction", "numbers_of", "pairs_among"]


class Extents(NamedTuple):
    """Sides in pixels of the images of z and of x; None: rows of numbers, which have none."""

    source: int | None
    target: int | None


class Source(ABC):
    """Training data: batches by their step, and validation samples.

    Attributes:
        name: what error messages call it: the path of a store, or what is drawn.
        path: the tile store that it reads, which ``imgturbo inspect`` shows; None without one.
        source, target: what z and x are.
        digest: 16 hexadecimal digits that change with the data.
        extent: the side in pixels of the images of its batches, of the target's where the two are
            unlike; None where both are tables.
        whole: the side in pixels of its validation images, which no crop cuts; None likewise.
        batch_size: samples a process and step.
        workers: threads that prepare batches ahead.
        rank, world: which process it reads for, and how many there are.
        factor: pixels of the target across one of the source; 1: both on one grid.
        pairs: how many different pairs its training samples hold, 0 where all are unpaired; None:
            ever new ones.
    """

    name: str
    path: Path | None = None
    source: Side
    target: Side
    digest: str
    extent: int | None
    whole: int | None
    factor: int = 1
    batch_size: int
    workers: int = 0
    rank: int = 0
    world: int = 1
    pairs: int | None = None

    @property
    def sides(self) -> dict[str, Side]:
        """Both sides, as a bundle holds them."""
        return {"source": self.source, "target": self.target}

    def extents(self, whole: bool = False) -> Extents:
        """Sides in pixels of the images of z and of x, each by itself.

        Args:
            whole: of validation's, which no crop cuts; else of the batches'.
        """
        extent = self.whole if whole else self.extent
        source = None if extent is None else extent // self.factor
        return Extents(
            source if self.source.kind == "image" else None,
            extent if self.target.kind == "image" else None,
        )

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """The batch of a step (from 0), always the same for the same step."""

    @abstractmethod
    def validation(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """Batches that nothing is trained on, always the same ones in every process.

        Args:
            batch_size: samples a batch; the last one may be smaller.
            limit: at most so many samples.
        """

    def measured(self, cell: int = 1) -> NDArray[np.float64] | None:
        """How much of each pair's target was measured: (pairs,), 0 to 1.

        Where training cuts out crops, it is the largest share that a crop of the tile may have.
        None: all of all.

        Args:
            cell: side in pixels of the cells of which all pixels must be measured.
        """
        return None

    def counts(self, sides: Collection[str], pairs: bool) -> bool:
        """Whether there is a sample in which anything was measured on these sides at once.

        Args:
            sides: ``source``, ``target`` or both, which then must be measured at the same place.
            pairs: whether pairs alone are looked at.
        """
        return not pairs or self.pairs != 0

    def share(self, rank: int, world: int) -> Self:
        """The same data as one process of several reads them.

        Args:
            rank: the process, 0 to ``world`` − 1.
            world: how many there are.
        """
        shared = copy.copy(self)
        shared._read_as(rank, world)
        return shared

    def _read_as(self, rank: int, world: int) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world} processes")
        self.rank, self.world = rank, world

    def alone(self) -> Self:
        """The same data as a single process reads them: equal in all processes."""
        return self.share(0, 1)

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


def numbers_of(source: Source, step: int) -> NDArray[np.int64]:
    """Global numbers g of the samples of a source's batch, (B,)."""
    first = (step * source.world + source.rank) * source.batch_size
    return np.arange(first, first + source.batch_size)


def pairs_among(
    numbers: NDArray[np.int64], fraction: Fraction
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which of the samples are pairs, and how many pairs came before each of them.

    Of the first g samples ⌊g·f⌋ are pairs: every batch, and every rank's share of it, holds its due
    number of them to within one.

    Args:
        numbers: global numbers g, (B,).
        fraction: f, 0 to 1.
    """
    before = numbers * fraction.numerator // fraction.denominator
    after = (numbers + 1) * fraction.numerator // fraction.denominator
    return after > before, before


def asked_fraction(config: DataConfig) -> Fraction | None:
    """The share of pairs that a config asks for; None: as the data have it.

    Raises:
        ImgturboError: ``pairing`` and ``paired_fraction`` are both given.
    """
    asked = config.paired_fraction
    if config.pairing != "auto" and asked is not None:
        raise ImgturboError(
            f"'data.paired_fraction' has no meaning with 'data.pairing: {config.pairing}'; "
            "leave one of them out"
        )
    if config.pairing == "auto":
        return None if asked is None else Fraction(asked).limit_denominator(1_000_000)
    return Fraction(1 if config.pairing == "paired" else 0)
