"""What bands are called: by the header's filter keywords, else by the file's name.

What a header says is a name, whole: ``HSC-R`` and ``HSC-I`` differ, and so do ``Johnson B`` and
``Johnson V``. Only clear glass is taken off (``F606W;CLEAR2L``), and of HST's and JWST's filters
the narrowest counts. Names are in capitals and ASCII, since they become values of FITS cards.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imgturbo.errors import ImgturboError

__all__ = [
    "FITS_SUFFIXES",
    "PICTURE_SUFFIXES",
    "ascii_name",
    "band_name",
    "distinct",
    "is_filter",
    "named_band",
    "plane_names",
    "stem",
]

FITS_SUFFIXES = (".fits", ".fit", ".fts")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

_FILTER = re.compile(r"F\d{3,4}(?:W2|W|M|N|LP|X)", re.IGNORECASE)
_FILTER_IN_NAME = re.compile(rf"(?<![A-Za-z0-9])({_FILTER.pattern})", re.IGNORECASE)
_CLEAR = re.compile(
    r"CLEAR\w*|GDHS\w*|EMPTY\w*|OPEN|BLANK|AIR|N/A|NA|NONE|NAN|NULL|UNKNOWN|UNDEFINED"
)
_SUMMARY = ("FILTER", "FILTERS", "FILTNAME")
_WHEELS = (
    "FILTER1", "FILTER2", "FILTER3", "FILTNAM1", "FILTNAM2",
    *(f"ESO INS FILT{i} NAME" for i in (1, 2, 3)),
)  # fmt: skip
_PLANES = ("BAND", "BANDS", "BANDNAME", "BAND0", "BAND1")  # of cutouts and cubes without a FILTER
_BROAD = re.compile(
    r"[UBVGRIZYJHKLMN]|[UGRIZY]P?'|K[SP]|[UBVRIC]_?[CJ]|F?NUV|FUV|W[1-4]|F\d{3,4}[A-Z\d]*|Y[1-4]"
    r"|VIS|LUM|HA|OIII|SII"
)


def is_filter(name: str) -> bool:
    """Whether a word is what astronomers call a filter: ``I``, ``KS``, ``F606W``, …"""
    return _BROAD.fullmatch(name.strip().upper()) is not None


def ascii_name(name: str) -> str:
    """The name in printable ASCII: accents fall off, other letters become their numbers."""
    bare = (c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else f"U{ord(c):04X}" for c in bare)


def band_name(header: Mapping[str, Any], path: Path | None) -> str:
    """Name of the band, in capitals: see :func:`named_band`."""
    return named_band(header, path)[0]


def named_band(header: Mapping[str, Any], path: Path | None) -> tuple[str, bool]:
    """Name of the band, in capitals, and whether it is the header's: else it is the file's.

    Wheels hold clear glass (``CLEAR1L``) and, on JWST, a narrow filter in the pupil wheel behind a
    wide one: of several, the narrowest names the band.
    """
    stated = {key: _words(header.get(key)) for key in (*_SUMMARY, *_WHEELS, "PUPIL")}
    named = next((stated[key] for key in _SUMMARY if stated[key]), [])
    named = named or [word for key in _WHEELS for word in stated[key]]
    filters = [word for word in (*named, *stated["PUPIL"]) if _FILTER.fullmatch(word)]
    if filters:
        return "_".join(_narrowest(filters)), True
    named = named or next((found for key in _PLANES if (found := _words(header.get(key)))), [])
    if named:
        return "_".join(dict.fromkeys(named)), True
    if path is None:
        return "BAND", False
    for part in (path.name, path.parent.name):
        in_name = _FILTER_IN_NAME.findall(part)
        if in_name:
            return in_name[-1].upper(), False
    return ascii_name(stem(path)).upper(), False


def _narrowest(filters: Sequence[str]) -> list[str]:
    """Of HST's and JWST's filters the narrowest: several in sums of images (F606W F814W)."""
    width = {word: "NMXWL".find(word.rstrip("2P")[-1]) for word in filters}
    return [word for word in width if width[word] == min(width.values())]


def _words(value: Any) -> list[str]:
    """The words of a card, in capitals, without clear glass; joined by a hyphen is one word."""
    if value is None or isinstance(value, bool):
        return []
    text = ascii_name(str(value)).strip().upper()
    if _CLEAR.fullmatch(text):
        return []
    words = [word.strip(" ,;") for word in re.split(r"[\s;,/|]+|\+(?=\w)", text)]
    words = [re.sub(r"^(CLEAR|EMPTY)\w*-|-(CLEAR|EMPTY)\w*$", "", word) for word in words]
    pieces = []
    for word in words:  # a filter of HST or JWST counts wherever a hyphen joins it
        inside = [part for part in word.split("-") if _FILTER.fullmatch(part)]
        pieces += inside or [word]
    return [word for word in pieces if word and not _CLEAR.fullmatch(word)]


def plane_names(header: Mapping[str, Any], count: int, what: str) -> list[tuple[str, bool]]:
    """Names of a cube's planes, and whether the header gives them: BANDS, or BAND0, BAND1, ….

    Numbers begin at 0 where there is a BAND0, else at 1. So do FILTER1, FILTER2, … and a list in
    FILTER or FILTERS, where they name every plane: else they are the wheels' of one camera. Planes
    without a name are ``BAND1``, ….

    Raises:
        ImgturboError: there are names for some planes and not for others, or two sets disagree.
    """
    found = [names for names in (_listed(header, count), _numbered(header, count)) if names]
    found = found or _filters_of_planes(header, count)
    if not found:
        return [(f"BAND{i + 1}", False) for i in range(count)]
    for names in found:
        if len(names) != count or "" in names or names != found[0]:
            said = "; ".join(", ".join(name or "(none)" for name in one) for one in found)
            raise ImgturboError(
                f"{what}: a cube of {count} planes, and its cards BANDS and BAND0, BAND1, … (or "
                f"FILTER1, …) name {said}; give each plane one name, or delete these cards"
            )
    return [(name, True) for name in found[0]]


def _listed(header: Mapping[str, Any], count: int) -> list[str]:
    text = ascii_name(str(header.get("BANDS", ""))).strip().upper()
    words = [word for word in re.split(r"[\s;,/|]+", text) if word]
    return list(text) if len(words) == 1 and len(text) == count else words


def _numbered(header: Mapping[str, Any], count: int, word: str = "BAND") -> list[str]:
    first = 0 if f"{word}0" in header else 1
    names = [header.get(f"{word}{i}") for i in range(first, first + count + 1)]
    if all(name is None for name in names):
        return []
    texts = ["" if name is None else ascii_name(str(name)).strip().upper() for name in names]
    return texts if texts[-1] else texts[:-1]


def _filters_of_planes(header: Mapping[str, Any], count: int) -> list[list[str]]:
    """What the cards of filters say of a cube's planes, where they say it of each."""
    found = []
    for word in ("FILTER", "FILTERS"):
        text = ascii_name(str(header.get(word, ""))).strip().upper()
        names = [name.strip() for name in re.split(r"[;,/|]", text)]
        if len(names) == 1 and all(map(is_filter, text.split())):
            names = text.split()
        found.append(names)
    found.append(_numbered(header, count, "FILTER"))
    return [
        names
        for names in found
        if len(names) == count and not any(not n or _CLEAR.fullmatch(n) for n in names)
    ]


def distinct(names: Sequence[str]) -> list[str]:
    """The same names, those that came before with a number: two epochs of one filter."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result


def stem(path: Path) -> str:
    """The file's name without ``.fits``, ``.gz`` and their like."""
    name = path.name
    packed = (".gz", ".fz", ".bz2", ".xz", ".zip", *FITS_SUFFIXES)
    while Path(name).suffix.lower() in packed:
        name = Path(name).stem
    return Path(name).stem if Path(name).suffix.lower() in PICTURE_SUFFIXES else name
