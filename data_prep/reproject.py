"""One grid for both sides: the target's, or the target's at another pixel scale.

A network sees z and x pixel upon pixel, so both must lie on one grid. The target's own grid is
kept where possible, since resampling correlates the noise of neighbouring pixels and the target
is what errors are measured on. The source goes there in a single interpolation, each band from its
own pixels through the *registered* WCS. ``prepare.pixel_scale`` asks for another scale: the
target's pixel axes and sky centre stay, both sides are resampled. Fluxes are kept, of surface
brightness and of fluxes per pixel (:mod:`imgturbo.sky.resampling`).

For super-resolution the source goes to a grid ``factor`` times as coarse, each of whose pixels
covers ``factor`` × ``factor`` of the target's; rows and columns of the target that fill no such
pixel are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from data_prep.register import Registration, register
from imgturbo.config import RegisterConfig
from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, SkyReader, resample
from imgturbo.sky.grids import SAME_SCALE, scaled_grid, zoomed_grid
from imgturbo.sky.overlap import require_common

__all__ = ["Aligned", "align", "repeated"]

Seen = SkyImage | SkyReader
"""An image in memory, or in its files: then bands that lie on other grids are moved once, too."""


@dataclass(frozen=True)
class Aligned:
    """The sides of a field on one grid.

    Attributes:
        source, target: images of the same height and width, or None for an absent side; with a
            ``factor`` the source has so many times fewer rows and columns.
        registration: how the source was moved onto the target; None where a side is absent.
        scale: pixels of this grid a pixel of the target as it was read.
        factor: pixels of this grid, the target's, across one of the source.
    """

    source: SkyImage | None
    target: SkyImage | None
    registration: Registration | None
    scale: float
    factor: int = 1

    @property
    def reference(self) -> SkyImage:
        """The side whose grid it is: the target, or the source where there is no target."""
        image = self.target or self.source
        assert image is not None
        return image

    @property
    def grid(self) -> tuple[WCS | None, tuple[int, int]]:
        """The grid that both sides are counted in, the target's, and its shape (H, W)."""
        wcs, (height, width) = self.reference.wcs, self.reference.valid.shape
        if self.target is not None or self.factor == 1 or wcs is None:
            return wcs, (height, width)
        return zoomed_grid(wcs, (height, width), Fraction(self.factor))

    def residuals(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Registration residual in pixels of this grid at pixels (x, y) of it; NaN if unknown."""
        if self.registration is None:
            return np.full(np.shape(x), np.nan)
        f = self.scale
        there = self.registration.residual_at((x + 0.5) / f - 0.5, (y + 0.5) / f - 0.5)
        return np.asarray(there, float) * f


def align(
    source: Seen | None,
    target: Seen | None,
    config: RegisterConfig,
    pixel_scale: float | None = None,
    factor: int = 1,
) -> Aligned:
    """Register the source onto the target and bring both onto one grid.

    Args:
        source, target: as read, or open; one may be None, the other is then only brought to the
            scale.
        config: how to register.
        pixel_scale: arcsec, or None to keep the target's grid (the source's, without a target).
        factor: pixels of that grid across one of the source's; a source alone has its own.

    Raises:
        ImgturboError: no common sky, no valid pixel, no WCS for a pixel scale, or a registration
            that fails.
    """
    ours, theirs = _image(source), _image(target)
    if source is None or target is None or ours is None or theirs is None:
        alone, image = source or target, ours or theirs
        assert alone is not None
        assert image is not None
        wcs, shape, scale = _grid(image, pixel_scale)
        moved = image if scale == 1 or wcs is None else _move(alone, image.wcs, wcs, shape)
        if target is not None:
            moved = _whole_cells(moved, factor)
        return Aligned(moved if source else None, moved if target else None, None, scale, factor)

    wcs, shape, scale = _grid(theirs, pixel_scale)
    registration = register(ours, theirs, config)
    # Pictures get a nominal WCS here, so that the files of both sides say the same.
    moved_target = replace(theirs, wcs=registration.target_wcs)
    if scale == 1 or wcs is None:
        wcs = registration.target_wcs
    else:
        moved_target = _move(target, registration.target_wcs, wcs, shape)
    if factor > 1:
        moved_target = _whole_cells(moved_target, factor)
        assert moved_target.wcs is not None
        wcs, shape = zoomed_grid(moved_target.wcs, moved_target.valid.shape, Fraction(1, factor))
    moved = _move(source, registration.source_wcs, wcs, shape, f"the grid of {theirs.path}")
    if not (repeated(moved.valid, factor) & moved_target.valid).any():
        raise ImgturboError(
            f"{ours.path} and {theirs.path} have no valid pixel in common; pair files of the "
            "same field, or put them into two fields as an unpaired set"
        )
    return Aligned(moved, moved_target, registration, scale, factor)


def repeated(mask: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    """A mask (h, w) of the source on the grid of the target, ``factor`` times as fine."""
    return mask if factor == 1 else mask.repeat(factor, 0).repeat(factor, 1)


def _whole_cells(image: SkyImage, factor: int) -> SkyImage:
    """Without the last rows and columns that fill no pixel ``factor`` times as wide.

    Raises:
        ImgturboError: nothing is left.
    """
    height, width = (side - side % factor for side in image.valid.shape)
    if not height or not width:
        raise ImgturboError(f"{image.path}: is smaller than one pixel of the source; give more sky")
    return (
        image if (height, width) == image.valid.shape else image.window(slice(height), slice(width))
    )


def _image(side: Seen | None) -> SkyImage | None:
    image = side.read() if isinstance(side, SkyReader) else side
    if image is not None:
        require_common([np.isfinite(image.data)], image.bands, str(image.path))
    return image


def _move(
    side: Seen, registered: WCS | None, wcs: WCS, shape: tuple[int, int], name: str = "the new grid"
) -> SkyImage:
    """A side whose pixels really lie where ``registered`` says, on a grid of this name."""
    if isinstance(side, SkyReader):
        seen = None if registered is side.wcs else registered
        return side.on(wcs, shape, seen, name).read()
    return resample(replace(side, wcs=registered), wcs, shape)


def _grid(image: SkyImage, pixel_scale: float | None) -> tuple[WCS | None, tuple[int, int], float]:
    _, height, width = image.shape
    if pixel_scale is None:
        return image.wcs, (height, width), 1.0
    if image.wcs is None or image.pixel_scale is None:
        raise ImgturboError(
            f"{image.path}: has no WCS, so 'prepare.pixel_scale' means nothing to it; leave it out"
        )
    if abs(image.pixel_scale / pixel_scale - 1) < SAME_SCALE:
        return image.wcs, (height, width), 1.0
    return scaled_grid(image.wcs, (height, width), pixel_scale)
