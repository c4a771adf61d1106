"""One grid for both sides: the target's, or the target's at another pixel scale.

A network sees z and x pixel upon pixel, so both must lie on one grid. The target's own grid is
kept where possible, since resampling correlates the noise of neighbouring pixels and the target
is what errors are measured on. The source goes there in a single interpolation, each band from its
own pixels through the *registered* WCS. ``prepare.pixel_scale`` asks for another scale: the
target's pixel axes and sky centre stay, both sides are resampled. Fluxes are kept, of surface
brightness and of fluxes per pixel (:mod:`imgturbo.sky.resampling`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from data_prep.register import Registration, register
from imgturbo.config import RegisterConfig
from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, SkyReader, resample
from imgturbo.sky.grids import SAME_SCALE, scaled_grid
from imgturbo.sky.overlap import require_common

__all__ = ["Aligned", "align"]

Seen = SkyImage | SkyReader
"""An image in memory, or in its files: then bands that lie on other grids are moved once, too."""


@dataclass(frozen=True)
class Aligned:
    """The sides of a field on one grid.

    Attributes:
        source, target: images of the same height and width, or None for an absent side.
        registration: how the source was moved onto the target; None where a side is absent.
        scale: pixels of this grid a pixel of the target as it was read.
    """

    source: SkyImage | None
    target: SkyImage | None
    registration: Registration | None
    scale: float

    @property
    def reference(self) -> SkyImage:
        """The side whose grid it is: the target, or the source where there is no target."""
        image = self.target or self.source
        assert image is not None
        return image

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
) -> Aligned:
    """Register the source onto the target and bring both onto one grid.

    Args:
        source, target: as read, or open; one may be None, the other is then only brought to the
            scale.
        config: how to register.
        pixel_scale: arcsec, or None to keep the target's grid (the source's, without a target).

    Raises:
        ImgturboError: no common sky, no valid pixel, no WCS for a pixel scale, or a registration
            that fails.
    """
    ours, theirs = _image(source), _image(target)
    if source is None or target is None or ours is None or theirs is None:
        alone, image = source or target, ours or theirs
        assert alone is not None
        assert image is not None
        wcs, shape, factor = _grid(image, pixel_scale)
        moved = image if factor == 1 or wcs is None else _move(alone, image.wcs, wcs, shape)
        return Aligned(moved if source else None, moved if target else None, None, factor)

    wcs, shape, factor = _grid(theirs, pixel_scale)
    registration = register(ours, theirs, config)
    # Pictures get a nominal WCS here, so that the files of both sides say the same.
    moved_target = replace(theirs, wcs=registration.target_wcs)
    if factor == 1 or wcs is None:
        wcs = registration.target_wcs
    else:
        moved_target = _move(target, registration.target_wcs, wcs, shape)
    moved = _move(source, registration.source_wcs, wcs, shape, f"the grid of {theirs.path}")
    if not (moved.valid & moved_target.valid).any():
        raise ImgturboError(
            f"{ours.path} and {theirs.path} have no valid pixel in common; pair files of the "
            "same field, or put them into two fields as an unpaired set"
        )
    return Aligned(moved, moved_target, registration, factor)


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
