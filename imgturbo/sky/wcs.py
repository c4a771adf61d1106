"""The WCS of a header, the cards of a WCS, and what its pixels are on the sky.

    (x, y)  →  direction n(x, y) on the sky,  a unit vector

A WCS here is celestial and 2-D, made of the cards that count alone (:mod:`imgturbo.sky.headers`);
a window's is the whole's, moved along. How large a pixel is, is asked of its neighbours:

    Ω(x, y) = |(n(x + ½, y) − n(x − ½, y)) × (n(x, y + ½) − n(x, y − ½))|,

since CDELT is the step of the projection's plane, which at Dec 60° in CAR is twice that on the sky.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from astropy.coordinates import BarycentricMeanEcliptic, BaseCoordinateFrame, Supergalactic
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS, Sip
from astropy.wcs.utils import custom_wcs_to_frame_mappings, proj_plane_pixel_area
from numpy.typing import ArrayLike, NDArray

from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.sky.cards import FRAMES
from imgturbo.sky.headers import celestial_cards, has_sip, of_place, quiet, settled

__all__ = [
    "celestial_wcs",
    "pixel_area",
    "pixel_scale",
    "solid_angles",
    "unit_vectors",
    "wcs_cards",
    "wcs_window",
]

_LEAST, _MOST = 1e-26, 1e6
"""Square degrees between which pixels are: of a side of 10⁻¹³ degrees, and no sky at all."""
_EXACT = 1e-7
"""Relative difference below which the area in the projection's plane is the area on the sky."""


# ------------------------------------------------------------------------------ reading


def celestial_wcs(
    header: fits.Header, where: str = "the header", lost: Sequence[str] = ()
) -> WCS | None:
    """The 2-D celestial WCS of a header, without stale terms; None where no two axes are the sky's.

    Only the header counts: lookup tables in other extensions are never used. Its ``array_shape`` is
    that of the two axes.

    Args:
        header: of the image; of a cube the celestial axes are taken out.
        where: what to call it in a message.
        lost: keywords of cards that the header had, whose values nobody can read.

    Raises:
        ImgturboError: CTYPE promises coordinates of the sky, but the cards do not give any, or one
            of those that they are made of is lost, for which wcslib would take 0.
    """
    header, axes = settled(header, where, lost)
    if axes is None:
        return None
    words = " and ".join(f"CTYPE{i} = '{header[f'CTYPE{i}']}'" for i in axes)
    wcs = _made_out(header, axes, where, words)
    if wcs.sip is None and has_sip(header):
        warnings.warn(
            f"{where}: holds SIP coefficients, but CTYPE does not end in -SIP; they are taken to "
            "be left behind by an earlier image, append -SIP to both CTYPE if they count",
            stacklevel=2,
        )
    shape = tuple(int(header.get(f"NAXIS{i}", 0) or 0) for i in axes)
    wcs.pixel_shape = shape if all(shape) else None
    if wcs.wcs.ctype[wcs.wcs.lng].startswith("ELON"):
        wcs.wcs.radesys = ""  # astropy would take the ecliptic's for right ascensions
    _check_frame(wcs, header, where)
    if not np.isfinite(_sample(wcs, shape if all(shape) else (1, 1))).any():
        raise ImgturboError(
            f"{where}: {words} put no pixel on the sky; correct CRVAL, CRPIX and CD (or CDELT)"
        )
    return wcs


def _made_out(header: fits.Header, axes: tuple[int, int], where: str, words: str) -> WCS:
    """What wcslib makes of a header; a photographic plate's terms count, unless they are no use."""
    why = ""
    for plate in (True, False):
        try:
            with quiet(), door(where):
                wcs = WCS(celestial_cards(header, axes, plate), naxis=list(axes), relax=True)
                if not wcs.has_celestial:
                    why = "no projection is called so"
                elif not _LEAST < abs(np.linalg.det(wcs.pixel_scale_matrix)) < _MOST:
                    why = "the matrix of CD, or of PC and CDELT, is singular"
                else:
                    return wcs
        except ImgturboError as error:
            why = why or _said(error.__cause__ or error)
    raise ImgturboError(
        f"{where}: {words} cannot be made out ({why}); correct these cards (or CD, "
        "PC, CUNIT, PV of the same axes), or delete them to go without coordinates"
    )


def _said(reason: BaseException) -> str:
    """What wcslib says at last, after its files and lines."""
    lines = [line.strip(" .:") for line in str(reason).splitlines()]
    return next((line for line in reversed(lines) if line), type(reason).__name__)


def _check_frame(wcs: WCS, header: fits.Header, where: str) -> None:
    """Right ascensions of an unknown frame would be compared with others as they are."""
    frame = wcs.wcs.radesys.strip()
    if wcs.wcs.lngtyp == "RA" and frame not in ("", *FRAMES):
        card = "RADESYS" if "RADESYS" in header else "RADECSYS"
        raise ImgturboError(
            f"{where}: {card} = '{frame}' is not a frame that coordinates can be brought from; "
            "transform them to ICRS, FK5 or FK4"
        )


def _sample(wcs: WCS, shape: tuple[int, ...]) -> NDArray[np.float64]:
    x, y = np.meshgrid(np.linspace(0, shape[0] - 1, 9), np.linspace(0, shape[1] - 1, 9))
    return unit_vectors(wcs, x, y)


def _further_frames(wcs: WCS) -> BaseCoordinateFrame | None:
    """Frames that FITS knows and astropy's reader does not."""
    if wcs.wcs.lng < 0:
        return None
    kind = wcs.wcs.ctype[wcs.wcs.lng][:4]
    if kind == "SLON":
        return Supergalactic()
    if kind == "ELON" and not wcs.wcs.radesys:
        year = wcs.wcs.equinox
        return BarycentricMeanEcliptic(
            equinox=Time(2000.0 if math.isnan(year) else year, format="jyear")
        )
    return None


custom_wcs_to_frame_mappings(_further_frames)  # from now on, as sunpy does with the Sun's


# ------------------------------------------------------------------------------ writing


def wcs_cards(wcs: WCS) -> fits.Header:
    """Header cards of a WCS, SIP included, with CRPIX, CRVAL and the matrix in full precision.

    Of all that a WCS knows only what says where pixels lie: its dates, exposure, observer and
    velocities are those of an observation, not of an image that was made from it.
    """
    with quiet():
        header = wcs.to_header(relax=True)
        exact = {f"CRPIX{i + 1}": value for i, value in enumerate(wcs.wcs.crpix)}
        exact |= {f"CRVAL{i + 1}": value for i, value in enumerate(wcs.wcs.crval)}
        exact |= {f"CDELT{i + 1}": value for i, value in enumerate(wcs.wcs.get_cdelt())}
        matrix = wcs.wcs.get_pc()
        exact |= {f"PC{i + 1}_{j + 1}": matrix[i, j] for i in (0, 1) for j in (0, 1)}
        for keyword, value in exact.items():
            if keyword in header:
                header[keyword] = float(value)
        for keyword in list(header):
            if not of_place(keyword):
                header.remove(keyword, ignore_missing=True, remove_all=True)
    return header


# ------------------------------------------------------------------------ pixels on the sky


def wcs_window(wcs: WCS, rows: slice, cols: slice) -> WCS:
    """The WCS of the window ``[rows, cols]`` of an image; both slices have a start and a stop.

    A window may reach beyond the image: a start below 0 is so many pixels before the first.
    """
    plane = wcs if wcs.naxis == 2 else wcs.celestial
    if plane is wcs and wcs.array_shape is not None and len(wcs.array_shape) != 2:
        plane = wcs.deepcopy()
        plane.pixel_shape = None  # of a cube: astropy would move the wrong axes
    before = [min(0, part.start) for part in (cols, rows)]
    inside = tuple(slice(max(0, part.start), max(0, part.stop)) for part in (rows, cols))
    part = plane.slice(inside)
    if any(before):
        _move(part, before)
    part.array_shape = (max(0, rows.stop - rows.start), max(0, cols.stop - cols.start))
    return part


def _move(wcs: WCS, steps: Sequence[int]) -> None:
    """Let a WCS begin so many pixels (x, y) later; WCS.slice knows no pixels before the first."""
    wcs.wcs.crpix = [place - step for place, step in zip(wcs.wcs.crpix, steps, strict=True)]
    if wcs.sip is not None:
        sip = wcs.sip
        wcs.sip = Sip(sip.a, sip.b, sip.ap, sip.bp, sip.crpix - np.array(steps))
    for table in (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2):
        if table is not None:
            table.crval = [place - step for place, step in zip(table.crval, steps, strict=True)]


def unit_vectors(wcs: WCS, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Directions (…, 3) of pixels in the WCS's own frame; NaN where there is no sky."""
    with quiet():
        world = wcs.pixel_to_world_values(np.asarray(x, float), np.asarray(y, float))
    lon, lat = np.radians(world[wcs.wcs.lng]), np.radians(world[wcs.wcs.lat])
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def solid_angles(wcs: WCS, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Ω, the area on the sky in steradians of the pixels at (x, y); NaN where there is no sky.

    It is measured between the middles of a pixel's edges, distortions and projection included.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    here = unit_vectors(wcs, x, y)
    steps = []
    for dx, dy in ((0.5, 0.0), (0.0, 0.5)):
        after, before = unit_vectors(wcs, x + dx, y + dy), unit_vectors(wcs, x - dx, y - dy)
        # At the rim of an all-sky map one of the neighbours is beyond it.
        after = np.where(np.isfinite(after), after, 2 * here - before)
        before = np.where(np.isfinite(before), before, 2 * here - after)
        steps.append(after - before)
    return np.asarray(np.linalg.norm(np.cross(steps[0], steps[1]), axis=-1))


def pixel_area(wcs: WCS | None, shape: tuple[int, int] | None = None) -> float | None:
    """Area in steradians of the pixel in the middle of an image; None without a WCS.

    Args:
        wcs: celestial, 2-D.
        shape: (H, W) of the image; None: the WCS's own ``array_shape``, else the pixel at CRPIX.
    """
    if wcs is None:
        return None
    flat = float(proj_plane_pixel_area(wcs)) * math.radians(1.0) ** 2
    places = [tuple(wcs.wcs.crpix - 1)]
    size = shape or wcs.array_shape
    if size is not None and len(size) == 2:
        places.insert(0, ((size[1] - 1) / 2, (size[0] - 1) / 2))
    for x, y in places:
        area = float(solid_angles(wcs, x, y))
        if math.isfinite(area) and area > 0:
            return flat if abs(area / flat - 1) < _EXACT else area
    return flat


def pixel_scale(wcs: WCS | None, shape: tuple[int, int] | None = None) -> float | None:
    """Side in arcsec of a square as large as :func:`pixel_area`; None without a WCS."""
    area = pixel_area(wcs, shape)
    return None if area is None else math.degrees(math.sqrt(area)) * 3600
