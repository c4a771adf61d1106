"""A prior as a source of training data: one side drawn from p(z), the other read from tiles.

With ``side: source`` sample g has z_g ~ N(0, 1), a vector of n numbers or a map (n, S, S) of the
tiles' size, drawn afresh at every step and never twice; x_g comes from a permuted pass over all
rows that hold a target, cut out and turned as those of unpaired tiles are. With ``side: target``
it is the other way round. The two are never a pair: marginal terms alone bring them together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imgturbo.config import DataConfig, PriorConfig
from imgturbo.data.batch import Batch
from imgturbo.data.hiding import refuse_hiding
from imgturbo.data.loader import side_of, training_rows, validation_tiles
from imgturbo.data.passes import Passes, Reader, any_measured, focused, placements
from imgturbo.data.philox import Use, stream
from imgturbo.data.source import Extents, Source, asked_fraction, numbers_of
from imgturbo.data.store import SplitName, TileStore
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

__all__ = ["PriorSource", "draw_codes"]

_VECTORS = 64  # drawn together; maps are drawn one by one
_SIDES = ("source", "target")  # in the order of their passes and placements


class PriorSource(Source):
    """Batches of drawn vectors or maps beside the tiles of one side.

    Args:
        prior: which side is drawn, and how.
        store: holds the other side.
        config: batch size a process, crop, augmentation.
        seed: of draws, order, crops and symmetries.
        rank, world: this process, and how many there are.

    Raises:
        ImgturboError: the tiles hold the side that is to be drawn, or lack the other one; pairs
            are asked for; maps are asked for beside a table.
    """

    pairs = 0

    def __init__(
        self,
        prior: PriorConfig,
        store: TileStore,
        config: DataConfig,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._read_as(rank, world)
        _refuse(prior, store, config)
        name = "target" if prior.side == "source" else "source"
        drawn = _drawn_side(prior)
        kept = side_of(store, name)
        self.source, self.target = (drawn, kept) if prior.side == "source" else (kept, drawn)
        self.name, self.path = str(store.path), store.path
        content = f"{store.digest} {prior.side} ~ {prior.numbers} {prior.shape}"
        self.digest = sha256(content.encode())[:16]
        self.batch_size, self.workers, self.seed = config.batch_size, config.workers, seed
        self.prior, self.store, self._kept = prior, store, name
        self._reader = Reader(store, config)
        self.extent, self.whole, self.factor = self._reader.extent, store.tile, store.factor
        split, rows = store.split("train"), training_rows(store, name)
        if config.focus:
            values, valid = getattr(split, name), getattr(split, f"{name}_valid")
            rows = focused(rows, values, valid, config.focus)
        self._passes = Passes(rows, seed, 1 + _SIDES.index(name))

    def extents(self, whole: bool = False) -> Extents:
        """A drawn map is as wide as the tiles beside it, a vector has no width."""
        known = super().extents(whole)
        kept = known.target if self._kept == "target" else known.source
        drawn = kept if self.prior.shape == "map" else None
        return Extents(drawn, kept) if self._kept == "target" else Extents(kept, drawn)

    def batch(self, step: int) -> Batch:
        """The batch of a step (from 0), always the same for the same step."""
        numbers = numbers_of(self, step)
        rows = self._passes.rows(numbers)
        places = placements(self.seed, step, self.batch_size, self.rank, self.world)
        split = self.store.split("train")
        values, valid = getattr(split, self._kept), getattr(split, f"{self._kept}_valid")
        read = self._reader.read(values, valid, rows, places[:, _SIDES.index(self._kept)])
        drawn = self._draw(self.seed, Use.DRAW, numbers)
        return self._batch("train", (drawn, numbers), (*read, rows))

    def counts(self, sides: Collection[str], pairs: bool) -> bool:
        """Whether something was measured of what is not drawn."""
        if pairs or self._kept not in sides:
            return not pairs
        split = self.store.split("train")
        valid, rows = getattr(split, f"{self._kept}_valid"), training_rows(self.store, self._kept)
        return any_measured([valid], rows)

    def validation(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """Whole validation tiles, each beside a draw of its own that training never sees."""
        tiles = validation_tiles(self.store, self._kept, batch_size, limit)
        for numbers, values, valid, rows in tiles:
            drawn = self._draw(0, Use.VALIDATE, numbers, whole=True)
            yield self._batch("validation", (drawn, numbers), (values, valid, rows))

    def _draw(
        self, seed: int, use: Use, numbers: NDArray[np.int64], whole: bool = False
    ) -> NDArray[np.float32]:
        """(B, n) or (B, n, S, S)."""
        extents = self.extents(whole)
        side = extents.source if self.prior.side == "source" else extents.target
        return draw_codes(self.prior.numbers, side, seed, use, numbers)

    def _batch(
        self,
        split: SplitName,
        drawn: tuple[NDArray[np.float32], NDArray[np.int64]],
        read: tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]],
    ) -> Batch:
        """Of draws with their numbers, and tiles with their masks and rows."""
        draws, numbers = map(torch.from_numpy, drawn)
        tiles, valid, rows = map(torch.from_numpy, read)
        everywhere = torch.ones(len(draws), 1, *draws.shape[2:], dtype=torch.bool)
        sides: list[tuple[Tensor, Tensor, Tensor]] = [
            (draws, everywhere, numbers),
            (tiles, valid, rows),
        ]
        if self.prior.side == "target":
            sides.reverse()
        (z, z_valid, z_index), (x, x_valid, x_index) = sides
        letter = "x" if self.prior.side == "source" else "z"
        label = self.store.split(split).label
        return Batch(
            z=z,
            x=x,
            z_valid=z_valid,
            x_valid=x_valid,
            paired=torch.zeros(len(draws), dtype=torch.bool),
            z_index=z_index,
            x_index=x_index,
            labels=tuple(f"{letter} {label(int(row))}" for row in rows),
        )


def draw_codes(
    coordinates: int, side: int | None, seed: int, use: Use, numbers: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Codes z_g ~ N(0, 1), each a function of (seed, use, g) alone.

    Args:
        coordinates: n, numbers of a vector or channels of a map.
        side: S of maps in pixels; None: vectors.
        seed, use: which stream of draws.
        numbers: g of those that are wanted, (B,).

    Returns:
        (B, n) or (B, n, S, S).
    """
    shape = (coordinates, *(() if side is None else (side, side)))

    def normal(generator: np.random.Generator, n: int) -> tuple[NDArray[np.float32]]:
        return (generator.standard_normal((n, *shape), dtype=np.float32),)

    return stream(normal, seed, use, numbers, _VECTORS if side is None else 1)[0]


def _drawn_side(prior: PriorConfig) -> Side:
    letter = "z" if prior.side == "source" else "x"
    names = tuple(f"{letter}{number + 1}" for number in range(prior.numbers))
    return Side(names, "", Stretch.linear(prior.numbers), kind="latent")


def _refuse(prior: PriorConfig, store: TileStore, config: DataConfig) -> None:
    """Refuse wishes that contradict one another."""
    held: Side | None = getattr(store, prior.side)
    if held is not None and not prior.replace:
        raise ImgturboError(
            f"{store.path}: the tiles hold a {prior.side} ({', '.join(held.names)}), which "
            "'data.source' draws from a prior; leave 'data.source' out to train on both, or set "
            "'data.source.replace: true' to draw it all the same"
        )
    if asked_fraction(config):
        raise ImgturboError(
            f"'data.source' draws the {prior.side} from a prior, so that there are no pairs; leave "
            "'data.pairing' and 'data.paired_fraction' out"
        )
    refuse_hiding(config, f"'data.source' draws the {prior.side} from a prior")
    if prior.shape == "map" and store.tile is None:
        raise ImgturboError(
            f"{store.path}: 'data.source.shape' is map but the tiles are rows of a table; set it "
            "to vector"
        )
