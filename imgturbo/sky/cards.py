"""Cards as they come: unreadable, repeated, of the primary header, under old and other names.

FITS leaves open what a keyword means that comes twice with two values, and readers differ: of
coordinates wcslib takes the last, of everything else astropy the first. Here it is said, once.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter

from astropy.io import fits

from imgturbo.door import door
from imgturbo.errors import ImgturboError

__all__ = [
    "FRAMES",
    "angle",
    "drop_unreadable",
    "inherit",
    "name_frame",
    "number",
    "number_in",
    "present_name",
    "settle",
    "whole_in",
    "word_in",
]

_PLACE_OF_BYTES = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|EXTEND|NEXTEND|EXTNAME|EXTVER|INHERIT|BSCALE|BZERO|"
    r"BLANK|CHECKSUM|DATASUM|GROUPS|COMMENT|HISTORY|"
)
_COORDINATE = (
    r"C(?:TYPE|UNIT|RVAL|RPIX|DELT|ROTA)\d|CD\d_\d|PC\d_\d|PC\d{6}|PV\d_\d+|LONPOLE|LATPOLE|"
    r"RADESYS|EQUINOX|WCSNAME"
)
_OF_SKY = re.compile(_COORDINATE + r"|RADECSYS|EPOCH|(?:A|B|AP|BP)_(?:ORDER|\d+_\d+)")
_ALTERNATE = re.compile(rf"({_COORDINATE})([A-Z])")
_OF_FLUX = re.compile(
    r"BUNIT|ABZP|MAGZERO|MAGZPT|PHOTZP|FLUXMAG0|PHOT(FLAM|PLAM|FNU|MJSR|SYS)|PIXAR_(SR|A2)|EXPTIME|"
    r"ABMAG|ABMAGZP|ABZPT|AB_ZP|ZP_AB|ZPAB|MAGZP|ZP|ZPT|ZEROPT|ZEROPNT|XPOSURE|EFFEXPTM|TEXPTIME|"
    r"BMAJ|BMIN|FILTER\d?|PUPIL|BSCALE|BZERO|BLANK"
)
_OF_PIXELS = re.compile(
    r"BSCALE|BZERO|BLANK|EXTNAME|EXTVER|BITPIX|NAXIS\d*|ZQUANTIZ|ZDITHER0|ZBLANK|ZSCALE|ZZERO|"
    r"BUNIT|FLUXUNIT|PHOTSYS|MAGSYS|ZPSYS|ZP_SYS|UTYPE|MP_.*"
)
"""Cards without which values would be taken for others: in another unit, another system of
magnitudes, or measured where they are not."""
_OLD_CD = re.compile(r"CD00(\d)00(\d)")


_ANGLES = {
    "deg": r"deg(r|rees?|s)?",
    "arcmin": r"arc-?min(utes?|s)?|amin",
    "arcsec": r"arc-?sec(onds?|s)?|asec",
    "mas": r"mas|milliarc-?sec(onds?)?",
    "rad": r"rad(ians?|s)?",
}
FRAMES = {
    "ICRS": r"ICR[SF]\d?",
    "FK5": r"FK5.*|J?2000(\.0*)?",
    "FK4-NO-E": r"FK4.?NO.?E",
    "FK4": r"FK4.*|B?1950(\.0*)?",
}


def number(text: str) -> float | None:
    """A finite number that is written as a word, also as FORTRAN does (``1.2D-05``); or None."""
    try:
        found = float(text.strip().upper().replace("D", "E"))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def number_in(header: fits.Header, word: str, where: str, default: float) -> float:
    """The number that a card holds, or the default where there is no card.

    Raises:
        ImgturboError: it holds something else.
    """
    value = header.get(word)
    found = number(value) if isinstance(value, str) else value
    if found is None and value is None:
        return default
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ImgturboError(f"{where}: {word} = {value!r} is no number; correct the header")
    return float(found)


def whole_in(header: fits.Header, word: str, where: str, default: int) -> int:
    """The whole number that a card holds, or the default where there is no card.

    Raises:
        ImgturboError: it holds something else.
    """
    value = header.get(word)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = number_in(header, word, where, float(default))
    if not found.is_integer():
        raise ImgturboError(f"{where}: {word} = {value!r} is no whole number; correct the header")
    return int(found)


def word_in(header: fits.Header, word: str) -> str:
    """What a card says, as a word; empty where there is none."""
    value = header.get(word)
    return "" if value is None else str(value)


def present_name(word: str) -> str:
    """A keyword of a matrix of old under its present name; any other as it is."""
    return _OLD_CD.sub(r"CD\1_\2", word) if _OLD_CD.fullmatch(word) else word


def settle(header: fits.Header, where: str) -> None:
    """Make a header say each thing once and under its present name, in place.

    Of repeated cards that disagree one stays, with a word to the user; matrices of old
    (``CD001001``) and coordinates that there are only as alternates (``CTYPE1A``) are renamed.
    """
    _drop_repeated(header, where)
    for word in [word for word in header if _OLD_CD.fullmatch(word)]:
        new = present_name(word)
        if new not in header:
            header.rename_keyword(word, new)
    if "CTYPE1" in header or "CTYPE2" in header:
        return
    letters = sorted(word[-1] for word in header if re.fullmatch(r"CTYPE1[A-Z]", word))
    if letters:
        for card in list(header.cards):
            match = _ALTERNATE.fullmatch(card.keyword)
            if match and match[2] == letters[0]:
                header[match[1]] = (card.value, card.comment)


def _drop_repeated(header: fits.Header, where: str) -> None:
    times = Counter(card.keyword for card in header.cards)
    repeated = sorted(
        {word for word, count in times.items() if count > 1} - {"", "COMMENT", "HISTORY"}
    )
    told = []
    for word in repeated:
        of_sky = _OF_SKY.fullmatch(word) is not None
        if not of_sky and not _OF_FLUX.fullmatch(word):
            continue
        values = [header[word, i] for i in range(header.count(word))]
        kept = values[-1] if of_sky else values[0]
        if any(value != kept for value in values):
            told.append(f"{word} = {', '.join(map(repr, values))} ({kept!r} is taken)")
        while header.count(word) > 1:
            del header[word, 0 if of_sky else -1]
    if told:
        warnings.warn(
            f"{where}: cards that come more than once and disagree: {'; '.join(told)}; delete the "
            "wrong ones",
            stacklevel=3,
        )


def inherit(header: fits.Header, primary: fits.Header) -> fits.Header:
    """The header of an extension with the primary header's cards that it does not override.

    Cards that describe how bytes are stored, COMMENT and HISTORY are not handed down.
    """
    merged = header.copy()
    for card in primary.cards:
        if card.keyword not in merged and not _PLACE_OF_BYTES.fullmatch(card.keyword):
            merged.append(card, end=True)
    return merged


def drop_unreadable(header: fits.Header, where: str = "the header") -> list[str]:
    """Take out of a header the cards whose value is none, in place; their keywords.

    Raises:
        ImgturboError: one of them says what the pixels mean or which image this is, and without it
            they would be read as something else.
    """
    found = []
    for place in reversed(range(len(header))):
        card = header.cards[place]
        try:
            with door(where):  # whatever astropy has against it
                _ = card.value, card.comment
        except ImgturboError:
            word = str(card.keyword)
            if _OF_PIXELS.fullmatch(word):
                raise ImgturboError(
                    f"{where}: {word} has no value that FITS knows; correct the header"
                ) from None
            found.append(word)
            del header[place]
    return found[::-1]


def angle(unit: str) -> str:
    """CUNIT in standard spelling, or as it is."""
    word = unit.strip(" '\"").lower()
    for name, pattern in _ANGLES.items():
        if re.fullmatch(pattern, word):
            return name
    return unit


def name_frame(clean: fits.Header) -> None:
    """RADESYS (or RADECSYS) in standard spelling, and an equinox that is a number (in place)."""
    for keyword in ("RADESYS", "RADECSYS"):
        given = str(clean.get(keyword, "")).strip().upper()
        for name, pattern in FRAMES.items():
            if re.fullmatch(pattern, given):
                clean[keyword] = name
                break
    equinox = clean.get("EQUINOX")
    if isinstance(equinox, str):
        year = number(equinox.strip().upper().lstrip("JB"))
        if year is not None:
            clean["EQUINOX"] = year
