"""Which tiles make the batch of a step: a pure function of (seed, step, rank, world size).

Let J = B · world be the joint batch of all processes. Sample p of step s has the global number
g = s·J + p; rank r makes samples p ∈ [r·B, (r+1)·B). So two ranks of B see, at every step, what
one rank of 2B would. Of the first g samples ⌊g·f⌋ are pairs, f the paired fraction: every batch,
and every rank's share of it, holds its due number of pairs to within one.

The i-th pair is element i mod n of the ⌊i/n⌋-th permutation of the n paired rows. The i-th unpaired
sample takes z from a permuted pass over *all* rows that hold a source and x from an independent
one over all that hold a target, so both marginals are covered evenly whatever their sizes.
With a focus φ > 0 a row stands 1 + round(φ · d/d̄) times in what is permuted, at most 20 times. Here
d is the mean square of the differences between neighbouring pixels (of the target where there is
one) beyond that of the quietest row, which has noise alone, and d̄ its mean over the rows. So of
φ + 1 samples φ go to where the detail is: bright stars are rare on the sky.

Permutations, crops and symmetries come from the counter-based Philox generator (Salmon et al.
2011), whose state is the counter itself: nothing is replayed on resume.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imgturbo.config import DataConfig
from imgturbo.data.augment import apply_symmetry
from imgturbo.data.batch import Batch
from imgturbo.data.store import Rows, Split, TileStore
from imgturbo.errors import ImgturboError
from imgturbo.symmetries import GROUPS

__all__ = ["TileLoader", "validation_batches"]

_PAIRS, _SOURCES, _TARGETS = 0, 1, 2  # streams of permutations
_PERMUTE, _SAMPLE = 0, 1  # uses of the generator
_MOST = 20  # times that a row is permuted


def _philox(seed: int, use: int, a: int, b: int) -> np.random.Generator:
    """A generator for (seed, use, a, b); the low words of the counter stay free for its draws."""
    mask = (1 << 64) - 1
    bits = np.random.Philox(key=[seed & mask, use], counter=[0, 0, a & mask, b & mask])
    return np.random.Generator(bits)


def detail(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> float:
    """Mean square of the differences between valid neighbours; 0 where there are none.

    Args:
        values: (N, C, T, T).
        valid: (N, T, T).
    """
    total, count = 0.0, 0
    for axis in (-2, -1):
        steps = np.diff(values, axis=axis)
        before, after = (np.delete(valid, end, axis) for end in (-1, 0))
        both = (before & after)[:, None]
        total += float(np.square(steps, where=both, out=np.zeros_like(steps)).sum())
        count += int(both.sum()) * values.shape[1]
    return total / count if count else 0.0


class TileLoader:
    """Batches of the training tiles.

    Args:
        store: the tiles.
        config: batch size a process, crop, augmentation, pairing.
        seed: of order, crops and symmetries.
        rank, world: this process, and how many there are.

    Raises:
        ImgturboError: the store cannot give what the config asks for (no pairs, a crop larger than
            the tiles, a side missing).
    """

    def __init__(
        self, store: TileStore, config: DataConfig, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world} processes")
        self.split = store.split("train")
        self.config = config
        self.seed, self.rank, self.world = seed, rank, world
        where = store.path
        self._pools: tuple[NDArray[np.int64], ...] = (
            np.flatnonzero(self.split.paired),
            np.flatnonzero(self.split.has_source),
            np.flatnonzero(self.split.has_target),
        )
        for pool, side in zip(self._pools[1:], ("source", "target"), strict=True):
            if not len(pool):
                raise ImgturboError(
                    f"{where}: no training tile has a {side}; name {side} files in "
                    "'prepare.fields' and prepare again"
                )
        self._images = store.tile is not None
        self._fraction = self._paired_fraction(str(where))
        if config.focus:
            self._pools = tuple(self._focused(stream) for stream in range(len(self._pools)))
        tile = store.tile
        if config.crop is not None and (tile is None or config.crop > tile):
            raise ImgturboError(
                f"{where}: 'data.crop' is {config.crop} but the tiles are "
                f"{'rows of a table' if tile is None else f'{tile} pixels wide'}; make it smaller"
            )
        self._room = 0 if tile is None or config.crop is None else tile - config.crop
        self._permutations: dict[tuple[int, int], NDArray[np.int64]] = {}

    def _paired_fraction(self, where: str) -> Fraction:
        """How many of the samples are pairs; by default as many as lets each row be seen once."""
        config, split = self.config, self.split
        pairs = len(self._pools[_PAIRS])
        asked = config.paired_fraction
        if config.pairing != "auto" and asked is not None:
            raise ImgturboError(
                f"'data.paired_fraction' has no meaning with 'data.pairing: {config.pairing}'; "
                "leave one of them out"
            )
        if config.pairing == "unpaired" or asked == 0:
            return Fraction(0)
        if not pairs and (config.pairing == "paired" or asked is not None):
            raise ImgturboError(
                f"{where}: no training tile is a pair; set 'data.pairing: unpaired', or give "
                "'prepare.fields' both source and target files of the same sky"
            )
        if config.pairing == "paired":
            return Fraction(1)
        if asked is not None:
            return Fraction(asked).limit_denominator(1_000_000)
        alone = ~split.paired
        unpaired = max((split.has_source & alone).sum(), (split.has_target & alone).sum())
        return Fraction(pairs, pairs + int(unpaired))

    def _focused(self, stream: int) -> NDArray[np.int64]:
        """A stream's rows, those with much detail several times; see the module's page."""
        pool, split = self._pools[stream], self.split
        if not len(pool) or not self._images:
            return pool
        sides = (split.source, split.source_valid), (split.target, split.target_valid)
        values, valid = sides[0] if stream == _SOURCES else sides[1]
        found = np.array([detail(values.take(row[None]), valid.take(row[None])) for row in pool])
        found -= found.min()
        if not found.any():
            return pool
        times = 1 + np.rint(self.config.focus * found / found.mean()).astype(np.int64)
        return np.repeat(pool, np.minimum(times, _MOST))

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every pair, and every row of the larger unpaired side, is seen once."""
        joint = self.config.batch_size * self.world
        samples: Fraction | int = max(map(len, self._pools[1:]))
        if self._fraction:
            samples = Fraction(len(self._pools[_PAIRS])) / self._fraction
        return max(1, -int(-samples // joint))

    def batch(self, step: int) -> Batch:
        """The batch of a step (from 0), always the same for the same step."""
        size = self.config.batch_size
        first = step * size * self.world + self.rank * size  # global number of the first sample
        numbers = np.arange(first, first + size + 1)
        before = numbers * self._fraction.numerator // self._fraction.denominator
        paired = np.diff(before) == 1
        pair_number = before[:-1]
        other_number = numbers[:-1] - pair_number
        z_rows = np.empty(size, np.int64)
        z_rows[paired] = self._rows(_PAIRS, pair_number[paired])
        x_rows = z_rows.copy()
        z_rows[~paired] = self._rows(_SOURCES, other_number[~paired])
        x_rows[~paired] = self._rows(_TARGETS, other_number[~paired])

        # Uniform draws, one line a sample of the joint batch, so that they do not depend on world:
        # crop y, crop x, symmetry, for z and then for x; a pair uses z's for both.
        draws = _philox(self.seed, _SAMPLE, step, 0).random((size * self.world, 2, 3))
        draws = draws[self.rank * size : (self.rank + 1) * size]
        draws[paired, 1] = draws[paired, 0]
        z, z_valid = self._read(self.split.source, self.split.source_valid, z_rows, draws[:, 0])
        x, x_valid = self._read(self.split.target, self.split.target_valid, x_rows, draws[:, 1])
        return _batch(self.split, z, x, z_valid, x_valid, paired, z_rows, x_rows)

    def iterate(self, first_step: int = 0) -> Iterator[Batch]:
        """Batches of ``first_step``, ``first_step + 1``, … without end.

        With ``config.workers`` > 0 that many threads prepare the next batches; the batches are
        the same.
        """
        if self.config.workers == 0:
            step = first_step
            while True:
                yield self.batch(step)
                step += 1
        with ThreadPoolExecutor(self.config.workers, thread_name_prefix="tiles") as pool:
            ahead = self.config.workers + 1
            waiting: deque[Future[Batch]] = deque()
            step = first_step
            try:
                while True:
                    while len(waiting) < ahead:
                        waiting.append(pool.submit(self.batch, step))
                        step += 1
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _rows(self, stream: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows that a stream gives to its samples of these numbers."""
        pool = self._pools[stream]
        rows = np.empty(len(numbers), np.int64)
        if not len(numbers):
            return rows
        epochs, within = np.divmod(numbers, len(pool))
        for epoch in np.unique(epochs):
            here = epochs == epoch
            rows[here] = pool[self._permutation(stream, int(epoch))[within[here]]]
        return rows

    def _permutation(self, stream: int, epoch: int) -> NDArray[np.int64]:
        key = (stream, epoch)
        known = self._permutations.get(key)
        if known is None:
            known = _philox(self.seed, _PERMUTE, epoch, stream).permutation(
                len(self._pools[stream])
            )
            if len(self._permutations) > 8:
                self._permutations.clear()
            self._permutations[key] = known
        return known

    def _read(
        self, values: Rows, valid: Rows, rows: NDArray[np.int64], draws: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Rows of one side with their masks, cropped and moved by each sample's symmetry."""
        data, mask = values.take(rows), valid.take(rows)
        if not self._images:
            return data, mask
        group = GROUPS[self.config.augment]
        size = data.shape[-1] - self._room
        corners = (draws[:, :2] * (self._room + 1)).astype(int)
        elements = (draws[:, 2] * len(group)).astype(int)
        cropped = np.empty((*data.shape[:2], size, size), data.dtype)
        cropped_mask = np.empty((len(rows), size, size), bool)
        for sample, ((y, x), element) in enumerate(zip(corners, elements, strict=True)):
            window = (..., slice(y, y + size), slice(x, x + size))
            cropped[sample], cropped_mask[sample] = apply_symmetry(
                [data[sample][window], mask[sample][window]], group[element]
            )
        return cropped, cropped_mask


def validation_batches(
    store: TileStore, batch_size: int, limit: int | None = None
) -> Iterator[Batch]:
    """Batches of whole validation tiles, without augmentation, always the same ones.

    Pairs where there are any; else sources and targets side by side, cycling over the fewer.

    Args:
        store: the tiles.
        batch_size: samples a batch; the last one may be smaller.
        limit: at most so many samples, spread evenly over the split.
    """
    split = store.split("validation")
    pairs = np.flatnonzero(split.paired)
    z_rows = pairs if len(pairs) else np.flatnonzero(split.has_source)
    x_rows = pairs if len(pairs) else np.flatnonzero(split.has_target)
    if not len(z_rows) or not len(x_rows):
        return
    total = max(len(z_rows), len(x_rows))
    count = total if limit is None else min(limit, total)
    chosen = np.linspace(0, total, count, endpoint=False).astype(np.int64)
    for first in range(0, count, batch_size):
        part = chosen[first : first + batch_size]
        z, x = z_rows[part % len(z_rows)], x_rows[part % len(x_rows)]
        yield _batch(
            split,
            split.source.take(z),
            split.target.take(x),
            split.source_valid.take(z),
            split.target_valid.take(x),
            np.full(len(part), len(pairs) > 0),
            z,
            x,
        )


def _batch(
    split: Split,
    z: NDArray[Any],
    x: NDArray[Any],
    z_valid: NDArray[Any],
    x_valid: NDArray[Any],
    paired: NDArray[np.bool_],
    z_rows: NDArray[np.int64],
    x_rows: NDArray[np.int64],
) -> Batch:
    labels = tuple(
        split.label(int(a)) if pair else f"z {split.label(int(a))}, x {split.label(int(b))}"
        for pair, a, b in zip(paired, z_rows, x_rows, strict=True)
    )
    return Batch(
        z=torch.from_numpy(z),
        x=torch.from_numpy(x),
        z_valid=torch.from_numpy(z_valid[:, None]),
        x_valid=torch.from_numpy(x_valid[:, None]),
        paired=torch.from_numpy(paired),
        z_index=torch.from_numpy(z_rows),
        x_index=torch.from_numpy(x_rows),
        labels=labels,
    )
