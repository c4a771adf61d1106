"""AB zero points that a header states, in the conventions of the observatories.

    m_AB = ZP − 2.5 log₁₀(f)

    ABZP, MAGZERO, MAGZPT, PHOTZP    ZP itself (so ABMAG, ZP_AB, …; MAGZP, ZP, … if MAGSYS is AB)
    FLUXMAG0                         the value of magnitude 0: ZP = 2.5 log₁₀ FLUXMAG0
    PHOTFLAM, PHOTPLAM (HST)         ZP = −2.5 log₁₀ PHOTFLAM − 5 log₁₀ PHOTPLAM − 2.408
    PHOTFNU (HST)                    ZP = 8.90 − 2.5 log₁₀ PHOTFNU
    PHOTMJSR (JWST)                  ZP = −6.10 − 2.5 log₁₀(PHOTMJSR · Ω), Ω the nominal pixel

The last three are of one electron, count or DN in a second: of n of them ZP is smaller by
2.5 log₁₀ n, be they thousands of counts, the electrons of a minute or of a square arcsecond, or the
counts of an exposure (EXPTIME, else XPOSURE, EFFEXPTM, TEXPTIME). Sources: ACS Data Handbook
("zeropoints"), JWST documentation (``PHOTMJSR``), HSC and LSST pipelines (``FLUXMAG0``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from astropy import units as u

from imgturbo.sky.cards import number
from imgturbo.sky.units import Unit

__all__ = ["ZEROPOINT_CARDS", "number_of", "zeropoint_of_unit", "zeropoints"]

AB_OF_ONE_JANSKY = 8.90
ZEROPOINT_CARDS = (
    "MAGZERO", "MAGZPT", "PHOTZP", "ABMAG", "ABMAGZP", "ABZPT", "AB_ZP", "ZP_AB", "ZPAB",
)  # fmt: skip
_OF_ANY_SYSTEM = ("MAGZP", "ZP", "ZPT", "ZEROPT", "ZEROPNT")
"""Names under which Vega's zero points are as usual: they count if a card says AB."""
_SYSTEM_CARDS = ("PHOTSYS", "MAGSYS", "ZPSYS", "ZP_SYS")
_VEGA = ("VIRCAM", "WFCAM")  # instruments whose MAGZPT is Vega's and does not say so
_EXPOSURES = ("EXPTIME", "XPOSURE", "EFFEXPTM", "TEXPTIME")
_COUNTED = (u.electron, u.ct, u.DN, u.ph)
_FLAM = u.erg / u.s / u.cm**2 / u.AA
_MOST = 1e60
_FAINTEST = 300.0  # magnitudes


def zeropoints(
    header: Mapping[str, Any], unit: Unit, area: float | None
) -> list[tuple[str, float]]:
    """All AB zero points that a header states, (who says so, ZP), the most trusted first."""
    found = [
        ("ABZP", number_of(header, "ABZP")),
        (f"the unit {unit.name}", zeropoint_of_unit(header, unit, area)),
    ]
    if not _is_vega(header):
        cards = (*ZEROPOINT_CARDS, *(_OF_ANY_SYSTEM if _is_ab(header) else ()))
        found += [(card, number_of(header, card)) for card in cards]
        magnitude_0 = number_of(header, "FLUXMAG0")
        found.append(("FLUXMAG0", 2.5 * math.log10(magnitude_0) if magnitude_0 else None))
    found += _calibrations(header, unit, area)
    return [(who, v) for who, v in found if v is not None and abs(v) < _FAINTEST]


def zeropoint_of_unit(header: Mapping[str, Any], unit: Unit, area: float | None) -> float | None:
    """Of flux densities: the unit alone tells, with the pixel's area if it is a brightness."""
    solid = 1.0
    per: u.UnitBase = u.dimensionless_unscaled
    if unit.kind == "brightness":
        if not area:
            return None
        per, solid = u.sr, area
        beam = _beam_area(header)
        if beam and unit.value_in(u.Jy / u.beam):
            per, solid = u.beam, area / beam
    jansky = unit.value_in(u.Jy / per)
    if jansky:
        return AB_OF_ONE_JANSKY - 2.5 * math.log10(jansky * solid)
    flam, pivot = unit.value_in(_FLAM / per), number_of(header, "PHOTPLAM")
    return _of_flam(flam * solid, pivot) if flam and pivot else None


def _of_flam(flam: float, pivot: float) -> float:
    return -2.5 * math.log10(flam) - 5 * math.log10(pivot) - 2.408


def _beam_area(header: Mapping[str, Any]) -> float | None:
    """Of a Gaussian beam, in steradians."""
    major, minor = number_of(header, "BMAJ"), number_of(header, "BMIN")
    if not major or not minor:
        return None
    return math.pi / (4 * math.log(2)) * math.radians(major) * math.radians(minor)


def _calibrations(
    header: Mapping[str, Any], unit: Unit, area: float | None
) -> list[tuple[str, float | None]]:
    """Of electrons, counts or DN, by the observatory's calibration of one of them a second."""
    rate = _counted(header, unit, area)
    if not rate:
        return []
    later = -2.5 * math.log10(rate)
    flam, pivot = number_of(header, "PHOTFLAM"), number_of(header, "PHOTPLAM")
    fnu, brightness = number_of(header, "PHOTFNU"), number_of(header, "PHOTMJSR")
    found: list[tuple[str, float | None]] = []
    if flam and pivot:
        found.append(("PHOTFLAM", _of_flam(flam, pivot) + later))
    if fnu:
        found.append(("PHOTFNU", AB_OF_ONE_JANSKY - 2.5 * math.log10(fnu) + later))
    if brightness and area:
        value = AB_OF_ONE_JANSKY - 2.5 * math.log10(brightness * 1e6 * area)
        found.append(("PHOTMJSR", value + later))
    return found


def _counted(header: Mapping[str, Any], unit: Unit, area: float | None) -> float | None:
    """How many of what a detector counts the value 1 is, in a pixel and a second; None: no such."""
    per: u.UnitBase = u.dimensionless_unscaled
    solid: float | None = 1.0
    if unit.kind == "brightness":
        per, solid = u.sr, area
    seconds = next((t for card in _EXPOSURES if (t := number_of(header, card))), None)
    for one in _COUNTED:
        rate, count = unit.value_in(one / u.s / per), unit.value_in(one / per)
        if rate is None and count and seconds:
            rate = count / seconds
        if rate:
            return rate * solid if solid else None
    return None


def _is_ab(header: Mapping[str, Any]) -> bool:
    """Whether a card says that magnitudes are AB's."""
    return any(re.match(r"\s*AB", str(header.get(card, "")), re.I) for card in _SYSTEM_CARDS)


def _is_vega(header: Mapping[str, Any]) -> bool:
    """Whether magnitudes are Vega's, whose zero point says nothing of AB without the band."""
    systems = [str(header.get(card, "")).upper() for card in _SYSTEM_CARDS]
    camera = str(header.get("INSTRUME", "")).strip().upper()
    return any("VEGA" in system for system in systems) or camera in _VEGA


def number_of(header: Mapping[str, Any], keyword: str) -> float | None:
    """A finite number, positive unless it is a magnitude; None where it is missing or a dummy.

    Dummies are also magnitudes and sizes that nothing in the sky has: their powers have no number.
    """
    value = header.get(keyword)
    if isinstance(value, str):
        value = number(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if keyword in ("ABZP", *ZEROPOINT_CARDS, *_OF_ANY_SYSTEM):
        return float(value) if abs(value) < _FAINTEST else None
    return float(value) if 1 / _MOST < value < _MOST else None
