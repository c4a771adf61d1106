"""The images of a report brought together: one grid, one unit, the level of the sky taken away.

Prediction and truth have the truth's bands, grid and (the prediction's) unit; the source has its
own bands on that grid. From each the local background is subtracted, in boxes that are wider than
galaxies (photutils), so that fluxes in circles are those of sources and the sky's level is a figure
of its own. The noise of a pixel is that of the truth, or of the prediction where there is no truth
or one without noise, as of a simulation. Large arrays lie in scratch files
(:mod:`imgturbo.scoring.held`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.metrics.detection import local_background, sky_noise
from imgturbo.scoring.held import HALO, held, pieces, sampled
from imgturbo.scoring.together import (
    Image,
    Matched,
    as_sky,
    in_unit_of,
    name_of,
    on_grid,
    with_bands_of,
)
from imgturbo.sky import SkyImage
from imgturbo.sky.units import DISPLAY

__all__ = ["APERTURE", "Role", "Scene", "bring_together"]

Array = NDArray[np.float64]
Role = str
"""prediction, truth or source."""

APERTURE = 0.4
"""Arcsec: radius of the circles in which fluxes are summed."""

_PIXELS = 4.0  # the same where pixels have no size
_LEAST = 2.0  # pixels: smaller circles are made of parts of pixels
_BOX = 64  # pixels a side of the background's boxes
_THINNED = 7  # every so many pixels of the sky's level are enough for its middle
_LEAST_NOISE = 1e-4  # of the prediction's: a truth that has less is noiseless


@dataclass(frozen=True, eq=False)
class Scene:
    """Images of one patch of sky, ready to be measured.

    Attributes:
        images: by role; prediction and truth of the same bands and unit. There may be no truth, and
            no source.
        valid: (H, W), measured in all of them.
        light: by role, (C, H, W) float32, less the sky's level, NaN where not valid.
        level: by role, (C,), that level in the middle of the image's pixels.
        noise: σ of a pixel, of the bands of the prediction (C,).
        order: which band of the prediction as it was given each of its bands is; None where it was
            resampled, and its file's other extensions fit no more.
        notes: what the user should know.
    """

    images: dict[Role, SkyImage]
    valid: NDArray[np.bool_]
    light: dict[Role, NDArray[np.float32]]
    level: dict[Role, Array]
    noise: Array
    order: tuple[int, ...] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def bands(self) -> tuple[str, ...]:
        """Of prediction and truth."""
        return self.images["prediction"].bands

    @property
    def pixel_scale(self) -> float | None:
        """Arcsec; None without a WCS, and of pictures, whose coordinates are nominal."""
        return None if self.is_picture else self.images["prediction"].pixel_scale

    @property
    def is_picture(self) -> bool:
        """Whether values are grey values, made for the eye, and no fluxes."""
        return self.images["prediction"].unit == DISPLAY

    @property
    def magnitude_name(self) -> str:
        """What a magnitude of this scene is, for axes and headings."""
        if self.is_picture:
            return "of grey values"
        return "zero point 0" if None in self.images["prediction"].zeropoints else "AB"

    @property
    def radius(self) -> float:
        """Of the circles, in pixels."""
        return max(_LEAST, APERTURE / self.pixel_scale) if self.pixel_scale else _PIXELS

    @property
    def area(self) -> float | None:
        """Square arcmin of what is valid; None without a WCS."""
        scale = self.pixel_scale
        return float(self.valid.sum()) * scale**2 / 3600 if scale else None

    @property
    def faintest(self) -> Array:
        """Fluxes (C,) of prediction and truth that are 3 σ of a circle, were pixels independent."""
        return np.asarray(3 * self.noise * np.sqrt(np.pi) * self.radius)

    def part(self, side: int) -> tuple[Scene, tuple[slice, slice]]:
        """Of the scene at most ``side`` pixels a side, where most is valid, and where it lies."""
        rows, cols = _fullest(self.valid, side)
        if (rows.stop - rows.start, cols.stop - cols.start) == self.valid.shape:
            return self, (rows, cols)
        images = {role: image.window(rows, cols) for role, image in self.images.items()}
        light = {role: of[:, rows, cols] for role, of in self.light.items()}
        return replace(self, images=images, valid=self.valid[rows, cols], light=light), (rows, cols)

    def magnitudes(self, role: Role, fluxes: Array) -> Array:
        """AB magnitudes (N, C) of fluxes (N, C); NaN where one is not positive.

        Instrumental ones, of zero point 0, where none is known.
        """
        zero = np.array([z or 0.0 for z in self.images[role].zeropoints])
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(fluxes > 0, zero - 2.5 * np.log10(fluxes), np.nan)


def bring_together(
    prediction: Image,
    truth: Image | None = None,
    source: Image | None = None,
    bands: Sequence[str] | None = None,
) -> Scene:
    """Read the images of a report.

    Args:
        prediction, truth, source: files, images or arrays, as ``evaluate`` takes them.
        bands: names of the prediction's bands, where headers lie.

    Raises:
        ImgturboError: bands, units or grids that cannot be reconciled, or no common valid pixel.
    """
    done = Matched()
    seen = as_sky(prediction, "prediction", bands)
    images, order = {"prediction": seen}, tuple(range(len(seen.bands)))
    if truth is not None:
        true = as_sky(truth, "truth")
        chosen = with_bands_of(true, seen, done)
        order = tuple(seen.bands.index(band) for band in chosen.bands)
        made = on_grid(chosen, true, "prediction", done, prediction, bands)
        images = {"prediction": made, "truth": in_unit_of(made, true)}
    grid = images.get("truth", images["prediction"])
    if source is not None:
        given = as_sky(source, "source")
        images["source"] = on_grid(given, grid, "source", done, source)
    valid = _common(images)
    if not valid.any():
        names = ", ".join(name_of(image, role) for role, image in images.items())
        raise ImgturboError(f"{names} share no valid pixel; check masks and WCS")
    light, level = {}, {}
    for role, image in images.items():
        light[role], level[role] = _less_sky(image.data, valid)
    own = None if "prediction" in done.resampled else order
    return Scene(images, valid, light, level, _noise(light, valid, done.notes), own, done.notes)


def _fullest(valid: NDArray[np.bool_], side: int) -> tuple[slice, slice]:
    """Of the squares of ``side`` pixels half a side apart, the one with most valid pixels.

    Of several as full as that it is the one nearest to the middle.
    """
    rows, cols = (
        [slice(first, min(of, first + side)) for first in _steps(of, side)] for of in valid.shape
    )
    return max(product(rows, cols), key=lambda square: int(valid[square].sum()))


def _steps(of: int, side: int) -> list[int]:
    """Where squares begin along an axis, those nearest to the middle first."""
    last = max(0, of - side)
    return sorted({*range(0, last, max(1, side // 2)), last}, key=lambda at: abs(2 * at - last))


def _common(images: dict[Role, SkyImage]) -> NDArray[np.bool_]:
    first, *others = images.values()
    valid: NDArray[np.bool_] = held(first.valid.shape, np.bool_)
    valid[:] = first.valid
    for image in others:
        valid &= image.valid
    return valid


def _less_sky(
    data: NDArray[np.float32], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], Array]:
    """(C, H, W) less the local level, and the middle of that level (C,)."""
    light = held(data.shape)
    levels: list[list[Array]] = [[] for _ in data]
    for piece in pieces(valid.shape, HALO):
        known = valid[piece.wide]
        for band, plane in enumerate(data):
            if not known.any():
                light[band][piece.core] = np.nan
                continue
            image = np.where(known, plane[piece.wide], 0).astype(np.float64)
            sky = local_background(image, known, _BOX, 90.0)
            light[band][piece.core] = np.where(known, image - sky, np.nan)[piece.inner]
            levels[band].append(sky[piece.inner][known[piece.inner]][::_THINNED])
    return light, np.array([np.median(np.concatenate(of)) for of in levels])


def _noise(
    light: dict[Role, NDArray[np.float32]], valid: NDArray[np.bool_], notes: list[str]
) -> Array:
    own, *_ = sigmas = [
        np.array([sky_noise(pixels) for pixels in sampled(light[role], valid)])
        for role in ("prediction", "truth")
        if role in light
    ]
    if len(sigmas) == 2 and (sigmas[1] > _LEAST_NOISE * own).all():
        return sigmas[1]
    what = "the truth has no noise" if len(sigmas) == 2 else "there is no truth"
    notes.append(f"{what}: thresholds are by the noise of the prediction itself, which it smooths")
    return np.maximum(own, np.finfo(np.float32).tiny)
