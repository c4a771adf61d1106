"""Celestial coordinates out of real headers and back into clean ones, and the size of pixels.

A header says where pixel (x, y) lies on the sky by CTYPE, CRPIX, CRVAL and a matrix, by a
projection with its parameters PV, and, if CTYPE ends in ``-SIP``, by a polynomial of the pixels.
Astropy reads all of it; here a header is made what astropy expects: only the two celestial axes of
a cube, their units and frame in standard spelling, and no terms that pipelines left behind: SIP
coefficients beside a plain ``RA---TAN`` (arcminutes of error, astropy issue 4761), lookup tables
(CPDIS, D2IM) that lie in another file, PV terms of a TAN that are none of its parameters. PVi_j of
a TAN with j ≥ 5 are SCAMP's polynomial, TPV (Shupe et al. 2012, SPIE 8451, section 7).

How large a pixel is, is asked of its neighbours: with unit vectors n on the sky

    Ω(x, y) = |(n(x + ½, y) − n(x − ½, y)) × (n(x, y + ½) − n(x, y − ½))|,

since CDELT is the step of the projection's plane, which at Dec 60° in CAR is twice that on the sky.

astropy's remarks on headers (repaired dates, missing observer positions) are not the user's
concern; :func:`quiet` is the one place where they are silenced.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from astropy.coordinates import BarycentricMeanEcliptic, BaseCoordinateFrame, Supergalactic
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.time import Time
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, FITSFixedWarning, Sip
from astropy.wcs.utils import custom_wcs_to_frame_mappings, proj_plane_pixel_area
from numpy.typing import ArrayLike, NDArray

from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.sky.cards import FRAMES, angle, name_frame, number, present_name, settle

__all__ = [
    "celestial_axes",
    "celestial_wcs",
    "pixel_area",
    "pixel_scale",
    "quiet",
    "solid_angles",
    "unit_vectors",
    "wcs_cards",
    "wcs_window",
]

_LONGITUDE = re.compile(r"(?P<sky>RA)(-|$)|(?P<body>[A-Z])LON(-|$)|(?P<two>[A-Z]{2})LN(-|$)")
_LATITUDE = re.compile(r"(?P<sky>DEC)(-|$)|(?P<body>[A-Z])LAT(-|$)|(?P<two>[A-Z]{2})LT(-|$)")
_OF_AXIS = re.compile(r"(?:CTYPE|CUNIT|CNAME|CROTA|PV|PS|WAT)(\d)(?:_\d+)?")
_ALONG = re.compile(r"C(?:RVAL|RPIX|DELT)(\d)")
_LETTER = re.compile(r"(?<=\d)[A-Z]$")
_MATRIX = re.compile(r"(?:CD|PC)0*(\d)_?0*(\d)")
_SIP = re.compile(r"(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)")
_PV = re.compile(r"PV(\d)_(\d+)")
_SCALE = re.compile(r"CDELT\d|CD\d_\d|PC\d_\d|PC\d{6}")
_NUMBERS = re.compile(
    rf"C(RVAL|RPIX|DELT|ROTA)\d|PV\d_\d+|L(ON|AT)POLE|{_SCALE.pattern}|{_SIP.pattern}"
)
_PROJECTED = re.compile(r"([A-Z]+)-+([A-Z]{3}(?:-SIP)?)")
_PLATE = re.compile(r"AMD[XY]\d+|CNPIX\d|PPO\d|PLTRA[HMS]|PLTDEC(SN|[DMS])|[XY]PIXELSZ|PLTSCALE")
_WORDS = re.compile(
    r"WCSAXES|WCSNAME|NAXIS\d?|C(TYPE|UNIT|NAME|RVAL|RPIX|DELT|ROTA)\d|CD\d_\d|PC\d_\d|PC\d{6}|"
    r"P[VS]\d_\d+|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|EPOCH|WAT\d_\d+|DATE-OBS|MJD-OBS|"
    r"(CPDIS|CPERR|CQDIS|CQERR|DP|DQ)\d.*"
)
_LEAST, _MOST = 1e-26, 1e6
"""Square degrees between which pixels are: of a side of 10⁻¹³ degrees, and no sky at all."""
_SIP_ORDERS = range(10)
_EXACT = 1e-7
"""Relative difference below which the area in the projection's plane is the area on the sky."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence astropy's remarks on headers; what matters in them is checked by our own code."""
    with warnings.catch_warnings():
        for category in (VerifyWarning, FITSFixedWarning, AstropyUserWarning):
            warnings.simplefilter("ignore", category)
        # Far outside an image its polynomial cannot be inverted; the caller checks what comes out.
        warnings.filterwarnings("ignore", message=".*(failed to converge|All-NaN slice)")
        yield


# ------------------------------------------------------------------------------ reading


def celestial_axes(header: fits.Header) -> tuple[int, int] | None:
    """The FITS numbers of the two axes of an image on the sky, the faster first; None without.

    In most files they are 1 and 2; a cube may have its spectrum first, and DEC may precede RA.
    """
    for first in range(1, 10):
        for second in range(first + 1, 10):
            a, b = _ctype(header, first), _ctype(header, second)
            for longitude, latitude in ((a, b), (b, a)):
                lon, lat = _LONGITUDE.match(longitude), _LATITUDE.match(latitude)
                if lon and lat and _same_system(lon, lat):
                    return first, second
    return None


def _ctype(header: fits.Header, axis: int) -> str:
    return str(header.get(f"CTYPE{axis}", "")).strip(" '\"").upper()


def _same_system(lon: re.Match[str], lat: re.Match[str]) -> bool:
    return (
        bool(lon["sky"]) == bool(lat["sky"])
        and lon["body"] == lat["body"]
        and lon["two"] == lat["two"]
    )


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
    header = header.copy()
    lost = _lost_of_sky(header, lost)
    settle(header, where)
    axes = celestial_axes(header)
    if axes is None:
        lost = [word for word in lost if word.startswith("CTYPE")]
    else:
        lost = [word for word in lost if not _of_others(word, axes) and _along(word, axes)]
    if lost:
        raise ImgturboError(
            f"{where}: {', '.join(lost)} has no value that FITS knows, and without it pixels "
            "would lie elsewhere on the sky; correct it, or delete all CTYPE to go without "
            "coordinates"
        )
    if axes is None:
        return None
    words = " and ".join(f"CTYPE{i} = '{header[f'CTYPE{i}']}'" for i in axes)
    wcs, why = None, ""
    for stale in (None, _PLATE):  # a photographic plate's terms count, unless they are no use
        try:
            clean = _clean(header, axes, stale)
            with quiet(), door(where):
                _check_numbers(clean, axes)
                wcs = WCS(clean, naxis=list(axes), relax=True)
                if not wcs.has_celestial:
                    wcs, why = None, "no projection is called so"
                elif not _LEAST < abs(np.linalg.det(wcs.pixel_scale_matrix)) < _MOST:
                    wcs, why = None, "the matrix of CD, or of PC and CDELT, is singular"
                else:
                    break
        except ImgturboError as error:
            why = why or _said(error.__cause__ or error)
    if wcs is None:
        raise ImgturboError(
            f"{where}: {words} cannot be made out ({why}); correct these cards (or CD, "
            "PC, CUNIT, PV of the same axes), or delete them to go without coordinates"
        )
    if wcs.sip is None and any(_SIP.fullmatch(word) and header[word] for word in header):
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


def _lost_of_sky(header: fits.Header, lost: Sequence[str]) -> list[str]:
    """Of lost cards those that say where pixels lie, under their present names."""
    names = [present_name(word) for word in lost]
    if not any(re.fullmatch(r"CTYPE[12]", word) for word in (*header, *names)):
        names = [_LETTER.sub("", word) if _LETTER.search(word) else word for word in names]
    if "ICRS" in str(header.get("RADESYS", header.get("RADECSYS", ""))).upper():
        names = [word for word in names if word not in ("EQUINOX", "EPOCH")]
    told = ("WCSNAME", "DATE-OBS", "MJD-OBS")  # which move nothing, or FK4's own axes
    sip = any(_ctype(header, axis).endswith("-SIP") for axis in (1, 2))
    return [
        word
        for word in names
        if (_WORDS.fullmatch(word) and word not in told)
        or _PLATE.fullmatch(word)
        or (sip and _SIP.fullmatch(word))
    ]


def _said(reason: BaseException) -> str:
    """What wcslib says at last, after its files and lines."""
    lines = [line.strip(" .:") for line in str(reason).splitlines()]
    return next((line for line in reversed(lines) if line), type(reason).__name__)


def _clean(
    header: fits.Header, axes: tuple[int, int], stale: re.Pattern[str] | None
) -> fits.Header:
    """Cards of the celestial axes alone, in standard spelling, without terms that do not apply."""
    ctypes = {axis: _ctype(header, axis) for axis in axes}
    sip = axes == (1, 2) and any(name.endswith("-SIP") for name in ctypes.values())
    sip = sip and ("A_ORDER" in header or "B_ORDER" in header)
    pv = {
        axis: [int(n) for a, n in _PV.findall(" ".join(header)) if int(a) == axis] for axis in axes
    }
    tangent = all(re.search(r"-TAN(-SIP)?$", name) for name in ctypes.values())
    scamp = tangent and not sip and max([*pv[axes[0]], *pv[axes[1]]], default=0) >= 5
    absent = [kind + n for kind in "PQ" for n in "123456789" if not _computed(header, kind, n)]
    clean = fits.Header()
    for card in header.cards:
        word = card.keyword
        plate = _PLATE.fullmatch(word)
        if not (_WORDS.fullmatch(word) or _SIP.fullmatch(word) or plate):
            continue
        if (plate and stale) or (_SIP.fullmatch(word) and not sip):
            continue
        if any(re.match(rf"C{n[0]}(DIS|ERR){n[1]}|D{n}", word) for n in absent):
            continue
        if tangent and not scamp and _PV.fullmatch(word) and not _turns(word, pv):
            continue
        if not _of_others(word, axes):
            clean.append(card, end=True)
    for axis, name in ctypes.items():
        name = name.removesuffix("-SIP") + ("-SIP" if sip else "")
        name = name.replace("-TAN", "-TPV") if scamp else name
        clean[f"CTYPE{axis}"] = _PROJECTED.sub(lambda m: f"{m[1]:-<5}{m[2]}", name)
        if f"CUNIT{axis}" in clean:
            clean[f"CUNIT{axis}"] = angle(str(clean[f"CUNIT{axis}"]))
    if any(re.fullmatch(r"CD\d_\d", word) for word in clean):
        for other in range(1, 10):  # a matrix without a line for the spectrum would be singular
            if other not in axes and any(w in header for w in (f"NAXIS{other}", f"CTYPE{other}")):
                clean[f"CD{other}_{other}"] = 1.0
    name_frame(clean)
    return clean


def _check_numbers(clean: fits.Header, axes: tuple[int, int]) -> None:
    """Numbers that are written as words become numbers; wcslib would take them for 0 (in place).

    Raises:
        ImgturboError: a card's value is no number, half of a polynomial or of a place is missing,
            or there is no scale, and a pixel would be a degree wide.
    """
    for word, value in list(clean.items()):
        if not _NUMBERS.fullmatch(word):
            continue
        found = number(value) if isinstance(value, str) else value
        real = isinstance(found, int | float) and not isinstance(found, bool)
        if found is None or not real or not math.isfinite(found):
            raise ImgturboError(f"{word} = '{value}' is no number")
        if word.endswith("_ORDER"):
            if found not in _SIP_ORDERS:
                raise ImgturboError(f"{word} = {value} is no order of a polynomial, 0 to 9")
            found = int(found)
        if found != value:
            clean[word] = found
    places = [tuple(f"{word}{axis}" for axis in axes) for word in ("CRPIX", "CRVAL")]
    for one, other in (("A_ORDER", "B_ORDER"), *places):
        if (one in clean) != (other in clean):
            raise ImgturboError(f"of {one} and {other} one is missing")
    if not any(_SCALE.fullmatch(word) or _PLATE.fullmatch(word) for word in clean):
        raise ImgturboError("neither CD nor CDELT says how large a pixel is")


def _computed(header: fits.Header, kind: str, axis: str) -> bool:
    """Whether an axis has a distortion of a kind (P, Q) that is not a table in another file."""
    return str(header.get(f"C{kind}DIS{axis}", "LOOKUP")).strip().upper() != "LOOKUP"


def _turns(word: str, pv: dict[int, list[int]]) -> bool:
    """Whether a PV of a TAN is a pole's position and not SCAMP's first order left behind."""
    axis, number = (int(n) for n in _PV.fullmatch(word).groups())  # type: ignore[union-attr]
    return number in (3, 4) and min(pv[axis]) >= 3


def _of_others(word: str, axes: tuple[int, int]) -> bool:
    """Whether a card says nothing of the celestial axes."""
    if single := _OF_AXIS.fullmatch(word):
        return int(single[1]) not in (0, *axes)
    pair = _MATRIX.fullmatch(word)
    return pair is not None and int(pair[1]) not in axes


def _along(word: str, axes: tuple[int, int]) -> bool:
    """Whether a card is of the celestial axes, if it is of an axis at all."""
    match = _ALONG.fullmatch(word)
    return match is None or int(match[1]) in axes


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
            placed = _WORDS.fullmatch(keyword) or _SIP.fullmatch(keyword)
            if not placed or keyword in ("DATE-OBS", "MJD-OBS"):
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
