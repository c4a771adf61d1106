"""A tile store as a source of training data.

Of the first g samples ⌊g·f⌋ are pairs, f the paired fraction (see :mod:`imgturbo.data.source`).
The i-th pair is element i mod n of the ⌊i/n⌋-th permutation of the n paired rows. The i-th unpaired
sample takes z from a permuted pass over *all* rows that hold a source and x from an independent
one over all that hold a target, so both marginals are covered evenly whatever their sizes. What
``data.hide_pairs`` hides counts among the singles (see :mod:`imgturbo.data.hiding`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from imgturbo.config import DataConfig
from imgturbo.data.batch import Batch
from imgturbo.data.hiding import Apart, known_pairs
from imgturbo.data.passes import Passes, Reader, any_measured, focused, measured, placements
from imgturbo.data.source import Source, asked_fraction, numbers_of, pairs_among
from imgturbo.data.store import Split, TileStore
from imgturbo.errors import ImgturboError
from imgturbo.side import Side

__all__ = [
    "StoreSource",
    "evenly",
    "side_of",
    "training_rows",
    "validation_batches",
    "validation_tiles",
]

_PAIRS, _SOURCES, _TARGETS = 0, 1, 2  # passes over rows


class StoreSource(Source):
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
        self._read_as(rank, world)
        self.name, self.path, self.digest = str(store.path), store.path, store.digest
        self.source, self.target = side_of(store, "source"), side_of(store, "target")
        self.batch_size, self.workers = config.batch_size, config.workers
        self.store, self.split, self.seed = store, store.split("train"), seed
        self._known = known_pairs(self.split.paired, config, seed, self.name)
        pools = [
            np.flatnonzero(self._known),
            training_rows(store, "source"),
            training_rows(store, "target"),
        ]
        self._fraction = _paired_fraction(self.split, self._known, config, self.name)
        self.pairs = len(pools[_PAIRS]) if self._fraction else 0
        self._reader = Reader(store, config)
        self.extent, self.whole, self.factor = self._reader.extent, store.tile, store.factor
        if config.focus:
            z, x = (
                (self.split.source, self.split.source_valid),
                (self.split.target, self.split.target_valid),
            )
            pools = [
                focused(pool, *side, config.focus)
                for pool, side in zip(pools, (x, z, x), strict=True)
            ]
        self._passes = [Passes(pool, seed, number) for number, pool in enumerate(pools)]
        hidden = self.split.paired & ~self._known
        self._apart: Apart | None = None
        if hidden.any() and self._fraction < 1:
            self._apart = Apart(self._passes[_SOURCES], self._passes[_TARGETS], hidden, self.name)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every pair, and every row of the larger unpaired side, is seen once."""
        joint = self.batch_size * self.world
        samples: Fraction | int = max(map(len, self._passes[1:]))
        if self._fraction:
            samples = Fraction(len(self._passes[_PAIRS])) / self._fraction
        return max(1, -int(-samples // joint))

    def batch(self, step: int) -> Batch:
        """The batch of a step (from 0), always the same for the same step."""
        numbers = numbers_of(self, step)
        paired, pair_numbers = pairs_among(numbers, self._fraction)
        others = (numbers - pair_numbers)[~paired]
        z_rows = np.empty(len(numbers), np.int64)
        z_rows[paired] = self._passes[_PAIRS].rows(pair_numbers[paired])
        x_rows = z_rows.copy()
        z_rows[~paired], x_rows[~paired] = self._unpaired(others)

        places = placements(self.seed, step, self.batch_size, self.rank, self.world)
        places[paired, 1] = places[paired, 0]  # both sides of a pair are moved alike
        split, read = self.split, self._reader.read
        z, z_valid = read(split.source, split.source_valid, z_rows, places[:, 0])
        x, x_valid = read(split.target, split.target_valid, x_rows, places[:, 1])
        return Batch.of(
            _labels(split, paired, z_rows, x_rows),
            z=z,
            x=x,
            z_valid=z_valid,
            x_valid=x_valid,
            paired=paired,
            z_index=z_rows,
            x_index=x_rows,
        )

    def _unpaired(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of z and of x of the unpaired samples of these numbers."""
        if self._apart is not None:
            return self._apart.rows(numbers)
        return self._passes[_SOURCES].rows(numbers), self._passes[_TARGETS].rows(numbers)

    def measured(self, cell: int = 1) -> NDArray[np.float64]:
        """How much of each pair's target was measured; reads all of their masks."""
        rows = np.flatnonzero(self._known) if self.pairs else np.empty(0, np.int64)
        return measured(self.split.target_valid, rows, self.extent, cell)

    def counts(self, sides: Collection[str], pairs: bool) -> bool:
        """Whether some sample was measured there; reads masks until one is found."""
        split = self.split
        masks = [getattr(split, f"{side}_valid") for side in sides]
        if self.pairs and any_measured(masks, np.flatnonzero(self._known)):
            return True
        if pairs or self._fraction == 1:
            return False
        # Any two rows may come to stand beside each other.
        rows = [np.flatnonzero(getattr(split, f"has_{side}")) for side in sides]
        return all(any_measured([mask], own) for mask, own in zip(masks, rows, strict=True))

    def validation(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """Whole validation tiles; see :func:`validation_batches`."""
        return validation_batches(self.store, batch_size, limit)


def side_of(store: TileStore, name: str) -> Side:
    """A side of a store that must be there.

    Raises:
        ImgturboError: it is not.
    """
    side: Side | None = getattr(store, name)
    if side is None:
        raise ImgturboError(
            f"{store.path}: the tiles have no {name} side; name {name} files in "
            "'prepare.fields' and prepare again"
        )
    return side


def training_rows(store: TileStore, side: str) -> NDArray[np.int64]:
    """Training rows that hold a side, of which there must be some.

    Raises:
        ImgturboError: there are none.
    """
    rows = np.flatnonzero(getattr(store.split("train"), f"has_{side}"))
    if not len(rows):
        raise ImgturboError(
            f"{store.path}: no training tile has a {side}; name {side} files in "
            "'prepare.fields' and prepare again"
        )
    return rows


def validation_tiles(
    store: TileStore, side: str, batch_size: int, limit: int | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]]:
    """Whole validation tiles of one side, a batch at a time.

    Args:
        store: where they are.
        side: source or target; tiles without it are left out.
        batch_size: tiles at a time.
        limit: at most so many, spread evenly.

    Yields:
        Their numbers among those that have the side, values (B, C, T, T), validity (B, 1, T, T) and
        rows of the split.
    """
    split = store.split("validation")
    values, valid = getattr(split, side), getattr(split, f"{side}_valid")
    rows = np.flatnonzero(getattr(split, f"has_{side}"))
    chosen = evenly(len(rows), limit)
    for first in range(0, len(chosen), batch_size):
        numbers = chosen[first : first + batch_size]
        part = rows[numbers]
        yield numbers, values.take(part), valid.take(part)[:, None], part


def evenly(total: int, limit: int | None) -> NDArray[np.int64]:
    """At most ``limit`` of the numbers below ``total``, spread evenly over them."""
    count = total if limit is None else min(limit, total)
    return np.linspace(0, total, count, endpoint=False).astype(np.int64)


def _paired_fraction(
    split: Split, known: NDArray[np.bool_], config: DataConfig, where: str
) -> Fraction:
    """How many of the samples are pairs; by default as many as lets each row be seen once."""
    asked, pairs = asked_fraction(config), int(known.sum())
    if asked is None:
        alone = ~known
        unpaired = max((split.has_source & alone).sum(), (split.has_target & alone).sum())
        return Fraction(pairs, pairs + int(unpaired))
    if not pairs and asked:
        raise ImgturboError(
            f"{where}: no training tile is a pair; set 'data.pairing: unpaired', or give "
            "'prepare.fields' both source and target files of the same sky"
        )
    return asked


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
    chosen = evenly(max(len(z_rows), len(x_rows)), limit)
    for first in range(0, len(chosen), batch_size):
        part = chosen[first : first + batch_size]
        z, x = z_rows[part % len(z_rows)], x_rows[part % len(x_rows)]
        paired = np.full(len(part), len(pairs) > 0)
        yield Batch.of(
            _labels(split, paired, z, x),
            z=split.source.take(z),
            x=split.target.take(x),
            z_valid=split.source_valid.take(z)[:, None],
            x_valid=split.target_valid.take(x)[:, None],
            paired=paired,
            z_index=z,
            x_index=x,
        )


def _labels(
    split: Split,
    paired: NDArray[np.bool_],
    z_rows: NDArray[np.int64],
    x_rows: NDArray[np.int64],
) -> tuple[str, ...]:
    return tuple(
        split.label(int(a)) if pair else f"z {split.label(int(a))}, x {split.label(int(b))}"
        for pair, a, b in zip(paired, z_rows, x_rows, strict=True)
    )
