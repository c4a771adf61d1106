r"""Is this the sky that the network was trained on? Level and noise of the background.

The stretch of a bundle's input side knows both: its offset is the training sky's level, its
softening so many σ of its noise. The input is cut into cells, and of each, a band,

    level    m = the sigma-clipped median,      q = the median of the calmest squares
    noise    s = 1.4826 MAD after clipping,     t = the same of these, over its expectation

Sources raise the first of each pair, most of all in crowded fields; in the calmest quarter of the
squares of 8 × 8 pixels, by their standard deviation, there are few. In pure noise deviation and
mean know nothing of each other, so that choosing by one does not move the other. The training's
level was measured like m, so m counts, but never more than a tenth of σ away from q, and the more
is allowed upward the more they differ; of the noise the milder opinion counts. An image is judged
by the median of its cells, so that no cluster of galaxies raises an alarm, and a cell by itself
where it is much unlike, for mosaics are not equally deep everywhere. The grid of cells is the
image's own and no window's (law 1).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgturbo.errors import ImgturboError
from imgturbo.sky import Stretch
from imgturbo.sky.stretch import clipped_sky, middle_of

__all__ = ["Background"]

CELL = 128
"""Pixels across, about, of a cell."""

_TILE = 8
_CALM = 0.25  # share of the tiles
_CALM_NOISE = 0.85  # σ of those chosen for a small one, over the true one
_FEWEST = 256  # pixels that a cell must have
_SURVEYED = 64  # cells that the verdict on the whole image goes by
_LEVEL, _NOISE = 0.3, 1.3  # σ; factor: beyond them the sky is another
_DEEPER = 0.5  # factor: what is deeper is smoother, and does less harm
_NONE = 0.1  # factor: below it there is no noise, and so no observed sky to speak of
_ALONE = 1.0  # σ: as _LEVEL, of a single cell, which the halo of a galaxy may fill
_SMALL = 8.0  # over the root of the pixels: what chance adds to levels; half of it to noise
_CROWDED = 0.1  # σ by which the calm level may differ from the clipped one

Array = npt.NDArray[np.float64]
Where = npt.NDArray[np.bool_]
Flux = npt.NDArray[np.floating]


@dataclass(frozen=True)
class _Cell:
    """Opinions (C,) on level and noise, and the pixels that they come from."""

    levels: tuple[Array, Array]
    noises: tuple[Array, Array]
    pixels: float

    def level(self, crowded: Array) -> Array:
        """The clipped level, but in crowded fields near the calm one."""
        middle, calm = self.levels
        return np.clip(middle, calm - crowded, calm + crowded)


class Background:
    """The sky of an image beside that of the training, cell by cell.

    Args:
        flux: ``(rows, cols) → (C, h, w)``, in the unit of the stretch, NaN where not measured.
        size: (H, W) of the image.
        stretch: of the network's input.
        softening: of the stretch, in σ of the training sky.
        bands: their names.
        match: bring the sky's level to the training's.

    Raises:
        ImgturboError: the level is to be matched of what has no sky: pictures, linear stretches.
    """

    def __init__(
        self,
        flux: Callable[[slice, slice], Flux],
        size: tuple[int, int],
        stretch: Stretch | None,
        softening: float,
        bands: Sequence[str],
        match: bool = False,
    ) -> None:
        self._flux, self.bands = flux, tuple(bands)
        self.known = stretch is not None and bool(np.isfinite(stretch.softening).all())
        if match and not self.known:
            raise ImgturboError(
                "--match-sky (match_sky) is for fluxes whose training sky is known; this model "
                "reads pictures or has a linear stretch: leave it out"
            )
        self._cuts = tuple(np.linspace(0, n, max(1, round(n / CELL)) + 1).astype(int) for n in size)
        self._verdicts: dict[tuple[int, int], bool] = {}
        self.shift = np.zeros(len(self.bands))
        self._whole: _Cell | None = None
        if stretch is None or not self.known:
            return
        self._offset, self._sigma = stretch.offset, stretch.softening / softening
        self._whole = self._survey()
        if match and self._whole is not None:
            self.shift = self._whole.level(_CROWDED * self._sigma) - self._offset

    def warn(self, what: str, unit: str) -> None:
        """Say in one line, with numbers, how this sky differs from the training's, if it does."""
        if self._whole is None:
            return
        level, ratio = self._compared(self._whole)
        off, noisy = self._beyond(self._whole, _LEVEL)
        other = off | noisy
        if not other.any():
            return
        parts = [
            f"{band} level {level[k]:+.2f} σ ({level[k] * self._sigma[k]:+.3g} {unit}".rstrip()
            + f"), noise × {ratio[k]:.2f}"
            for k, band in enumerate(self.bands)
            if other[k]
        ]
        remedy = "; --match-sky (match_sky) brings the level to the training's" if off.any() else ""
        warnings.warn(
            f"{what}: its sky is not the training's: {'; '.join(parts)}; the prediction's "
            f"background and faint sources are doubtful, flag 2{remedy}",
            stacklevel=3,
        )

    def other(self, rows: slice, cols: slice) -> Where | None:
        """(h, w): where the sky is not the training's; None where it is everywhere, or unknown."""
        if self._whole is None:
            return None
        found = np.zeros((rows.stop - rows.start, cols.stop - cols.start), bool)
        for i, y in _overlapping(self._cuts[0], rows):
            across = _overlapping(self._cuts[1], cols)
            self._judge(i, [j for j, _ in across if (i, j) not in self._verdicts])
            for j, x in across:
                found[y, x] = self._verdicts[i, j]
        return found

    # ------------------------------------------------------------------------------ cells

    def _judge(self, i: int, row: Sequence[int]) -> None:
        """Note of cells side by side whether their sky is another; they are read in one piece.

        Where little was measured it is the whole image's.
        """
        if not row:
            return
        assert self._whole is not None
        down, across = self._cuts
        first = int(across[row[0]])
        rows, cols = slice(int(down[i]), int(down[i + 1])), slice(first, int(across[row[-1] + 1]))
        flux = self._flux(rows, cols)
        for j in row:
            level, noise = self._beyond(self._whole, _LEVEL)
            cell = _measure(flux[:, :, int(across[j]) - first : int(across[j + 1]) - first])
            if cell is not None:
                alone, noise = self._beyond(cell, _ALONE)
                level = level | alone
            self._verdicts[i, j] = bool((level | noise).any())

    def _compared(self, cell: _Cell) -> tuple[Array, Array]:
        """(level in σ above the training's, noise over the training's), a band."""
        level = cell.level(_CROWDED * self._sigma) - self.shift - self._offset
        ratios = np.stack(cell.noises) / self._sigma
        mild = np.where((ratios < 1).all(0), ratios.max(0), np.maximum(ratios.min(0), 1.0))
        return level / self._sigma, mild

    def _beyond(self, cell: _Cell, limit: float) -> tuple[Where, Where]:
        """Whether the level, and the noise, are beyond what is allowed, a band."""
        level, ratio = self._compared(cell)
        chance = _SMALL / np.sqrt(cell.pixels)
        crowding = np.maximum(0, cell.levels[0] - cell.levels[1]) / self._sigma
        off = (level > limit + chance + crowding) | (level < -limit - chance)
        observed = np.min(cell.noises, axis=0) > _NONE * self._sigma
        noisy = (ratio > _NOISE + chance / 2) | (ratio < _DEEPER - chance / 2)
        return observed & off, observed & noisy

    def _survey(self) -> _Cell | None:
        """The median of cells that are evenly spread; None without any that could be measured."""
        down, across = (len(cuts) - 1 for cuts in self._cuts)
        every = max(1, int(np.ceil(np.sqrt(down * across / _SURVEYED))))
        places = [(i, j) for i in range(0, down, every) for j in range(0, across, every)]
        cells = [cell for place in places if (cell := _measure(self._read(*place))) is not None]
        if not cells:
            return None
        columns = zip(*[(*cell.levels, *cell.noises) for cell in cells], strict=True)
        m, q, s, t = (np.median(column, axis=0) for column in columns)
        return _Cell((m, q), (s, t), sum(cell.pixels for cell in cells))

    def _read(self, i: int, j: int) -> Flux:
        rows, cols = (
            slice(*map(int, cuts[k : k + 2])) for cuts, k in zip(self._cuts, (i, j), strict=True)
        )
        return self._flux(rows, cols)


def _measure(flux: Flux) -> _Cell | None:
    """What a cell (C, h, w) says of its sky; None where too little was measured."""
    valid = np.isfinite(flux).all(0)
    pixels = int(valid.sum())
    if pixels < _FEWEST:
        return None
    tiles = _tiles(flux)
    tiles = tiles[:, np.isfinite(tiles).all((0, 2))]
    opinions = []
    for k, plane in enumerate(flux):
        measured = plane[valid]
        if np.ptp(measured) == 0:
            return None  # no noise, no sky
        middle, sigma = _clipped(measured)
        calm = _calmest(tiles[k]) if tiles.shape[1] >= 4 else (middle, sigma)
        opinions.append((middle, calm[0], sigma, calm[1]))
    m, q, s, t = np.array(opinions).T
    return _Cell((m, q), (s, t), pixels)


def _overlapping(cuts: npt.NDArray[np.intp], extent: slice) -> list[tuple[int, slice]]:
    """Numbers of the cells along an axis that an extent touches, and where within it."""
    return [
        (k, slice(max(0, int(cuts[k]) - extent.start), int(cuts[k + 1]) - extent.start))
        for k in range(len(cuts) - 1)
        if cuts[k] < extent.stop and cuts[k + 1] > extent.start
    ]


def _tiles(flux: Flux) -> Array:
    """(C, n, 64): squares of a cell."""
    channels, height, width = flux.shape
    down, across = height // _TILE, width // _TILE
    whole = flux[:, : down * _TILE, : across * _TILE].astype(np.float64)
    split = whole.reshape(channels, down, _TILE, across, _TILE).swapaxes(2, 3)
    return split.reshape(channels, down * across, _TILE * _TILE)


def _calmest(tiles: Array) -> tuple[float, float]:
    """Level and noise of those squares that vary least."""
    order = np.argsort(tiles.std(1))
    calm = tiles[order[: max(1, round(_CALM * len(tiles)))]].ravel()
    level, noise = middle_of(calm)
    return level, noise / _CALM_NOISE


def _clipped(pixels: Flux) -> tuple[float, float]:
    """Level and noise as the stretch's fit measures them."""
    level, sigma = clipped_sky(pixels)
    return level, sigma or float(np.std(pixels.astype(np.float64))) or 1.0
