"""Units and AB zero points: what one number in one pixel means.

    m_AB = ZP − 2.5 log₁₀(f),    f the sum of pixel values

A flux of one jansky has m_AB = 8.90, so for a pixel value of u janskys ZP = 8.90 − 2.5 log₁₀ u:
31.4 for nJy, 28.9 for the 10 nJy of DJA/grizli mosaics. A surface brightness must be multiplied by
the pixel's solid angle Ω first (JWST, MJy/sr):

    ZP = −6.10 − 2.5 log₁₀ PIXAR_SR

HST counts electrons (or counts) per second; its calibration gives the flux density of one of them
(ACS Data Handbook, "zeropoints"; WFC3 the same):

    ZP = −2.5 log₁₀ PHOTFLAM − 5 log₁₀ PHOTPLAM − 2.408,   or   8.90 − 2.5 log₁₀ PHOTFNU

A surface brightness stays as it is when pixels grow; everything else is per pixel and grows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

__all__ = [
    "DISPLAY",
    "canonical_unit",
    "is_surface_brightness",
    "zeropoint",
]

DISPLAY = "display"
"""Unit of pictures: values 0 to 1, stretched by whoever made them."""

AB_OF_ONE_JANSKY = 8.90
_ARCSEC2 = math.radians(1 / 3600) ** 2
_PREFIX = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "M": 1e6}

_WORDS = (("nano", "n"), ("micro", "u"), ("milli", "m"), ("mega", "M"), ("µ", "u"), ("μ", "u"))
_JANSKY = re.compile(r"(?P<factor>[\d.]+(?:[eE][+-]?\d+)?)?\*?(?P<prefix>[numM]?)jy")
_PER_AREA = re.compile(r"(?:/|[.*]?)(sr|steradian|arcsec)(?:\^|\*\*)?(-1|2|-2)?$")
_RATES = {
    "electron/s": r"(electrons?|e-?)(/s(ec(onds?)?)?|\.?s(\^|\*\*)?-1)",
    "count/s": r"(counts?|cts?)(/s(ec(onds?)?)?|\.?s(\^|\*\*)?-1)|cps",
    "DN/s": r"(dn|adu)(/s(ec(onds?)?)?|\.?s(\^|\*\*)?-1)",
    "electron": r"electrons?|e-",
    "count": r"counts?|cts?",
    "DN": r"dn|adu",
}
_COUNTING = frozenset(_RATES)


def canonical_unit(bunit: str | None) -> str:
    """One spelling a unit: ``"MJy/sr"``, ``"10 nJy"``, ``"electron/s"``, …

    A unit that is not known is returned as it was given, a missing one as ``""``.
    """
    given = (bunit or "").strip()
    if not given or given.lower() in ("unitless", "none", "unknown"):
        return ""
    if given.lower() == DISPLAY:
        return DISPLAY
    compact = given.replace(" ", "")
    for word, letter in _WORDS:
        compact = re.sub(word, letter, compact, flags=re.IGNORECASE)
    compact = re.sub(r"janskys?", "jy", compact, flags=re.IGNORECASE)
    area = _PER_AREA.search(compact.lower())
    flux = compact[: area.start()] if area else compact
    jansky = _JANSKY.fullmatch(_lower_jy(flux))
    if jansky:
        factor = float(jansky["factor"] or 1)
        name = f"{jansky['prefix']}Jy" if factor == 1 else f"{factor:g} {jansky['prefix']}Jy"
        if area is None:
            return name
        return f"{name}/{'arcsec2' if area[1] == 'arcsec' else 'sr'}"
    for name, pattern in _RATES.items():
        if re.fullmatch(pattern, compact.lower()):
            return name
    return given


def _lower_jy(flux: str) -> str:
    """``"NJY"`` → ``"njy"``; an ``M`` keeps its case, since mJy and MJy are 10⁹ apart."""
    head, tail = flux[:-2], flux[-2:].lower()
    if head and head[-1] in "NU":
        head = head[:-1] + head[-1].lower()
    return head + tail


def is_surface_brightness(unit: str) -> bool:
    """True for values that a change of pixel size leaves alone: per solid angle, and pictures."""
    return unit == DISPLAY or unit.endswith(("/sr", "/arcsec2"))


def zeropoint(header: Mapping[str, Any], unit: str, pixel_area: float | None) -> float | None:
    """AB magnitude of the value 1 in one pixel, or None where the header does not tell.

    Args:
        header: of the image, with the primary header's cards.
        unit: as of :func:`canonical_unit`.
        pixel_area: in steradians by the WCS; used where PIXAR_SR is absent.
    """
    written = _number(header, "ABZP")
    if written is not None:
        return written
    flux, _, area_unit = unit.partition("/")
    jansky = _JANSKY.fullmatch(flux.replace(" ", "").replace("Jy", "jy"))
    if jansky and area_unit in ("", "sr", "arcsec2"):
        value = float(jansky["factor"] or 1) * _PREFIX[jansky["prefix"]]
        if area_unit:
            area = _number(header, "PIXAR_SR")
            if area is None and (arcsec2 := _number(header, "PIXAR_A2")) is not None:
                area = arcsec2 * _ARCSEC2
            area = area or pixel_area
            if not area:
                return None
            value *= area if area_unit == "sr" else area / _ARCSEC2
        return AB_OF_ONE_JANSKY - 2.5 * math.log10(value)
    if unit in _COUNTING:
        return _hst_zeropoint(header, unit)
    return None


def _hst_zeropoint(header: Mapping[str, Any], unit: str) -> float | None:
    flam, plam = _number(header, "PHOTFLAM"), _number(header, "PHOTPLAM")
    fnu = _number(header, "PHOTFNU")
    if flam and plam:
        rate = -2.5 * math.log10(flam) - 5 * math.log10(plam) - 2.408
    elif fnu:
        rate = AB_OF_ONE_JANSKY - 2.5 * math.log10(fnu)
    else:
        return None
    if unit.endswith("/s"):
        return rate
    seconds = _number(header, "EXPTIME")
    return rate + 2.5 * math.log10(seconds) if seconds else None


def _number(header: Mapping[str, Any], keyword: str) -> float | None:
    """A finite number, positive unless it is a zero point; None where it is missing or a dummy."""
    value = header.get(keyword)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if value > 0 or keyword == "ABZP" else None
