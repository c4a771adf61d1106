"""Pixel grids and the ways between them.

A :class:`Route` leads from the pixels of a new grid to those of an old one, over the sky:

    (x, y) of the new grid → sky → (u, v) of the old,       J = |∂(u, v)/∂(x, y)| = Ω'/Ω,

J old pixels a new one, the ratio of their areas on the sky, which in most projections varies over
the map. Where an image was registered and its bands lie on grids of their own, the way has two
legs: by the registered coordinates to the image's grid, and by the coordinates that the files
state from there to the band's. Pixels are then moved once, however many legs there are.

Places and areas are smooth functions, so over a window they are computed on a lattice and
interpolated, where the middles of its cells say that this is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import reduce

import numpy as np
from astropy.wcs import WCS, DistortionLookupTable, Sip
from astropy.wcs.utils import proj_plane_pixel_area
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline

from imgturbo.sky.frames import to_pixels
from imgturbo.sky.headers import quiet
from imgturbo.sky.wcs import pixel_area, solid_angles
from imgturbo.sky.wcs import pixel_scale as pixel_scale_of

__all__ = ["SAME_SCALE", "Route", "grid_at", "same_area", "scaled_grid", "zoomed_grid"]

Floats = NDArray[np.float64]

SAME_SCALE = 0.01
"""Pixel scales that differ by less than this fraction need no resampling: a network sees the same
sharpness. Their areas differ by up to 2 %, so fluxes still go through :class:`FluxScale`."""
COARSER = 1.1
"""New pixels wider than this many old ones are averages over their area, not samples."""
_LATTICE = 17
_JUMP = 3.0  # times the usual step: a seam is a jump over the whole of the lattice
_CELL = 16  # samples between the points of the lattice
_EXACT = 1e-6  # old pixels, and relative areas, by which an interpolated place may be off
_UNIFORM = 1e-5
"""Relative differences below which pixels count as equally large over a field."""


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
    old = pixel_scale_of(wcs, shape)
    assert old is not None
    f = old / pixel_scale
    return *_grid_of(wcs, shape, f), f


def zoomed_grid(wcs: WCS, shape: tuple[int, int], zoom: Fraction) -> tuple[WCS, tuple[int, int]]:
    """As :func:`scaled_grid`, with ``zoom`` new pixels across an old one, to the last bit.

    With zoom 2 each pixel makes 2 × 2, with 1/2 each 2 × 2 make one; what is left over at the end
    of a row or column makes one that reaches beyond it.

    Returns:
        The WCS and its shape (H, W).
    """
    new, _ = _grid_of(wcs, shape, float(zoom))
    height, width = (math.ceil(side * zoom) for side in shape)
    new.array_shape = height, width
    return new, (height, width)


def _grid_of(wcs: WCS, shape: tuple[int, int], f: float) -> tuple[WCS, tuple[int, int]]:
    height, width = shape
    new = wcs.deepcopy()
    new.wcs.crpix = (wcs.wcs.crpix - 0.5) * f + 0.5
    if wcs.wcs.has_cd():
        new.wcs.cd = wcs.wcs.cd / f
    elif _bends_before_cdelt(wcs):
        new.wcs.pc = wcs.wcs.get_pc() / f
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
    return new, size


def _bends_before_cdelt(wcs: WCS) -> bool:
    """Whether a polynomial (TPV, TNX, …) comes between the matrix PC and CDELT.

    What it sees must not change with the size of a pixel, so the matrix has to.
    """
    with quiet():
        cards = wcs.to_header(relax=True)
    names = [str(cards.get(f"CTYPE{axis}", "")) for axis in (1, 2)]
    return any(name.endswith("-TPV") for name in names) or any(w.startswith("CQDIS") for w in cards)


def grid_at(
    wcs: WCS | None, shape: tuple[int, int], pixel_scale: float | None
) -> tuple[WCS, tuple[int, int]] | None:
    """:func:`scaled_grid`, or None where there is nothing to change: no scale, no WCS, or that."""
    own = pixel_scale_of(wcs, shape)
    if wcs is None or own is None or not pixel_scale or abs(own / pixel_scale - 1) < SAME_SCALE:
        return None
    grid, size, _ = scaled_grid(wcs, shape, pixel_scale)
    return grid, size


def _scaled(table: Floats | None, f: float) -> Floats | None:
    """Coefficients (p, q) of a polynomial of pixels that are f times as many."""
    if table is None:
        return None
    powers = np.add.outer(np.arange(len(table)), np.arange(len(table)))
    return np.asarray(table * f ** (1.0 - powers))


def same_area(old: WCS, new: WCS) -> bool:
    """Whether values keep their meaning whatever their unit: to a thousandth, and undistorted."""
    if old.has_distortion or new.has_distortion:
        return False
    there, here = pixel_area(new), pixel_area(old)
    assert there is not None
    assert here is not None
    return abs(there / here - 1) < 1e-3


class Route:
    """From the pixels of a new grid to those of an old one.

    Args:
        shape: (H, W) of the whole new grid; windows are given in its pixels.
        legs: pairs of WCS; the sky that the first sees in a pixel, the second sees in one of its
            own, from which the next leg begins. The first of all is the new grid's, the last of
            all the old one's.
    """

    def __init__(self, shape: tuple[int, int], *legs: tuple[WCS, WCS]) -> None:
        self.shape, self.legs = shape, legs
        x, y = np.meshgrid(np.linspace(0, shape[1] - 1, 5), np.linspace(0, shape[0] - 1, 5))
        self.samples = self._samples(x, y)
        flat = math.prod(
            float(proj_plane_pixel_area(a) / proj_plane_pixel_area(b)) for a, b in legs
        )
        plain = not any(wcs.has_distortion for leg in legs for wcs in leg)
        away = np.abs(self.areas(x, y) / flat - 1)
        even = plain and np.isfinite(away).any() and np.nanmax(away) < _UNIFORM
        self.ratio: float | None = flat if even else None
        """J where it is the same everywhere."""

    def places(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Pixels (x, y) of the new grid in pixels (u, v) of the old; NaN where there are none."""
        return reduce(lambda at, leg: to_pixels(*leg, *at), self.legs, (x, y))

    def areas(self, x: Floats, y: Floats) -> Floats:
        """J, old pixels that the new pixels at (x, y) cover."""
        ratio = np.ones(np.shape(x))
        for a, b in self.legs:
            u, v = to_pixels(a, b, x, y)
            ratio = ratio * solid_angles(a, x, y) / solid_angles(b, u, v)
            x, y = u, v
        return ratio

    def _samples(self, x: Floats, y: Floats) -> tuple[int, int]:
        """Samples that make a new pixel, down and across: one, or as many as it has old pixels.

        The same for all windows of the grid, or they would differ where they meet.
        """
        found = []
        for dy, dx in ((0.5, 0.0), (0.0, 0.5)):
            (u1, v1), (u0, v0) = self.places(x + dx, y + dy), self.places(x - dx, y - dy)
            steps = np.hypot(u1 - u0, v1 - v0)
            wide = float(np.median(steps[np.isfinite(steps)])) if np.isfinite(steps).any() else 1.0
            found.append(1 if wide <= COARSER else math.ceil(wide - 0.01))
        return found[0], found[1]

    def footprint(
        self, old_shape: tuple[int, int], window: tuple[slice, slice], margin: int = 0
    ) -> tuple[slice, slice] | None:
        """Rows and columns of the old grid that a window of the new one covers; None: none.

        Distortions are smooth, so a lattice over the window finds its extent on the old grid. Where
        its points jump (the seam of an all-sky map) the old image is needed whole.

        Args:
            old_shape: (H, W) of the old image.
            window: rows and columns of the new grid.
            margin: old pixels that are wanted around it.
        """
        y, x = np.meshgrid(
            *(np.linspace(part.start - 0.5, part.stop - 0.5, _LATTICE) for part in window),
            indexing="ij",
        )
        u, v = self.places(x, y)
        near = np.isfinite(u)
        if not near.any():
            return None
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

    def over(
        self, window: tuple[slice, slice], samples: tuple[int, int]
    ) -> tuple[Floats, Floats, float | Floats]:
        """Where the samples of a window's pixels lie on the old grid, and J of the pixels.

        Args:
            window: (h, w), rows and columns of the new grid.
            samples: of each pixel, down and across, evenly spread over it.

        Returns:
            u and v, (h · down, w · across); J, (h, w) or one number.
        """
        y, x = (
            part.start - 0.5 + (np.arange((part.stop - part.start) * n) + 0.5) / n
            for part, n in zip(window, samples, strict=True)
        )
        u, v = _smooth(lambda at_x, at_y: np.stack(self.places(at_x, at_y)), x, y)
        if self.ratio is not None:
            return u, v, self.ratio
        y, x = (np.arange(part.start, part.stop, dtype=float) for part in window)
        (areas,) = _smooth(lambda at_x, at_y: self.areas(at_x, at_y)[None], x, y)
        return u, v, areas


def _smooth(function: Callable[[Floats, Floats], Floats], x: Floats, y: Floats) -> Floats:
    """Functions (n, …) of a place on the grid of columns ``x`` and rows ``y``: (n, len(y), len(x)).

    Interpolated by a cubic spline from every 16th place and held against the truth between them;
    computed everywhere where that is not enough.
    """
    nodes = [np.linspace(c[0], c[-1], max(4, math.ceil(len(c) / _CELL) + 1)) for c in (x, y)]
    if min(x.size, y.size) > 1 and nodes[0].size * nodes[1].size * 2 < x.size * y.size:
        known = function(*np.meshgrid(*nodes))
        if np.isfinite(known).all():
            between = [(n[1:] + n[:-1]) / 2 for n in nodes]
            fitted = [RectBivariateSpline(nodes[1], nodes[0], plane) for plane in known]
            truth = function(*np.meshgrid(*between))
            guess = np.stack([spline(between[1], between[0]) for spline in fitted])
            if (np.abs(guess - truth) < _EXACT).all():
                return np.stack([spline(y, x) for spline in fitted])
    return function(*np.meshgrid(x, y))
