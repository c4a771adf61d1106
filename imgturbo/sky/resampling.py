"""Flux-aware change of grid, in one step.

    f'(x', y') = J · Σ w f / Σ w          (per pixel),          without J for surface brightness,

J = Ω'/Ω old pixels a new one: a surface brightness keeps its value, a flux per pixel is multiplied
by J, so that sources keep their total flux either way (:class:`imgturbo.sky.grids.Route`).

Where the new pixels are about as fine as the old or finer, w is a quintic spline (Thévenaz, Blu &
Unser 2000, doi 10.1109/42.875199) sampled at the new pixel's centre. Where they are coarser that
would skip pixels, lose flux and alias noise, so f' is the average of a spline over the new pixel's
area, of as many evenly spread samples across as the pixel is wide in old ones. Of a star's width

    FWHM'² ≈ FWHM² + 5.545 (1 − 1/n²) p'²/12,     n samples across a new pixel p' (n = 1: no cost),

and up to 2 % more, at half a pixel's shift, where it has less than two old pixels across its FWHM.

Pixels that were not measured take no part; the spline sees their nearest measured neighbour there.
A new pixel is NaN where less than half of its weight was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates, spline_filter

from imgturbo.errors import ImgturboError
from imgturbo.sky.frames import icrs, same_grid
from imgturbo.sky.grids import Route, same_area
from imgturbo.sky.image import SkyImage, measured
from imgturbo.sky.photometry import check_resizable
from imgturbo.sky.wcs import pixel_area

__all__ = ["Order", "resample", "resample_window"]

Order = Literal["nearest", "bilinear", "bicubic", "biquintic"]
Read = Callable[[slice, slice], Iterable[NDArray[np.float32]]]

_MEASURED = 0.5
_BLOCK = 1 << 20  # samples at a time
_SPLINE = {"nearest": 0, "bilinear": 1, "bicubic": 3, "biquintic": 5}
_AVERAGED = 3  # order of the spline that is averaged: of a higher one nothing would be left
_MARGIN = {"nearest": 2, "bilinear": 2, "bicubic": 26, "biquintic": 36}
"""Old pixels around a place that its value depends on; a spline's prefilter decays as 0.27ⁿ, a
quintic's as 0.43ⁿ, so that 24 and 33 leave 1e-12."""
_TIE = 1e-4
"""Pixels by which a place may lie outside and still be on the edge, and weight that may be lacking
of a half. Places are known to 1e-6, by which they differ from window to window, and at scales such
as 5/4 many of them lie exactly on an edge."""


def resample(
    image: SkyImage, wcs: WCS | None, shape: tuple[int, int], order: Order = "biquintic"
) -> SkyImage:
    """``image`` on the grid ``wcs`` of ``shape`` (H, W); as it is where it lies on that already.

    Fluxes per pixel (electron/s, nJy) are conserved in their sum,
    surface brightness (MJy/sr, display values) in its value; its zero points follow the pixels'
    area. Pixels that are coarser than 1.1 old ones are averages over their area (but for
    ``"nearest"``).

    Raises:
        ImgturboError: no WCS on either side, no sky in common, or a unit that does not say what
            pixels of another size hold.
    """
    name = str(image.path or "the image")
    if image.wcs is None or wcs is None:
        raise ImgturboError(
            f"{name}: cannot be resampled without a celestial WCS on both sides; "
            "use files that have one, or register the images first (imgturbo prepare)"
        )
    size = image.shape[1], image.shape[2]
    if size == shape and same_grid(image.wcs, wcs, shape):
        return replace(image, wcs=wcs)
    route, window = Route(shape, (wcs, image.wcs)), (slice(0, shape[0]), slice(0, shape[1]))
    if route.footprint(size, window) is None:
        raise ImgturboError(
            f"{name} (centre {_centre(image.wcs, image.shape[1:])}) has no sky in common with the "
            f"grid it shall move to (centre {_centre(wcs, shape)}); give files of the same field"
        )
    scales = image.scales
    unit, moved = scales[0].unit, tuple(scale.on(pixel_area(wcs, shape)) for scale in scales)
    if not same_area(image.wcs, wcs):
        check_resizable(unit, name)
    data = resample_window(
        lambda rows, cols: image.data[:, rows, cols],
        len(image.data),
        size,
        route,
        window,
        not unit.intensive,
        order,
    )
    zeropoints = tuple(scale.zeropoint for scale in moved)
    return replace(image, data=data, valid=measured(data), wcs=wcs, zeropoints=zeropoints)


def resample_window(
    read: Read,
    channels: int,
    size: tuple[int, int],
    route: Route,
    window: tuple[slice, slice],
    per_pixel: bool,
    order: Order = "biquintic",
) -> NDArray[np.float32]:
    """A window of the new grid, of bands that are read as far as it needs them.

    Each new pixel depends on old ones near it only, so a window is a part of the whole.

    Args:
        read: rows and columns of the old grid → C planes (h, w), NaN where not measured.
        channels: C, bands on one old grid.
        size: (H, W) of the old grid.
        route: from the new grid to the old.
        window: rows and columns of the new grid.
        per_pixel: whether values are fluxes per pixel.
        order: of the spline; averages are of a cubic one at most.

    Returns:
        (C, h', w') of the window, NaN where too little was measured.
    """
    rows, cols = window
    samples = (1, 1) if order == "nearest" else route.samples
    spline = _SPLINE[order] if samples == (1, 1) else min(_SPLINE[order], _AVERAGED)
    width = cols.stop - cols.start
    result = np.full((channels, rows.stop - rows.start, width), np.nan, np.float32)
    step = max(1, _BLOCK // max(1, width * samples[0] * samples[1]))
    for top in range(rows.start, rows.stop, step):  # in float64, so a part at a time
        block = (slice(top, min(top + step, rows.stop)), cols)
        part = route.footprint(size, block, _MARGIN[order])
        if part is None:
            continue
        u, v, ratio = route.over(block, samples)
        u, v = u - part[1].start, v - part[0].start
        out = result[:, top - rows.start : block[0].stop - rows.start]
        for plane, values in zip(read(*part), out, strict=True):
            found = _average(plane, v, u, samples, spline)
            values[...] = found * ratio if per_pixel else found
    return result


def _average(
    plane: NDArray[np.float32],
    v: NDArray[np.float64],
    u: NDArray[np.float64],
    samples: tuple[int, int],
    spline: int,
) -> NDArray[np.float64]:
    """Means of the samples at rows ``v`` and columns ``u``; NaN where too little was measured."""
    height, width = plane.shape
    inside = (v > -0.5 - _TIE) & (v < height - 0.5 + _TIE)
    inside &= (u > -0.5 - _TIE) & (u < width - 0.5 + _TIE)  # False where they are NaN
    tie = _TIE if spline == 0 else 0.0
    at = [np.where(inside, place + tie, 0.0) for place in (v, u)]
    finite = np.isfinite(plane)
    weight = inside.astype(np.float64)
    if not finite.all():
        weight *= map_coordinates(
            finite.astype(np.float64), at, order=min(spline, 1), mode="nearest"
        )
        plane = _fill_nearest(plane, finite)
    knots = plane.astype(np.float64)
    if spline > 1:
        knots = spline_filter(knots, spline, mode="reflect")
    value = map_coordinates(knots, at, order=spline, mode="reflect", prefilter=False)
    if samples != (1, 1):
        value, weight = _mean(value * weight, samples), _mean(weight, samples)
        with np.errstate(invalid="ignore", divide="ignore"):
            value /= weight
    value[weight < _MEASURED - _TIE] = np.nan
    return value


def _mean(values: NDArray[np.float64], samples: tuple[int, int]) -> NDArray[np.float64]:
    """(h · down, w · across) → (h, w)."""
    (height, width), (down, across) = values.shape, samples
    return values.reshape(height // down, down, width // across, across).mean((1, 3))


def _fill_nearest(plane: NDArray[np.float32], finite: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Holes take the nearest measured value, so that a cubic spline does not ring around them."""
    if not finite.any():
        return np.zeros_like(plane)
    near = distance_transform_edt(~finite, return_distances=False, return_indices=True)
    return np.asarray(plane[tuple(near)])


def _centre(wcs: WCS, shape: tuple[int, ...]) -> str:
    ra, dec = icrs(wcs, (shape[1] - 1) / 2, (shape[0] - 1) / 2)
    return f"{float(ra):.4f} {float(dec):+.4f}"
