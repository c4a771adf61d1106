"""Observations of tiles as a source of training data: z is made of x, afresh at every step.

Sample g has x_g from permuted passes over all rows that hold a side, cut out and turned as every
tile is, and white noise n_g, drawn by its number and never twice. What is made of the two,

    z_g = A⁺(A x_g + σ ε_g),      ε_g = g A n_g,

is the business of the physical encoder (see :mod:`imgturbo.nets.operators`), which may be learning
where to measure: so a batch holds what is to be observed in the place of z, and the noise beside
it. By default all samples are pairs. Where they are not, z is made of the tile of an independent
pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from imgturbo.config import DataConfig, ObservationConfig
from imgturbo.data.batch import Batch
from imgturbo.data.hiding import refuse_hiding
from imgturbo.data.loader import side_of, training_rows, validation_tiles
from imgturbo.data.passes import Passes, Reader, any_measured, focused, measured, placements
from imgturbo.data.philox import Use, stream
from imgturbo.data.source import Source, asked_fraction, numbers_of, pairs_among
from imgturbo.data.store import TileStore
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256

__all__ = ["ObservationSource"]

_OTHERS = 1  # passes over the tiles of which an unpaired z is made; 2 as of every target
_TARGETS = 2


class ObservationSource(Source):
    """Batches of tiles, with the noise of an observation of each.

    Args:
        wish: which side of the store is x.
        store: holds it.
        config: batch size a process, crop, augmentation, pairing.
        seed: of noise, order, crops and symmetries.
        rank, world: this process, and how many there are.

    Raises:
        ImgturboError: the tiles lack x, hold a z that would not be read, or are rows of a table.
    """

    def __init__(
        self,
        wish: ObservationConfig,
        store: TileStore,
        config: DataConfig,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._read_as(rank, world)
        self._kept = wish.side
        kept = side_of(store, wish.side)
        _refuse(wish, store, config)
        self.source = self.target = kept
        self.name, self.path = str(store.path), store.path
        self.digest = sha256(f"{store.digest} {wish.side} observed".encode())[:16]
        self.batch_size, self.workers, self.seed = config.batch_size, config.workers, seed
        self.store, self._reader = store, Reader(store, config)
        self.extent, self.whole = self._reader.extent, store.tile
        split = store.split("train")
        self._rows = training_rows(store, wish.side)
        self._columns = getattr(split, wish.side), getattr(split, f"{wish.side}_valid")
        asked = asked_fraction(config)
        self._fraction = Fraction(1) if asked is None else asked
        self.pairs = len(self._rows) if self._fraction else 0
        pool = focused(self._rows, *self._columns, config.focus) if config.focus else self._rows
        self._targets, self._others = (Passes(pool, seed, n) for n in (_TARGETS, _OTHERS))

    def batch(self, step: int) -> Batch:
        """The batch of a step (from 0), always the same for the same step."""
        numbers = numbers_of(self, step)
        paired, _ = pairs_among(numbers, self._fraction)
        places = placements(self.seed, step, self.batch_size, self.rank, self.world)
        x_rows = self._targets.rows(numbers)
        z_rows = np.where(paired, x_rows, self._others.rows(numbers))
        places[paired, 0] = places[paired, 1]
        read = self._reader.read
        x, z = (
            read(*self._columns, rows, places[:, side]) for rows, side in ((x_rows, 1), (z_rows, 0))
        )
        noise = self._noise(self.seed, Use.DRAW, numbers, self.extent)
        return self._batch((z, x), (z_rows, x_rows), paired, noise, "train")

    def measured(self, cell: int = 1) -> NDArray[np.float64]:
        """How much of each tile was measured; reads all of their masks."""
        rows = self._rows if self.pairs else self._rows[:0]
        return measured(self._columns[1], rows, self.extent, cell)

    def counts(self, sides: Collection[str], pairs: bool) -> bool:
        """Whether something was measured of what is observed."""
        return (self.pairs != 0 or not pairs) and any_measured([self._columns[1]], self._rows)

    def validation(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """Whole validation tiles, each with noise of its own that training never sees."""
        tiles = validation_tiles(self.store, self._kept, batch_size, limit)
        for numbers, values, valid, rows in tiles:
            tile, noise = (values, valid), self._noise(0, Use.VALIDATE, numbers, self.whole)
            paired = np.ones(len(rows), bool)
            yield self._batch((tile, tile), (rows, rows), paired, noise, "validation")

    def _noise(
        self, seed: int, use: Use, numbers: NDArray[np.int64], extent: int | None
    ) -> NDArray[np.float32]:
        """n, white on the pixels, (B, C, S, S)."""
        assert extent is not None  # of images, see _refuse
        shape = (len(self.target), extent, extent)

        def normal(generator: np.random.Generator, n: int) -> tuple[NDArray[np.float32]]:
            return (generator.standard_normal((n, *shape), dtype=np.float32),)

        return stream(normal, seed, use, numbers, 1)[0]

    def _batch(
        self,
        tiles: tuple[tuple[NDArray[np.float32], NDArray[np.bool_]], ...],
        rows: tuple[NDArray[np.int64], NDArray[np.int64]],
        paired: NDArray[np.bool_],
        noise: NDArray[np.float32],
        split: str,
    ) -> Batch:
        """Of z and x with their masks, and of their rows."""
        (z, z_valid), (x, x_valid) = tiles
        label = self.store.split("train" if split == "train" else "validation").label
        z_rows, x_rows = rows
        labels = tuple(
            label(int(b)) if pair else f"z of {label(int(a))}, x {label(int(b))}"
            for pair, a, b in zip(paired, z_rows, x_rows, strict=True)
        )
        return Batch.of(
            labels,
            z=np.where(z_valid, z, np.float32(0)),
            x=x,
            z_valid=z_valid,
            x_valid=x_valid,
            paired=paired,
            z_index=z_rows,
            x_index=x_rows,
            noise=noise,
        )


def _refuse(wish: ObservationConfig, store: TileStore, config: DataConfig) -> None:
    """Refuse wishes that contradict one another."""
    other = "target" if wish.side == "source" else "source"
    if getattr(store, other) is not None and not wish.replace:
        names = ", ".join(getattr(store, other).names)
        raise ImgturboError(
            f"{store.path}: the tiles hold a {other} ({names}), and 'data.source' makes z of the "
            f"{wish.side}; leave 'data.source' out to train on both, or set 'data.source.replace: "
            "true' to leave it unread"
        )
    if store.tile is None:
        raise ImgturboError(
            f"{store.path}: 'data.source.kind: observation' observes images, but the tiles are "
            "rows of a table; leave it out"
        )
    refuse_hiding(config, "'data.source' makes every z of its x")
