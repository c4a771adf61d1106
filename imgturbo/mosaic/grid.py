"""An image on the grid that a model needs: another file's (``--grid``), or its own, rescaled.

Pixels are moved by the same spline as when tiles are prepared, once, so that a network sees at work
what it saw in training.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, SkyReader, open_sky, resample
from imgturbo.sky.grids import grid_at, zoomed_grid

__all__ = ["GridReader", "at_scale", "on_grid_of"]


def at_scale(image: SkyImage, pixel_scale: float | None) -> SkyImage:
    """The image with pixels of ``pixel_scale`` arcsec, if it has a WCS and other ones."""
    height, width = image.valid.shape
    grid = grid_at(image.wcs, (height, width), pixel_scale)
    return image if grid is None else resample(image, *grid)


def on_grid_of(
    reader: SkyReader, grid: Path | str, zoom: Fraction = Fraction(1)
) -> tuple[SkyReader, tuple[int, int]]:
    """The reader's bands where a network reads them whose output has the grid of another file.

    Args:
        reader: of the input.
        grid: the file.
        zoom: of the network; with 2 the input lies on pixels twice as wide as the file's.

    Returns:
        The reader on that grid, and (H, W) of the file.

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
    size = (height, width)
    if zoom != 1:
        wcs, size = zoomed_grid(wcs, size, 1 / zoom)
    return reader.on(wcs, size, name=f"the grid of {grid}"), (height, width)


class GridReader:
    """The names that 0.1.0 had for a reader on another grid, for scripts that use them."""

    at_scale = staticmethod(SkyReader.at_scale)

    @staticmethod
    def of_file(reader: SkyReader, grid: Path | str) -> SkyReader:
        """The reader's bands on the grid of another file."""
        return on_grid_of(reader, grid)[0]
