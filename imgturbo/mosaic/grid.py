"""An image on the grid that a model needs: another file's (``--grid``), or its own, rescaled.

Pixels are moved by the same spline as when tiles are prepared, once, so that a network sees at work
what it saw in training.
"""

from __future__ import annotations

from pathlib import Path

from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, SkyReader, open_sky, resample
from imgturbo.sky.grids import grid_at

__all__ = ["at_scale", "on_grid_of"]


def at_scale(image: SkyImage, pixel_scale: float | None) -> SkyImage:
    """The image with pixels of ``pixel_scale`` arcsec, if it has a WCS and other ones."""
    height, width = image.valid.shape
    grid = grid_at(image.wcs, (height, width), pixel_scale)
    return image if grid is None else resample(image, *grid)


def on_grid_of(reader: SkyReader, grid: Path | str) -> SkyReader:
    """The reader's bands on the grid of another file.

    Raises:
        ImgturboError: either side has no WCS, they have no sky in common, or the unit does not say
            what pixels of another size hold.
    """
    with open_sky(grid) as other:
        wcs, (_, height, width) = other.wcs, other.shape
    if reader.wcs is None or wcs is None:
        missing = reader.paths[0] if reader.wcs is None else grid
        raise ImgturboError(
            f"{missing}: has no celestial WCS, which --grid needs; leave --grid out"
        )
    return reader.on(wcs, (height, width), name=f"the grid of {grid}")
