"""An image read on another pixel grid, a window at a time.

The grid is another file's (``--grid``), or the image's own at the pixel scale that the model knows.
Pixels are moved by the same cubic spline as when tiles are prepared, so that a network sees at work
what it saw in training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.wcs import WCS

from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, SkyReader, open_sky
from imgturbo.sky.headers import pixel_area, pixel_scale, wcs_window
from imgturbo.sky.image import row_order
from imgturbo.sky.photometry import check_resizable
from imgturbo.sky.resampling import SAME_SCALE, coarser, footprint, resample, scaled_grid

__all__ = ["GridReader", "at_scale"]


def at_scale(image: SkyImage, pixel_scale: float | None) -> SkyImage:
    """The image with pixels of ``pixel_scale`` arcsec, if it has a WCS and other ones."""
    size = image.valid.shape
    grid = _grid_at(image.wcs, size, image.pixel_scale, pixel_scale)
    return image if grid is None else resample(image, *grid, "bicubic")


def _grid_at(
    wcs: WCS | None, size: tuple[int, ...], own: float | None, wanted: float | None
) -> tuple[WCS, tuple[int, int]] | None:
    """The same sky and axes at another scale; None where there is nothing to change or to know."""
    if wcs is None or own is None or not wanted or abs(own / wanted - 1) < SAME_SCALE:
        return None
    grid, shape, _ = scaled_grid(wcs, (size[0], size[1]), wanted)
    return grid, shape


class GridReader:
    """A `SkyReader` seen through another grid; the same attributes, the same `read`.

    Raises:
        ImgturboError: the unit does not say what pixels of another size hold.
    """

    def __init__(self, reader: SkyReader, wcs: WCS, size: tuple[int, int]) -> None:
        assert reader.wcs is not None
        self._reader = reader
        self._from: WCS = reader.wcs
        self.wcs: WCS = wcs
        self.shape = (reader.shape[0], *size)
        self.bands, self.unit, self.paths = reader.bands, reader.unit, reader.paths
        self.header = reader.header
        self.pixel_scale = pixel_scale(wcs, size)
        self.row_order = row_order(wcs, reader.header, reader.paths[0])
        self._averaged = coarser(reader.wcs, wcs)
        area = pixel_area(wcs, size)
        check_resizable(reader.scales[0].unit, str(reader.paths[0]))
        self.scales = tuple(scale.on(area) for scale in reader.scales)
        self.zeropoints = tuple(scale.zeropoint for scale in self.scales)
        self.unit_is_assumed = reader.unit_is_assumed
        self.glance = reader.glance

    @classmethod
    def of_file(cls, reader: SkyReader, grid: Path | str) -> GridReader:
        """On the grid of another file.

        Raises:
            ImgturboError: either side has no WCS, or they have no sky in common.
        """
        with open_sky(grid) as other:
            wcs, (_, height, width) = other.wcs, other.shape
        if reader.wcs is None or wcs is None:
            missing = reader.paths[0] if reader.wcs is None else grid
            raise ImgturboError(
                f"{missing}: has no celestial WCS, which --grid needs; leave --grid out"
            )
        whole = (slice(0, height), slice(0, width))
        if footprint(reader.wcs, reader.shape[1:], wcs, whole) is None:
            raise ImgturboError(
                f"{reader.paths[0]} and the grid of {grid} have no sky in common; "
                "give a grid of the same field"
            )
        return cls(reader, wcs, (height, width))

    @classmethod
    def at_scale(cls, reader: SkyReader, pixel_scale: float | None) -> SkyReader | GridReader:
        """As :func:`at_scale`, of an image that is still in its files."""
        grid = _grid_at(reader.wcs, reader.shape[1:], reader.pixel_scale, pixel_scale)
        return reader if grid is None else cls(reader, *grid)

    def read(self, rows: slice, cols: slice) -> SkyImage:
        """The window ``[rows, cols]`` of the new grid."""
        wcs = wcs_window(self.wcs, rows, cols)
        size = (rows.stop - rows.start, cols.stop - cols.start)
        _, height, width = self._reader.shape
        part = footprint(self._from, (height, width), self.wcs, (rows, cols), "bicubic")
        if part is None:
            data = np.full((self.shape[0], *size), np.nan, np.float32)
            return SkyImage(
                data, np.zeros(size, bool), wcs, self.unit, self.bands, zeropoints=self.zeropoints
            )
        return resample(self._reader.read(*part), wcs, size, "bicubic", self._averaged)

    def close(self) -> None:
        """Let go of the files."""
        self._reader.close()
