"""Flux-aware change of grid.

A pixel of the new grid covers J old pixels, J = |∂(x, y)/∂(x', y')| = Ω'/Ω, the ratio of their
areas on the sky, which in most projections varies over the map. A surface brightness keeps its
value; a flux per pixel is multiplied by J, so that sources keep their total flux either way:

    f'(x', y') = J · Σ w f / Σ w          (per pixel),          without J for surface brightness.

Where the new pixels are about as fine as the old or finer, w is a spline (reproject's ``interp``).
Where they are coarser a spline would skip pixels, lose flux and alias noise, so w is a Gaussian
footprint in the new grid (``adaptive``, DeForest 2004, doi 10.1023/B:SOLA.0000021743.24248.b0).

Pixels that were not measured take no part in the sums; a new pixel is NaN where its centre lies
outside the old grid or less than half of its weight was measured.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from astropy.wcs import WCS, DistortionLookupTable, Sip
from astropy.wcs.utils import pixel_to_pixel, proj_plane_pixel_area
from numpy.typing import NDArray
from reproject import reproject_adaptive, reproject_interp
from scipy.ndimage import distance_transform_edt

from imgturbo.errors import ImgturboError
from imgturbo.sky.frames import icrs, to_pixels
from imgturbo.sky.headers import pixel_area, quiet, solid_angles, wcs_window
from imgturbo.sky.headers import pixel_scale as pixel_scale_of
from imgturbo.sky.image import SkyImage, measured
from imgturbo.sky.photometry import is_surface_brightness

__all__ = [
    "SAME_SCALE",
    "Order",
    "coarser",
    "footprint",
    "resample",
    "resample_planes",
    "scaled_grid",
]

Order = Literal["nearest", "bilinear", "bicubic", "adaptive"]

SAME_SCALE = 0.01
"""Pixel scales that differ by less than this fraction are one scale."""
COARSER = 1.1
"""New pixels wider than this many old ones are averages (``adaptive``), not samples."""
_MEASURED = 0.5
_UNIFORM = 1e-5
"""Relative differences below which pixels count as equally large over a field."""
_BLOCK = 1 << 20  # pixels of the new grid at a time
_LATTICE = 17
_JUMP = 3.0  # times the usual step: a seam is a jump over the whole of the lattice
_MARGIN = {"nearest": 2, "bilinear": 2, "bicubic": 24, "adaptive": 5}
"""Pixels of the wider of the two grids that reach into a new pixel; a spline's prefilter decays
as 0.27ⁿ, so 24 leave 1e-13."""


def scaled_grid(
    wcs: WCS, shape: tuple[int, int], pixel_scale: float
) -> tuple[WCS, tuple[int, int], float]:
    """The same sky, axes and projection with pixels of ``pixel_scale`` arcsec.

    Every parameter is kept, and polynomials of the pixels are scaled with them, so the new grid
    covers what the old one does: pixel x of the old is (x + ½) f − ½ of the new everywhere. Pixels
    keep their shape: what is not square on the sky (CAR far from its equator) stays so, and
    ``pixel_scale`` is the geometric mean in the middle of the image.

    Returns:
        The WCS, its shape (H, W), and the number f of new pixels an old one.
    """
    height, width = shape
    old = pixel_scale_of(wcs, shape)
    assert old is not None
    f = old / pixel_scale
    new = wcs.deepcopy()
    new.wcs.crpix = (wcs.wcs.crpix - 0.5) * f + 0.5
    if wcs.wcs.has_cd():
        new.wcs.cd = wcs.wcs.cd / f
    else:
        new.wcs.cdelt = wcs.wcs.cdelt / f
    if wcs.sip is not None:
        # u' = f u, so that f A(u, v) = Σ f A_pq (u'/f)^p (v'/f)^q
        tables = (_scaled(t, f) for t in (wcs.sip.a, wcs.sip.b, wcs.sip.ap, wcs.sip.bp))
        new.sip = Sip(*tables, (wcs.sip.crpix - 0.5) * f + 0.5)
    new.cpdis1, new.cpdis2 = (
        t
        and DistortionLookupTable(
            t.data * np.float32(f),
            tuple(t.crpix),
            tuple((np.array(t.crval) - 0.5) * f + 0.5),
            tuple(np.array(t.cdelt) * f),
        )
        for t in (wcs.cpdis1, wcs.cpdis2)
    )
    new.wcs.set()
    size = (max(1, math.ceil(height * f - 1e-6)), max(1, math.ceil(width * f - 1e-6)))
    new.array_shape = size
    return new, size, f


def _scaled(table: NDArray[np.float64] | None, f: float) -> NDArray[np.float64] | None:
    """Coefficients (p, q) of a polynomial of pixels that are f times as many."""
    if table is None:
        return None
    powers = np.add.outer(np.arange(len(table)), np.arange(len(table)))
    return np.asarray(table * f ** (1.0 - powers))


def resample(
    image: SkyImage,
    wcs: WCS | None,
    shape: tuple[int, int],
    order: Order = "bilinear",
    averaged: bool | None = None,
) -> SkyImage:
    """``image`` on the grid ``wcs`` of ``shape`` (H, W).

    Fluxes per pixel (electron/s, nJy, and values of unknown unit) are conserved in their sum,
    surface brightness (MJy/sr, display values) in its value; its zero points follow the pixels'
    area. Splines are replaced by ``adaptive`` where the new pixels are coarser than 1.1 old
    ones, or as ``averaged`` says, which a window takes from its whole.

    Raises:
        ImgturboError: no WCS on either side, or no sky in common.
    """
    name = str(image.path or "the image")
    if image.wcs is None or wcs is None:
        raise ImgturboError(
            f"{name}: cannot be resampled without a celestial WCS on both sides; "
            "use files that have one, or register the images first (imgturbo prepare)"
        )
    if footprint(image.wcs, image.shape[1:], wcs, (slice(0, shape[0]), slice(0, shape[1]))) is None:
        raise ImgturboError(
            f"{name} (centre {_centre(image.wcs, image.shape[1:])}) has no sky in common with the "
            f"grid it shall move to (centre {_centre(wcs, shape)}); give files of the same field"
        )
    per_pixel = not is_surface_brightness(image.unit)
    data = np.full((len(image.data), *shape), np.nan, np.float32)
    size = image.shape[1], image.shape[2]
    step = max(1, _BLOCK // shape[1])
    if averaged is None:
        averaged = coarser(image.wcs, wcs)
    for top in range(0, shape[0], step):  # reproject works in float64: a part at a time
        window = (slice(top, min(top + step, shape[0])), slice(0, shape[1]))
        part = footprint(image.wcs, size, wcs, window, order)
        if part is not None:
            data[:, window[0]] = resample_planes(
                image.data[:, *part],
                wcs_window(image.wcs, *part),
                wcs_window(wcs, *window),
                (window[0].stop - top, shape[1]),
                per_pixel,
                order,
                averaged,
            )
    zeropoints = image.zeropoints
    if not per_pixel:
        dimmer = 2.5 * np.log10(proj_plane_pixel_area(wcs) / proj_plane_pixel_area(image.wcs))
        zeropoints = tuple(None if z is None else float(z - dimmer) for z in zeropoints)
    return replace(image, data=data, valid=measured(data), wcs=wcs, zeropoints=zeropoints)


def resample_planes(
    data: NDArray[np.float32],
    old: WCS,
    new: WCS,
    shape: tuple[int, int],
    per_pixel: bool,
    order: Order = "bilinear",
    averaged: bool | None = None,
) -> NDArray[np.float32]:
    """Planes (C, h, w) on the grid ``old`` → (C, H, W) on ``new``; NaN is "not measured".

    Each new pixel depends on old ones near it only, so a window is a part of the whole.
    """
    if averaged is None:
        averaged = coarser(old, new)
    finite = np.isfinite(data)
    # The measured fraction rides along as further planes: one pass over the coordinates.
    stack = np.concatenate([np.where(finite, data, 0), finite.astype(np.float32)])
    averaged = order == "adaptive" or (order != "nearest" and averaged)
    with quiet():
        if averaged:
            result, _ = reproject_adaptive(
                (stack, old),
                new,
                shape_out=shape,
                boundary_mode="ignore_threshold",
                boundary_ignore_threshold=_MEASURED,
                roundtrip_coords=False,
            )
        else:
            spline = {"nearest": "nearest-neighbor", "bicubic": "bilinear"}.get(order, order)
            result, _ = reproject_interp(
                (stack, old), new, shape_out=shape, order=spline, roundtrip_coords=False
            )
        value, weight = np.split(result, 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = value / weight
        if order == "bicubic" and not averaged:
            value, _ = reproject_interp(
                (_fill_nearest(data, finite), old),
                new,
                shape_out=shape,
                order="bicubic",
                roundtrip_coords=False,
            )
    if per_pixel:
        value = value * _area_ratio(old, new, shape)
    value[~(weight >= _MEASURED)] = np.nan
    return value.astype(np.float32)


def coarser(old: WCS, new: WCS) -> bool:
    """Whether the new pixels are so much wider than the old that they must be averages."""
    return _width(old, new) > COARSER


def _width(old: WCS, new: WCS) -> float:
    """Old pixels that a new pixel is wide: the median over the new grid."""
    size = new.array_shape
    if size is not None:
        x, y = np.meshgrid(np.linspace(0, size[1] - 1, 5), np.linspace(0, size[0] - 1, 5))
        ratio = solid_angles(new, x, y) / solid_angles(old, *to_pixels(new, old, x, y))
        if np.isfinite(ratio).any():
            return math.sqrt(np.nanmedian(ratio))
    new_area, old_area = pixel_area(new), pixel_area(old)
    assert new_area is not None
    assert old_area is not None
    return math.sqrt(new_area / old_area)


def footprint(
    old: WCS,
    old_shape: tuple[int, int],
    new: WCS,
    window: tuple[slice, slice],
    order: Order = "bilinear",
) -> tuple[slice, slice] | None:
    """Rows and columns of the old grid that a window of the new grid needs; None if there are none.

    Distortions are smooth, so a lattice over the window finds its extent on the old grid. Where its
    points jump (the seam of an all-sky map) the old image is needed whole.
    """
    rows, cols = window
    y, x = np.meshgrid(
        np.linspace(rows.start - 0.5, rows.stop - 0.5, _LATTICE),
        np.linspace(cols.start - 0.5, cols.stop - 0.5, _LATTICE),
        indexing="ij",
    )
    u, v = to_pixels(new, old, x, y)
    near = np.isfinite(u)
    if not near.any():
        return None
    wide = _width(old, new)
    if order != "nearest" and wide > COARSER:
        order = "adaptive"
    margin = int(np.ceil(_MARGIN[order] * max(1.0, wide)))
    steps = [np.hypot(np.diff(u, axis=axis), np.diff(v, axis=axis)) for axis in (0, 1)]
    known = np.concatenate([step[np.isfinite(step)] for step in steps])
    usual = float(np.median(known)) if len(known) else float(max(old_shape))
    if not near.all():
        margin += math.ceil(2 * usual)  # the rim runs between two points of the lattice
    if len(known) and known.max() > _JUMP * usual + 1:
        return slice(0, old_shape[0]), slice(0, old_shape[1])
    spans = []
    for place, size in ((v[near], old_shape[0]), (u[near], old_shape[1])):
        if place.max() < -0.5 or place.min() > size - 0.5:
            return None
        first = max(0, int(np.floor(place.min())) - margin)
        last = min(size, int(np.ceil(place.max())) + margin + 1)
        spans.append(slice(first, last))
    return spans[0], spans[1]


def _area_ratio(old: WCS, new: WCS, shape: tuple[int, int]) -> float | NDArray[np.float64]:
    """J, old pixels a new pixel: one number, or (H, W) where it varies over the window."""
    flat = float(proj_plane_pixel_area(new) / proj_plane_pixel_area(old))
    if not (old.has_distortion or new.has_distortion):
        x, y = np.meshgrid(np.linspace(0, shape[1] - 1, 5), np.linspace(0, shape[0] - 1, 5))
        away = np.abs(_jacobian(old, new, x, y) / flat - 1)
        if np.isfinite(away).any() and np.nanmax(away) < _UNIFORM:
            return flat
    y, x = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    return _jacobian(old, new, x.astype(float), y.astype(float))


def _jacobian(
    old: WCS, new: WCS, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    with quiet():
        u, v = pixel_to_pixel(new, old, x, y)
    return solid_angles(new, x, y) / solid_angles(old, u, v)


def _fill_nearest(data: NDArray[np.float32], finite: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Holes take the nearest measured value, so that a cubic spline does not ring around them."""
    filled = np.zeros_like(data)
    for plane, here, out in zip(data, finite, filled, strict=True):
        if here.all():
            out[...] = plane
        elif here.any():
            near = distance_transform_edt(~here, return_distances=False, return_indices=True)
            out[...] = plane[tuple(near)]
    return filled


def _centre(wcs: WCS, shape: tuple[int, int]) -> str:
    ra, dec = icrs(wcs, (shape[1] - 1) / 2, (shape[0] - 1) / 2)
    return f"{float(ra):.4f} {float(dec):+.4f}"
