"""What a unit says about a pixel, decided by dimension and not by spelling.

Astropy knows the units and their algebra; archives know other spellings (``ELECTRONS/S``,
``MJy sr^{-1}``, ``10.0*nanoJansky``, ``e-/sec``), which are read here token by token. What counts
for a change of grid is the dimension of what is left when ``pixel⁻¹`` is taken out:

    … sr⁻¹, … beam⁻¹, K            brightness: a pixel of any size holds the same value
    W m⁻² [Hz⁻¹, m⁻¹], photons      flux: a pixel of twice the area holds twice the value
    electron, count, DN [s⁻¹]       count and rate: the same

``display`` values (pictures, 0 to 1, and Lab) stay as they are too. All else is *unknown*: whether
a larger pixel holds more of it cannot be said, so whoever needs to know must ask.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from astropy import units as u

from imgturbo.door import door
from imgturbo.errors import ImgturboError

__all__ = ["DISPLAY", "Kind", "Unit", "parse_unit"]

DISPLAY = "display"
"""Unit of pictures: values 0 to 1, stretched by whoever made them."""

Kind = Literal["flux", "brightness", "count", "rate", "display", "none", "unknown"]

MAGGY = 3631.0  # Jy: the flux of AB magnitude 0
_AS_THEY_ARE = {"display": DISPLAY, "lab": "Lab"}
_NOTHING = {
    "", "unitless", "none", "unknown", "n/a", "na", "null", "-", "1", "dimensionless",
    "normalized", "normalised", "arbitrary", "arb", "relative", "uncalibrated",
}  # fmt: skip

# Spellings of archives, in lower case; where case tells (mJy from MJy) astropy's own names count.
_WORDS: dict[str, u.UnitBase] = {
    "electron": u.electron, "electrons": u.electron, "e": u.electron, "el": u.electron,
    "count": u.ct, "counts": u.ct, "cts": u.ct, "ct": u.ct, "cnts": u.ct, "cps": u.ct / u.s,
    "dn": u.DN, "adu": u.DN, "adus": u.DN, "photon": u.ph, "photons": u.ph, "phot": u.ph,
    "s": u.s, "sec": u.s, "secs": u.s, "second": u.s, "seconds": u.s, "hz": u.Hz, "ghz": u.GHz,
    "sr": u.sr, "ster": u.sr, "steradian": u.sr, "steradians": u.sr, "sterad": u.sr,
    "arcsec": u.arcsec, "arcsecs": u.arcsec, "arcsecond": u.arcsec, "arcseconds": u.arcsec,
    "asec": u.arcsec, "sqarcsec": u.arcsec**2, "sqasec": u.arcsec**2, "arcsecsq": u.arcsec**2,
    "sqarcmin": u.arcmin**2, "sqdeg": u.deg**2, "spaxel": u.pix,
    "pixel": u.pix, "pixels": u.pix, "pix": u.pix, "px": u.pix, "beam": u.beam, "bm": u.beam,
    "erg": u.erg, "ergs": u.erg, "cm": u.cm, "km": u.km, "nm": u.nm, "w": u.W, "watt": u.W,
    "watts": u.W, "ang": u.AA, "angstrom": u.AA, "angstroms": u.AA, "micron": u.um,
    "microns": u.um, "um": u.um, "kelvin": u.K, "k": u.K, "mag": u.mag, "abmag": u.mag,
    "flam": u.erg / u.s / u.cm**2 / u.AA, "fnu": u.erg / u.s / u.cm**2 / u.Hz,
}  # fmt: skip
_EXACT: dict[str, u.UnitBase] = {"A": u.AA, "S": u.s, "M": u.m, "CM": u.cm, "W": u.W, "K": u.K}
_PREFIX = {
    "nano": "n",
    "micro": "u",
    "milli": "m",
    "mu": "u",
    "kilo": "k",
    "mega": "M",
    "giga": "G",
}
_JANSKY = re.compile(
    r"(?P<prefix>nano|micro|milli|kilo|mega|giga|mu|[numkMGNU]?)(?:jy|janskys?)", re.I
)
_MAGGY = re.compile(r"(?P<prefix>nano|micro|milli|[num]?)(?:maggys?|maggies|mgys?|mggys?)", re.I)
_LONGEST = 120  # characters; a FITS card holds 68
_LEAST = 1e-90
_LARGEST = 1e12  # Jy: what is larger is no multiple of one, but W/m2/Hz and the like
_SCALES = {"M": 1e6, "": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}  # spellings of the house

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<word>[A-Za-zµμÅ]+)|(?P<mark>\*\*|[*./()^·×]|[+-]\d+))"
)
_POWER = re.compile(r"\s*(?:(?:\*\*|\^)\s*(?:\(\s*([+-]?\d+)\s*\)|([+-]?\d+))|([+-]?\d+))(?![.\d])")
_POWERS_OF_TEN = re.compile(r"(?:\*\*|\^)\s*(?:\(\s*([+-]?\d+)\s*\)|([+-]?\d+))|([+-]\d+)")


@dataclass(frozen=True)
class Unit:
    """What the values of an image are measured in.

    Attributes:
        name: one spelling a unit: ``"MJy/sr"``, ``"10 nJy"``, ``"electron/s"``, …; of an unknown
            unit the one that was given, of none ``""``.
        kind: what a pixel of another size does to a value; see the module.
        physical: the same in Astropy's words, ``pixel⁻¹`` taken out; None where it has none.

    Example:
        >>> parse_unit("MJy sr^{-1}").name, parse_unit("Jy/beam").kind
        ('MJy/sr', 'brightness')
        >>> parse_unit("mJy/pixel") == parse_unit("milliJansky")
        True
    """

    name: str
    kind: Kind
    physical: u.UnitBase | None = field(default=None, compare=False, repr=False)

    @property
    def intensive(self) -> bool:
        """Whether pixels of any size hold the same value: brightness, and pictures."""
        return self.kind in ("brightness", "display")

    @property
    def known(self) -> bool:
        """Whether a change of the pixels' size is understood."""
        return self.kind not in ("none", "unknown")

    @property
    def counting(self) -> bool:
        """Detector units: what one of them is in janskys, only a calibration can say."""
        return self.kind in ("count", "rate")

    def value_in(self, other: u.UnitBase) -> float | None:
        """How many of ``other`` one of this unit is; None where they are not of one kind."""
        if self.physical is None:
            return None
        try:
            return float(self.physical.to(other))
        except u.UnitConversionError:
            return None

    def fits(self) -> str:
        """A spelling within the FITS standard, for BUNIT.

        The standard has no electron and no DN (they are count and adu there), and of factors the
        powers of ten only. Pictures have no unit there, ``""``. What cannot be said in it (an
        unknown unit, nanomaggy) is left as it is.
        """
        if self.kind == "unknown":
            return self.name
        if self.physical is None:
            return ""
        standard = self.name.replace("electron", "count").replace("DN", "adu")
        if _is_fits(standard):
            return standard
        try:
            return str(_replaced(self.physical).to_string("fits"))
        except (ValueError, u.UnitScaleError):
            return self.name


@lru_cache(maxsize=256)
def parse_unit(bunit: str | None) -> Unit:
    """Read a unit in any of the spellings that archives use.

    Args:
        bunit: as in BUNIT, a config or a bundle; None where it is missing.

    Returns:
        The unit; its ``kind`` is ``"unknown"`` where the spelling or the dimension is not
        understood, and ``"none"`` where nothing is stated.
    """
    given = (bunit or "").strip()
    if given.lower() in _NOTHING:
        return Unit("", "none")
    if given.lower() in _AS_THEY_ARE:
        return Unit(_AS_THEY_ARE[given.lower()], "display")
    if len(given) > _LONGEST:
        return Unit(given, "unknown")
    try:
        with door(given):  # whatever astropy has against it
            return _analysed(given)
    except ImgturboError:
        return Unit(given, "unknown")


def _analysed(given: str) -> Unit:
    """The unit by its dimension.

    Raises:
        ValueError: it is none, or multiples of one that no number holds.
    """
    plain = _plain(given)
    parsed = _read(plain)
    if not _LEAST < abs(parsed.decompose().scale) < 1 / _LEAST:
        raise ValueError(f"{given!r} is beyond all numbers")
    bases = _bases(parsed)
    if re.search(r"\bMJY\b", plain) and plain == plain.upper() and bases.get("rad") != -2:
        raise ValueError("in capitals alone MJY may be mJy (of radio maps) as well as MJy")
    explicit = bases.get("pix") == -1
    unit = parsed * u.pix if explicit else parsed
    kind = _kind(unit)
    if kind != "unknown":
        known = not (explicit and kind == "brightness")  # of the sky, or of a pixel: not of both
        return Unit(_name(unit), kind, unit) if known else Unit(given, "unknown")
    if explicit and not {"rad", "beam", "dex", "pix"} & set(_bases(unit)) and _bases(unit):
        return Unit(_astropy_name(parsed), "flux", unit)  # whatever it is, it is a pixel's
    return Unit(given, "unknown")


# ------------------------------------------------------------------------------- the spelling


def _plain(given: str) -> str:
    """Without what TeX, prose, quotes and brackets add."""
    text = re.sub(r"^(['\"])(.*)\1$", r"\2", given)
    text = re.sub(r"\\(mathrm|rm|,|;|!|\s)|[${}~]", " ", text)
    text = re.sub(r"\^\s*([+-]?\d+)", r"^\1", text)
    for mark, power in (("²", "2"), ("³", "3"), ("⁻¹", "-1"), ("⁻²", "-2"), ("−", "-")):
        text = text.replace(mark, power)
    text = re.sub(r"\((?:T?_?(?:mb|[ab])\*?|AB|Vega)\)", " ", text, flags=re.IGNORECASE)
    text = re.sub(r"\bper\b", "/", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(sq|square)[\s._]+(?=[A-Za-z])", "sq", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<![A-Za-z\d])e-(?![\d])", "electron ", text, flags=re.IGNORECASE)
    text = re.sub(r"\bph\s*/", "photon /", text)
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    return text.strip()


def _read(text: str) -> u.UnitBase:
    """The unit that a string of factors makes; ``/`` divides by the next factor alone."""
    unit, at = _product(text, 0, nested=False)
    if text[at:].strip():
        raise ValueError(f"{text[at:]!r} is left over")
    return unit


def _product(text: str, at: int, nested: bool) -> tuple[u.UnitBase, int]:
    result: u.UnitBase = u.dimensionless_unscaled
    sign = 1
    factors = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            break
        mark = token["mark"]
        if mark == ")":
            break
        if mark in ("*", ".", "·", "×"):
            at = token.end()
            continue
        if mark == "/":
            if sign < 0:
                raise ValueError("two divisions without a unit between them")
            sign, at = -1, token.end()
            continue
        factor, at = _factor(text, token)
        result, sign, factors = result * factor**sign, 1, factors + 1
    if not factors or sign < 0 or (nested and not text[at:].lstrip().startswith(")")):
        raise ValueError(f"{text!r} is no unit")
    return result, at


def _factor(text: str, token: re.Match[str]) -> tuple[u.UnitBase, int]:
    """A number, a name or a bracket, with its power."""
    at = token.end()
    if token["number"]:
        number = float(token["number"])
        power = _POWERS_OF_TEN.match(text, at)
        if power and number == 10:
            number, at = 10.0 ** int(next(p for p in power.groups() if p)), power.end()
        if not _LEAST < number < 1 / _LEAST:
            raise ValueError("a unit of nothing")
        return u.CompositeUnit(number, [], []), at
    if token["mark"] == "(":
        unit, at = _product(text, at, nested=True)
        at = text.index(")", at) + 1
    elif token["word"]:
        unit = _word(token["word"])
    else:
        raise ValueError(f"{token[0]!r} is no unit")
    power = _POWER.match(text, at)
    if power and not (power[3] and power[0][:1].isspace()):
        unit, at = unit ** int(next(p for p in power.groups() if p)), power.end()
    return unit, at


def _word(word: str) -> u.UnitBase:
    word = word.replace("μ", "u").replace("µ", "u")
    if word in _EXACT:
        return _EXACT[word]
    for pattern, base in ((_JANSKY, u.Jy), (_MAGGY, MAGGY * u.Jy)):
        found = pattern.fullmatch(word)
        if found:
            given = found["prefix"]
            prefix = _PREFIX.get(given.lower(), given if given in "mMkG" else given.lower())
            return u.Unit(u.Unit(f"{prefix}Jy") * (base / u.Jy).decompose() * 1.0)
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    for name in (word, word.lower()):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", u.UnitsWarning)
                return u.Unit(name)
        except (ValueError, TypeError):
            continue
    raise ValueError(f"{word!r} is no unit")


# ------------------------------------------------------------------------------ the dimension


def _bases(unit: u.UnitBase) -> dict[str, float]:
    whole = unit.decompose()
    return {
        base.to_string(): float(power)
        for base, power in zip(whole.bases, whole.powers, strict=True)
    }


def _kind(unit: u.UnitBase) -> Kind:
    """Of a unit without ``pixel⁻¹``."""
    bases = _bases(unit)
    area, beam = bases.pop("rad", 0.0), bases.pop("beam", 0.0)
    if (area, beam) in ((-2, 0), (0, -1)) and bases and "pix" not in bases:
        return "brightness"
    if (area, beam) != (0, 0):
        return "unknown"
    seconds = bases.get("s", 0.0)
    for counted in ("electron", "ct", "DN", "ph"):
        if bases.get(counted) == 1 and set(bases) <= {counted, "s"} and seconds in (0, -1):
            return "rate" if seconds else "count"
    if bases.get("K") == 1 and "pix" not in bases:
        return "brightness"  # also times a velocity
    powers = zip(unit.bases, unit.powers, strict=True)
    if any(base.name.endswith("pc") and power == -2 for base, power in powers):
        return "brightness" if "kg" in bases else "unknown"  # L☉ pc⁻²: of the galaxy's own surface
    energy = bases.get("kg") == 1 and set(bases) <= {"kg", "m", "s"}
    if energy and (seconds, bases.get("m", 0.0)) in ((-2, 0), (-3, 0), (-3, -1), (-3, 1)):
        return "flux"
    if bases.get("ph") == 1 and bases.get("m") in (-2, -3) and seconds in (0, -1):
        return "flux"
    return "unknown"


def _name(unit: u.UnitBase) -> str:
    """The house's spelling where it has one, else Astropy's, in one order of factors."""
    area, suffix = _area(unit)
    plain = unit * area
    jansky = _ratio(plain, u.Jy)
    if jansky is not None and jansky < _LARGEST:
        if round(jansky * 1e9 / MAGGY, 6) == 1:
            return f"nanomaggy{suffix}"
        prefix = next((p for p, size in _SCALES.items() if jansky >= size * (1 - 1e-9)), "n")
        factor = float(f"{jansky / _SCALES[prefix]:.6g}")
        return f"{prefix}Jy{suffix}" if factor == 1 else f"{factor:g} {prefix}Jy{suffix}"
    counted = (("electron", u.electron), ("count", u.ct), ("DN", u.DN), ("photon", u.ph))
    for name, base in counted:
        for rate, over in (("", u.dimensionless_unscaled), ("/s", u.s)):
            if _ratio(plain, base / over) == 1:
                return f"{name}{rate}{suffix}"
    return _astropy_name(unit)


def _astropy_name(unit: u.UnitBase) -> str:
    try:
        return str(unit.to_string("fits"))
    except (ValueError, u.UnitScaleError):
        return str(unit.to_string())


def _area(unit: u.UnitBase) -> tuple[u.UnitBase, str]:
    """The area that a brightness is divided by, and how the house writes it."""
    for area, suffix in ((u.beam, "/beam"), (u.arcsec**2, "/arcsec2"), (u.sr, "/sr")):
        base = area.bases[0]
        if any(b == base and p < 0 for b, p in zip(unit.bases, unit.powers, strict=True)):
            return area, suffix
    return u.dimensionless_unscaled, ""


def _ratio(unit: u.UnitBase, other: u.UnitBase) -> float | None:
    try:
        return float(f"{unit.to(other):.12g}")
    except u.UnitConversionError:
        return None


def _is_fits(name: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", u.UnitsWarning)
            u.Unit(name, format="fits", parse_strict="raise")
    except ValueError:
        return False
    return True


def _replaced(unit: u.UnitBase) -> u.UnitBase:
    """Electrons as counts and DN as adu, which the FITS standard knows."""
    swap = {u.electron: u.ct, u.DN: u.adu, u.AA: u.Angstrom}
    bases = [swap.get(base, base) for base in unit.bases]
    return u.CompositeUnit(float(f"{unit.scale:.12g}"), bases, unit.powers)
