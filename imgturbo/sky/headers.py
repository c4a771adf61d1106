"""Of a header the cards that say where pixels lie, made what astropy expects.

A header says where pixel (x, y) lies on the sky by CTYPE, CRPIX, CRVAL and a matrix, by a
projection with its parameters PV, and, if CTYPE ends in ``-SIP``, by a polynomial of the pixels.
Astropy reads all of it; here a header is made what astropy expects: only the two celestial axes of
a cube, their units and frame in standard spelling, and no terms that pipelines left behind: SIP
coefficients beside a plain ``RA---TAN`` (arcminutes of error, astropy issue 4761), lookup tables
(CPDIS, D2IM) that lie in another file, PV terms of a TAN that are none of its parameters. PVi_j of
a TAN with j ≥ 5 are SCAMP's polynomial, TPV (Shupe et al. 2012, SPIE 8451, section 7).

:mod:`imgturbo.sky.wcs` makes a WCS of these cards, and cards of a WCS.

astropy's remarks on headers (repaired dates, missing observer positions) are not the user's
concern; :func:`quiet` is the one place where they are silenced.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import FITSFixedWarning

from imgturbo.errors import ImgturboError
from imgturbo.sky.cards import angle, name_frame, number, present_name, settle

__all__ = [
    "celestial_axes",
    "celestial_cards",
    "has_sip",
    "of_place",
    "quiet",
    "settled",
]

_LONGITUDE = re.compile(r"(?P<sky>RA)(-|$)|(?P<body>[A-Z])LON(-|$)|(?P<two>[A-Z]{2})LN(-|$)")
_LATITUDE = re.compile(r"(?P<sky>DEC)(-|$)|(?P<body>[A-Z])LAT(-|$)|(?P<two>[A-Z]{2})LT(-|$)")
_OF_AXIS = re.compile(r"(?:CTYPE|CUNIT|CNAME|CROTA|PV|PS|WAT)(\d)(?:_\d+)?")
_ALONG = re.compile(r"C(?:RVAL|RPIX|DELT)(\d)")
_LETTER = re.compile(r"(?<=\d)[A-Z]$")
_MATRIX = re.compile(r"(?:CD|PC)0*(\d)_?0*(\d)")
_CD, _PC = re.compile(r"CD\d_\d"), re.compile(r"PC\d_\d|PC\d{6}")
_SIP = re.compile(r"(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)")
_PV = re.compile(r"PV(\d)_(\d+)")
_TOUCHING = 45.0  # degrees of native latitude
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
_SIP_ORDERS = range(10)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence astropy's remarks on headers; what matters in them is checked by our own code."""
    with warnings.catch_warnings():
        for category in (VerifyWarning, FITSFixedWarning, AstropyUserWarning):
            warnings.simplefilter("ignore", category)
        # Far outside an image its polynomial cannot be inverted; the caller checks what comes out.
        warnings.filterwarnings("ignore", message=".*(failed to converge|All-NaN slice)")
        yield


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


def settled(
    header: fits.Header, where: str, lost: Sequence[str] = ()
) -> tuple[fits.Header, tuple[int, int] | None]:
    """A copy of a header that says each thing once, and the axes of the sky in it, if any.

    Args:
        header: of an image.
        where: what to call it in a message.
        lost: keywords of cards that it had, whose values nobody can read.

    Raises:
        ImgturboError: one that is lost says where pixels lie; wcslib would take 0 for it.
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
    return header, axes


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


def has_sip(header: fits.Header) -> bool:
    """Whether a header holds coefficients of a SIP polynomial, whether they count or not."""
    return any(_SIP.fullmatch(word) and header[word] for word in header)


def of_place(word: str) -> bool:
    """Whether a keyword says where pixels lie; dates are an observation's."""
    placed = _WORDS.fullmatch(word) or _SIP.fullmatch(word)
    return bool(placed) and word not in ("DATE-OBS", "MJD-OBS")


def celestial_cards(header: fits.Header, axes: tuple[int, int], plate: bool = True) -> fits.Header:
    """Cards of the celestial axes alone, in standard spelling, without terms that do not apply.

    Args:
        header: each thing said once (:func:`settled`).
        axes: the celestial ones, by their FITS numbers.
        plate: keep the terms of a photographic plate.

    Raises:
        ImgturboError: cards that wcslib would misread, see the words; no file is named.
    """
    clean = _clean(header, axes, plate)
    _check_numbers(clean, axes)
    return clean


def _clean(header: fits.Header, axes: tuple[int, int], with_plate: bool) -> fits.Header:
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
        if (plate and not with_plate) or (_SIP.fullmatch(word) and not sip):
            continue
        if any(re.match(rf"C{n[0]}(DIS|ERR){n[1]}|D{n}", word) for n in absent):
            continue
        if tangent and not scamp and _PV.fullmatch(word) and not _turns(word, pv, header):
            continue
        if not _of_others(word, axes):
            clean.append(card, end=True)
    for axis, name in ctypes.items():
        name = name.removesuffix("-SIP") + ("-SIP" if sip else "")
        name = name.replace("-TAN", "-TPV") if scamp else name
        clean[f"CTYPE{axis}"] = _PROJECTED.sub(lambda m: f"{m[1]:-<5}{m[2]}", name)
        if f"CUNIT{axis}" in clean:
            clean[f"CUNIT{axis}"] = angle(str(clean[f"CUNIT{axis}"]))
    _drop_second_matrix(clean, axes)
    if any(_CD.fullmatch(word) for word in clean):
        for other in range(1, 10):  # a matrix without a line for the spectrum would be singular
            if other not in axes and any(w in header for w in (f"NAXIS{other}", f"CTYPE{other}")):
                clean[f"CD{other}_{other}"] = 1.0
    name_frame(clean)
    return clean


def _drop_second_matrix(clean: fits.Header, axes: tuple[int, int]) -> None:
    """Of CD and PC leave one, in place: PC if it has its CDELT, as wcslib reads them.

    A PC without one would be in steps of a degree.
    """
    cd, pc = ([word for word in clean if kind.fullmatch(word)] for kind in (_CD, _PC))
    if cd and pc:
        stepped = any(f"CDELT{axis}" in clean for axis in axes)
        for word in cd if stepped else pc:
            del clean[word]


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


def _turns(word: str, pv: Mapping[int, Sequence[int]], header: fits.Header) -> bool:
    """Whether a PV of a TAN is its pole's or reference point's and not SCAMP's, left behind.

    A tangent plane touches the sphere at native latitude 90°; SCAMP's number of that name, the
    share of the other axis, is near 0, and its numbers come for both axes.
    """
    axis, number = (int(n) for n in _PV.fullmatch(word).groups())  # type: ignore[union-attr]
    latitude = header.get(f"PV{axis}_2")
    touching = isinstance(latitude, int | float) and latitude >= _TOUCHING
    alone = not any(numbers for other, numbers in pv.items() if other != axis)
    return (number in (3, 4) and min(pv[axis]) >= 3) or (number <= 4 and touching and alone)


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
