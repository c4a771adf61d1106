"""How the rows of a tile store are read: in permuted passes, cut out and turned.

Sample i of a pass over n rows is element i mod n of the ⌊i/n⌋-th permutation of them, so that all
are seen equally often. With a focus φ > 0 a row stands 1 + round(φ · d/d̄) times in what is
permuted, at most 20 times. Here d is the mean square of the differences between neighbouring pixels
beyond that of the quietest row, which has noise alone, and d̄ its mean over the rows. So of φ + 1
samples φ go to where the detail is: bright stars are rare on the sky.

Permutations, crops and symmetries are functions of the seed and the sample's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.config import DataConfig
from imgturbo.data.augment import apply_symmetry
from imgturbo.data.philox import Use, philox
from imgturbo.data.store import Rows, TileStore
from imgturbo.errors import ImgturboError
from imgturbo.symmetries import GROUPS

__all__ = ["Passes", "Reader", "any_measured", "detail", "focused", "measured", "placements"]

_MOST = 20  # times that a row is permuted
_MASKS = 256  # rows whose masks are read together


class Passes:
    """Endless permuted passes over some rows.

    Args:
        pool: the rows; one that stands in it twice is seen twice a pass.
        seed: of the permutations.
        number: tells several passes of one seed apart.
    """

    def __init__(self, pool: NDArray[np.int64], seed: int, number: int) -> None:
        self.pool, self._seed, self._number = pool, seed, number
        self._known: dict[int, NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return len(self.pool)

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of the samples of these numbers."""
        rows = np.empty(len(numbers), np.int64)
        if not len(numbers):
            return rows
        passes, within = np.divmod(numbers, len(self.pool))
        for number in np.unique(passes):
            here = passes == number
            rows[here] = self.pool[self._permutation(int(number))[within[here]]]
        return rows

    def _permutation(self, number: int) -> NDArray[np.int64]:
        known = self._known.get(number)
        if known is None:
            generator = philox(self._seed, Use.PERMUTE, number, self._number)
            known = generator.permutation(len(self.pool))
            if len(self._known) > 2:
                self._known.clear()
            self._known[number] = known
        return known


class Reader:
    """Reads rows of a store, of images a crop moved by a symmetry.

    Args:
        store: the tiles.
        config: ``crop``, in pixels of the target, and ``augment``.

    Raises:
        ImgturboError: a crop larger than the tiles, of no whole number of the source's pixels, or
            of tables.
    """

    def __init__(self, store: TileStore, config: DataConfig) -> None:
        tile = store.tile
        if config.crop is not None and tile is None:
            raise ImgturboError(
                f"{store.path}: 'data.crop' is {config.crop} but the tiles are rows of a table; "
                "leave it out"
            )
        if config.crop is not None and tile is not None and config.crop > tile:
            raise ImgturboError(
                f"{store.path}: 'data.crop' is {config.crop} but the tiles are {tile} pixels wide; "
                "make it smaller"
            )
        if config.crop is not None and config.crop % store.factor:
            raise ImgturboError(
                f"{store.path}: 'data.crop' is {config.crop}, in pixels of the target, of which "
                f"the source's are {store.factor} wide; make it a multiple of {store.factor}"
            )
        self.extent = config.crop or tile
        self._tile, self._factor = tile, store.factor
        self._group = GROUPS[config.augment]

    def read(
        self, values: Rows, valid: Rows, rows: NDArray[np.int64], places: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Rows of one side with their masks.

        Args:
            values: (N, C, T, T) or (N, C); T is that of the side.
            valid: (N, T, T) or (N,).
            rows: (B,).
            places: (B, 3), see :func:`placements`.

        Returns:
            (B, C, S, S) and (B, 1, S, S), S the crop's side; (B, C) and (B, 1) of a table.
        """
        data, mask = values.take(rows), valid.take(rows)[:, None]
        if self.extent is None:
            return data, mask
        assert self._tile is not None
        # Both sides are cut at pixels of the coarser one, so that a pair stays one piece of sky.
        step = self._tile // data.shape[-1]
        room = (self._tile - self.extent) // self._factor
        size = self.extent // step
        corners = (places[:, :2] * (room + 1)).astype(int) * (self._factor // step)
        elements = (places[:, 2] * len(self._group)).astype(int)
        cropped = np.empty((*data.shape[:2], size, size), data.dtype)
        cropped_mask = np.empty((len(rows), 1, size, size), bool)
        for sample, ((y, x), element) in enumerate(zip(corners, elements, strict=True)):
            window = (..., slice(y, y + size), slice(x, x + size))
            cropped[sample], cropped_mask[sample, 0] = apply_symmetry(
                [data[sample][window], mask[sample, 0][window]], self._group[element]
            )
        return cropped, cropped_mask


def placements(seed: int, step: int, size: int, rank: int, world: int) -> NDArray[np.float64]:
    """Where each sample of a process's batch is cut out: (B, 2, 3), for z and for x.

    Three uniform numbers say crop y, crop x and symmetry. They are drawn for the joint batch, so
    that they do not depend on how it is shared out.
    """
    joint = philox(seed, Use.PLACE, step).random((size * world, 2, 3))
    return joint[rank * size : (rank + 1) * size]


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


def measured(
    valid: Rows, rows: NDArray[np.int64], extent: int | None, cell: int = 1
) -> NDArray[np.float64]:
    """The largest share of valid cells that a crop of each row may have, 0 to 1.

    Args:
        valid: (N, T, T) or (N,).
        rows: (n,).
        extent: side of the crops in pixels; None: rows of a table.
        cell: side in pixels of the cells, which are valid where all of their pixels are.

    Returns:
        (n,).
    """
    shares = np.empty(len(rows))
    for first in range(0, len(rows), _MASKS):
        part = slice(first, first + _MASKS)
        masks = valid.take(rows[part])
        shares[part] = masks if extent is None else _share_in_crops(masks, extent, cell)
    return shares


def _share_in_crops(masks: NDArray[np.bool_], extent: int, cell: int) -> NDArray[np.float64]:
    """The largest share of the crops' cells, (n,); a crop may begin at any pixel of (n, T, T)."""
    whole = _sums(masks, cell) == cell**2  # of the cell that begins at each pixel
    across = extent // cell
    best = np.zeros(len(masks), np.int64)
    for top in range(min(cell, masks.shape[1] - extent + 1)):
        for left in range(min(cell, masks.shape[2] - extent + 1)):
            cells = whole[:, top::cell, left::cell]
            best = np.maximum(best, _sums(cells, across).reshape(len(masks), -1).max(1))
    return best / across**2


def _sums(masks: NDArray[np.bool_], side: int) -> NDArray[np.int32]:
    """Sums over the squares of this side that begin at each place of (n, T, T), where they fit.

    Of all squares at once: differences of sums from the corner.
    """
    sums = np.pad(masks.cumsum(1, dtype=np.int32).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    low, high = slice(None, -side), slice(side, None)
    return sums[:, high, high] - sums[:, low, high] - sums[:, high, low] + sums[:, low, low]


def any_measured(valid: Sequence[Rows], rows: NDArray[np.int64]) -> bool:
    """Whether some row has a pixel that is valid in all of the masks; reads until it is found.

    Args:
        valid: each (N, T, T) or (N,); of unlike shape they meet in the row as a whole.
        rows: (n,).
    """
    for first in range(0, len(rows), _MASKS):
        masks = [one.take(rows[first : first + _MASKS]) for one in valid]
        if len({mask.shape for mask in masks}) > 1:
            masks = [np.any(mask.reshape(len(mask), -1), axis=1, keepdims=True) for mask in masks]
        if np.logical_and.reduce(masks).any():
            return True
    return False


def focused(pool: NDArray[Any], values: Rows, valid: Rows, focus: float) -> NDArray[np.int64]:
    """The rows of a pool, those with much detail several times; see the module's page."""
    if not len(pool) or len(values.shape) != 4:
        return pool
    found = np.array([detail(values.take(row[None]), valid.take(row[None])) for row in pool])
    found -= found.min()
    if not found.any():
        return pool
    times = 1 + np.rint(focus * found / found.mean()).astype(np.int64)
    return np.repeat(pool, np.minimum(times, _MOST))
