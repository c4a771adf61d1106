"""What bands are called: by the header's filter keywords, else by the file's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["PICTURE_SUFFIXES", "band_name", "stem"]

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

_FILTER = re.compile(r"F\d{3,4}(?:W2|W|M|N|LP|X)", re.IGNORECASE)
_FILTER_IN_NAME = re.compile(rf"(?<![A-Za-z0-9])({_FILTER.pattern})", re.IGNORECASE)


def band_name(header: Mapping[str, Any], path: Path | None) -> str:
    """Name of the band, in capitals: FILTER (FILTER1, FILTER2, PUPIL), else the file's name.

    Wheels hold clear glass (``CLEAR1L``) and, on JWST, a narrow filter in the pupil wheel behind a
    wide one: of several, the narrowest names the band.
    """
    words: list[str] = []
    for keyword in ("FILTER", "FILTER1", "FILTER2", "PUPIL"):
        for word in re.split(r"[\s;,+/|-]+", str(header.get(keyword, "")).strip().upper()):
            clear = word.startswith(("CLEAR", "N/A", "NONE", "UNKNOWN", "GDHS")) or word in "NA"
            if word and not clear and (keyword != "PUPIL" or _FILTER.fullmatch(word)):
                words.append(word)
    filters = [word for word in words if _FILTER.fullmatch(word)]
    if filters:
        return min(filters, key=lambda word: "NMXWL".find(word.rstrip("2P")[-1]))
    if words:
        return words[0]
    if path is None:
        return "BAND"
    named = _FILTER_IN_NAME.findall(path.name)
    return named[-1].upper() if named else stem(path).upper()


def stem(path: Path) -> str:
    """The file's name without ``.fits``, ``.gz`` and their like."""
    name = path.name
    while Path(name).suffix.lower() in (".gz", ".fz", ".fits", ".fit", ".fts"):
        name = Path(name).stem
    return Path(name).stem if Path(name).suffix.lower() in PICTURE_SUFFIXES else name
