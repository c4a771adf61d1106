"""An image read on another image's pixel grid, a window at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_area

from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, SkyReader, is_surface_brightness, open_sky
from imgturbo.sky.resampling import footprint, resample

__all__ = ["GridReader"]


class GridReader:
    """A `SkyReader` seen through the grid of another file; the same attributes, the same `read`.

    Raises:
        ImgturboError: either side has no WCS, or they have no sky in common.
    """

    def __init__(self, reader: SkyReader, grid: Path | str) -> None:
        self._reader = reader
        with open_sky(grid) as other:
            wcs, size = other.wcs, other.shape[1:]
        whole = (slice(0, size[0]), slice(0, size[1]))
        if reader.wcs is None or wcs is None:
            missing = reader.paths[0] if reader.wcs is None else grid
            raise ImgturboError(f"{missing}: has no celestial WCS, which --grid needs")
        if footprint(reader.wcs, reader.shape[1:], wcs, whole) is None:
            raise ImgturboError(
                f"{reader.paths[0]} and the grid of {grid} have no sky in common; "
                "give a grid of the same field"
            )
        self._from: WCS = reader.wcs
        self.wcs: WCS = wcs
        self.shape = (reader.shape[0], *size)
        self.bands, self.unit, self.paths = reader.bands, reader.unit, reader.paths
        self.header = reader.header
        self.pixel_scale = float(np.sqrt(proj_plane_pixel_area(wcs)) * 3600)
        self.zeropoints = reader.zeropoints
        if is_surface_brightness(reader.unit):
            ratio = proj_plane_pixel_area(wcs) / proj_plane_pixel_area(reader.wcs)
            dimmer = 2.5 * float(np.log10(ratio))
            self.zeropoints = tuple(None if z is None else z - dimmer for z in reader.zeropoints)

    def read(self, rows: slice, cols: slice) -> SkyImage:
        """The window ``[rows, cols]`` of the new grid."""
        wcs = self.wcs.slice((rows, cols))
        size = (rows.stop - rows.start, cols.stop - cols.start)
        part = footprint(self._from, self._reader.shape[1:], self.wcs, (rows, cols))
        if part is None:
            data = np.full((self.shape[0], *size), np.nan, np.float32)
            return SkyImage(
                data, np.zeros(size, bool), wcs, self.unit, self.bands, zeropoints=self.zeropoints
            )
        return resample(self._reader.read(*part), wcs, size)

    def close(self) -> None:
        """Let go of the files."""
        self._reader.close()
