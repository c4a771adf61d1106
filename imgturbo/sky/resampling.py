"""Flux-aware change of grid.

A pixel of the new grid covers J old pixels, J = |∂(x, y)/∂(x', y')|. A surface brightness keeps its
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
from astropy.wcs import WCS
from astropy.wcs.utils import (
    pixel_to_pixel,
    proj_plane_pixel_area,
    proj_plane_pixel_scales,
)
from numpy.typing import NDArray
from reproject import reproject_adaptive, reproject_interp
from scipy.ndimage import distance_transform_edt

from imgturbo.errors import ImgturboError
from imgturbo.sky.headers import pixel_area, quiet
from imgturbo.sky.image import SkyImage, measured
from imgturbo.sky.photometry import check_resizable

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
"""Pixel scales that differ by less than this fraction need no resampling: a network sees the same
sharpness. Their areas differ by up to 2 %, so fluxes still go through :class:`FluxScale`."""
COARSER = 1.1
"""New pixels wider than this many old ones are averages (``adaptive``), not samples."""
_MEASURED = 0.5
_BLOCK = 1 << 20  # pixels of the new grid at a time
_MARGIN = {"nearest": 2, "bilinear": 2, "bicubic": 24, "adaptive": 5}
"""Pixels of the wider of the two grids that reach into a new pixel; a spline's prefilter decays
as 0.27ⁿ, so 24 leave 1e-13."""


def scaled_grid(
    wcs: WCS, shape: tuple[int, int], pixel_scale: float
) -> tuple[WCS, tuple[int, int], float]:
    """The same sky and axes with pixels of ``pixel_scale`` arcsec.

    Returns:
        The WCS (without distortions: the new grid is a plain projection), its shape (H, W), and
        the number of new pixels an old one.
    """
    height, width = shape
    old = float(np.sqrt(np.prod(proj_plane_pixel_scales(wcs)))) * 3600
    factor = old / pixel_scale
    plain = WCS(naxis=2)
    plain.wcs.ctype = [name.removesuffix("-SIP") for name in wcs.wcs.ctype]
    plain.wcs.cunit = wcs.wcs.cunit
    plain.wcs.crval = wcs.wcs.crval
    plain.wcs.crpix = (wcs.wcs.crpix - 0.5) * factor + 0.5
    plain.wcs.cd = wcs.pixel_scale_matrix / factor
    plain.wcs.radesys = wcs.wcs.radesys
    plain.wcs.equinox = wcs.wcs.equinox
    plain.wcs.lonpole = wcs.wcs.lonpole
    plain.wcs.latpole = wcs.wcs.latpole
    plain.wcs.set()
    shape = (max(1, math.ceil(height * factor - 1e-6)), max(1, math.ceil(width * factor - 1e-6)))
    return plain, shape, factor


def resample(
    image: SkyImage, wcs: WCS | None, shape: tuple[int, int], order: Order = "bilinear"
) -> SkyImage:
    """``image`` on the grid ``wcs`` of ``shape`` (H, W).

    Fluxes per pixel (electron/s, nJy) are conserved in their sum,
    surface brightness (MJy/sr, display values) in its value; its zero points follow the pixels'
    area. Splines are replaced by ``adaptive`` where the new pixels are coarser than 1.1 old ones.

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
    if footprint(image.wcs, image.shape[1:], wcs, (slice(0, shape[0]), slice(0, shape[1]))) is None:
        raise ImgturboError(
            f"{name} (centre {_centre(image.wcs, image.shape[1:])}) has no sky in common with the "
            f"grid it shall move to (centre {_centre(wcs, shape)}); give files of the same field"
        )
    scales = image.scales
    unit, moved = scales[0].unit, tuple(scale.on(pixel_area(wcs)) for scale in scales)
    if not _same_area(image.wcs, wcs):
        check_resizable(unit, name)
    per_pixel = not unit.intensive
    data = np.full((len(image.data), *shape), np.nan, np.float32)
    size = image.shape[1], image.shape[2]
    step = max(1, _BLOCK // shape[1])
    for top in range(0, shape[0], step):  # reproject works in float64: a part at a time
        window = (slice(top, min(top + step, shape[0])), slice(0, shape[1]))
        part = footprint(image.wcs, size, wcs, window, order)
        if part is not None:
            data[:, window[0]] = resample_planes(
                image.data[:, *part],
                image.wcs.slice(part),
                wcs.slice(window),
                (window[0].stop - top, shape[1]),
                per_pixel,
                order,
            )
    zeropoints = tuple(scale.zeropoint for scale in moved)
    return replace(image, data=data, valid=measured(data), wcs=wcs, zeropoints=zeropoints)


def resample_planes(
    data: NDArray[np.float32],
    old: WCS,
    new: WCS,
    shape: tuple[int, int],
    per_pixel: bool,
    order: Order = "bilinear",
) -> NDArray[np.float32]:
    """Planes (C, h, w) on the grid ``old`` → (C, H, W) on ``new``; NaN is "not measured".

    Each new pixel depends on old ones near it only, so a window is a part of the whole.
    """
    finite = np.isfinite(data)
    # The measured fraction rides along as further planes: one pass over the coordinates.
    stack = np.concatenate([np.where(finite, data, 0), finite.astype(np.float32)])
    averaged = order == "adaptive" or (order != "nearest" and coarser(old, new))
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


def _same_area(old: WCS, new: WCS) -> bool:
    """Whether values keep their meaning whatever their unit: to a thousandth, and undistorted."""
    if old.has_distortion or new.has_distortion:
        return False
    return bool(abs(proj_plane_pixel_area(new) / proj_plane_pixel_area(old) - 1) < 1e-3)


def coarser(old: WCS, new: WCS) -> bool:
    """Whether the new pixels are so much wider than the old that they must be averages."""
    return bool(proj_plane_pixel_area(new) > COARSER**2 * proj_plane_pixel_area(old))


def footprint(
    old: WCS,
    old_shape: tuple[int, int],
    new: WCS,
    window: tuple[slice, slice],
    order: Order = "bilinear",
) -> tuple[slice, slice] | None:
    """Rows and columns of the old grid that a window of the new grid needs; None if there are none.

    Distortions are smooth, so a lattice over the window finds its extent on the old grid.
    """
    rows, cols = window
    y, x = np.meshgrid(
        np.linspace(rows.start - 0.5, rows.stop - 0.5, 17),
        np.linspace(cols.start - 0.5, cols.stop - 0.5, 17),
        indexing="ij",
    )
    with quiet():
        u, v = (np.asarray(c) for c in pixel_to_pixel(new, old, x.ravel(), y.ravel()))
        near = np.isfinite(u) & np.isfinite(v)
        near &= _same_side(old, old_shape, new, x.ravel(), y.ravel())
    if not near.any():
        return None
    wide = np.sqrt(proj_plane_pixel_area(new) / proj_plane_pixel_area(old))
    if order != "nearest" and coarser(old, new):
        order = "adaptive"
    margin = int(np.ceil(_MARGIN[order] * max(1.0, wide)))
    spans = []
    for place, size in ((v[near], old_shape[0]), (u[near], old_shape[1])):
        if place.max() < -0.5 or place.min() > size - 0.5:
            return None
        first = max(0, int(np.floor(place.min())) - margin)
        last = min(size, int(np.ceil(place.max())) + margin + 1)
        spans.append(slice(first, last))
    return spans[0], spans[1]


def _same_side(
    old: WCS,
    old_shape: tuple[int, int],
    new: WCS,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Within 60° of the old image's centre: beyond 90° a projection folds back onto itself."""
    centre = old.pixel_to_world((old_shape[1] - 1) / 2, (old_shape[0] - 1) / 2)
    return np.asarray(new.pixel_to_world(x, y).separation(centre).deg < 60)


def _area_ratio(old: WCS, new: WCS, shape: tuple[int, int]) -> float | NDArray[np.float64]:
    """J, old pixels a new pixel: one number, or (H, W) where a distortion makes it vary."""
    if not (old.has_distortion or new.has_distortion):
        return float(proj_plane_pixel_area(new) / proj_plane_pixel_area(old))
    # Corners of the new pixels on the old grid; J is half the cross product of the diagonals.
    y, x = np.meshgrid(np.arange(shape[0] + 1) - 0.5, np.arange(shape[1] + 1) - 0.5, indexing="ij")
    with quiet():
        u, v = (np.asarray(c) for c in pixel_to_pixel(new, old, x, y))
    down = (u[1:, 1:] - u[:-1, :-1], v[1:, 1:] - v[:-1, :-1])
    up = (u[:-1, 1:] - u[1:, :-1], v[:-1, 1:] - v[1:, :-1])
    return np.asarray(np.abs(down[0] * up[1] - down[1] * up[0]) / 2)


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
    sky = wcs.pixel_to_world((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    return f"{sky.spherical.lon.deg:.4f} {sky.spherical.lat.deg:+.4f}"
