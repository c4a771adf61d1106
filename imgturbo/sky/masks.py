"""What a file says was not measured: one table of the archives' conventions.

An image comes with companions, which say of each of its pixels

    weight   w: exposure, inverse variance, coverage       not measured where w ≤ 0 or NaN
    noise    σ or σ²                                       where it is NaN, negative or endless
    flags    one bit a defect                              where a bit is set that means "no data"

They lie in the same file, under the names below, or beside it: ``X_wht.fits`` (``_weight``,
``_rms``, …) of ``X_drz.fits``, ``X_sci.fits`` or ``X.fits``, ``X-invvar-r.fits`` of
``X-image-r.fits``. Which bits mean "no data" differs: all of HST, DES, CCDData; DO_NOT_USE alone of
JWST and Roman, whose DQ has 32 bits; of LSST those that the cards MP_NO_DATA, MP_BAD and MP_SAT
number. Sources: HST and JWST data handbooks (DQ arrays), DES DR2 (SCI, MSK, WGT), the LSST
pipelines' ``afw.image.Mask``, ``astropy.nddata.CCDData``, SExtractor's manual (weight maps), Legacy
Surveys (``invvar``), Pan-STARRS (``wt``), the MUSE pipeline (STAT).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.remote import Remote
from imgturbo.sky.hdus import Hdu, Plane

__all__ = ["Kind", "Mask", "convention", "files_beside", "flag_bits", "mask_of", "pair"]

Kind = Literal["weight", "noise", "flags", "other"]

_NAMES: dict[Kind, str] = {
    "weight": r"(WHT|WGT|WEIGHTS?|I_?VAR|INV_?VAR|INV(ERSE)?_?VARIANCE|COV(ERAGE)?|N?HITS)(_?MAP)?"
    r"|EXP(OSURE)?(_?TIME)?(_?MAP)?|NEXP|VALID|GOOD_?PIX(ELS?)?",
    "noise": r"(RMS|VARIANCE|VAR|SIGMA|ERR(OR)?|UNC(ERT(AINTY)?)?|NOISE|STD_?DEV)(_?MAP)?|STAT",
    "flags": r"(DQ|DQM|MASK|MSK|FLAGS?|FLG|BPM)(_?MAP)?|BAD_?PIX(ELS?)?(_?MA(SK|P))?|BAD_?MASK"
    r"|(DATA_?)?QUALITY",
    "other": r"CON|CTX|CONTEXT|PSF.*|STD|VAR_.*|BKG|BACKGROUND|SKY|SEG(M|MAP|MENTATION)?|Q\d\d|"
    r"DRAW.*|WMAP|AREA|WAVELENGTH",
}
_BESIDE: dict[Kind, Sequence[str]] = {
    "weight": (
        "wht",
        "weight",
        "wgt",
        "weights",
        "wt",
        "wei",
        "weightmap",
        "weight_map",
        "wht_map",
        "ivar",
        "invvar",
        "exp",
        "expmap",
        "exposure",
        "cov",
        "coverage",
    ),
    "noise": ("rms", "err", "error", "unc", "var", "variance", "sig", "sigma", "noise"),
    "flags": (),  # beside an image a 1 may mean good as well as bad
    "other": ("mask", "msk", "flag", "flags", "dq", "bpm", "badpix"),
}
_ASKED = ("_wht", "_weight", ".weight", "_rms", "_err")
"""Beside a file on a web server, of which every name that is tried is a request."""

_SCIENCE = re.compile(r"[_.-](sci|drz|drc|image|img|i2d)$", re.IGNORECASE)
_SCIENCE_WITHIN = re.compile(r"[_.-](sci|image|img)(?=[_.-])", re.IGNORECASE)
_SUFFIX = re.compile(r"\.(fits|fit|fts)(\.(gz|fz|bz2|xz))?$", re.IGNORECASE)

_ZERO_IS_NONE = re.compile(r"RMS|VARIANCE|VAR|SIGMA")  # a map's; an error bar of 0 may be Poisson's
_ENDLESS = 1e18
_ENDLESS_RMS = 1e9

_MADE_BY = ("TELESCOP", "INSTRUME")
_ALL = -1
_BITS = 63
_DO_NOT_USE = 1
_NO_DATA_PLANES = ("NO_DATA", "BAD", "SAT", "UNMASKEDNAN")
_DO_NOT_USE_ALONE = ("JWST", "ROMAN", "NIRCAM", "MIRI", "NIRISS", "NIRSPEC", "WFI")


@dataclass(frozen=True)
class Mask:
    """One companion of a band: where it is and how it is read.

    Attributes:
        name: what it is called in the file, or its file's name.
        kind: what its values mean.
        hdu: that holds it; None: the first band of ``file``.
        plane: index of the plane within the HDU's array.
        bits: of flags, those that mean "no data".
        zero: of noise, whether 0 means "no data".
        file: another file, opened.
    """

    name: str
    kind: Kind
    hdu: Hdu | None = None
    plane: Plane = (slice(None), slice(None))
    bits: int = _ALL
    zero: bool = False
    file: Any = None

    def bad(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Where nothing was measured, by the companion's values."""
        if self.kind == "flags":
            return (np.nan_to_num(values).astype(np.int64) & self.bits) != 0
        if self.kind == "weight":
            return ~(values > 0)
        endless = _ENDLESS_RMS if self.name.upper().startswith(("RMS", "SIGMA")) else _ENDLESS
        with np.errstate(invalid="ignore"):
            good = (values < endless) & ((values > 0) if self.zero else (values >= 0))
        return ~good


def convention(name: str) -> Kind | None:
    """What an extension of that name is to the image; None: an image itself, for all one knows."""
    word = name.strip().upper().replace(" ", "_")
    return next((kind for kind, names in _NAMES.items() if re.fullmatch(names, word)), None)


def mask_of(hdu: Hdu, plane: Plane, science: Mapping[str, Any], lost: Collection[str] = ()) -> Mask:
    """The mask that an HDU is, by its name and its header.

    Args:
        hdu, plane: where its values are.
        science: header of the image that it belongs to, with the primary header's cards.
        lost: keywords of that image's cards whose values nobody can read.

    Raises:
        ImgturboError: what its flags mean cannot be told.
    """
    name = hdu.name
    kind = convention(name) or "other"
    if str(hdu.header.get("UTYPE", "")).strip().lower() == "inversevariance":
        kind = "weight"
    unread = [card for card in _MADE_BY if card in (*lost, *hdu.lost) and name == "DQ"]
    if unread and not any(card.startswith("MP_") for card in hdu.header):
        raise ImgturboError(
            f"{hdu.where}: {', '.join(unread)} has no value that FITS knows, and without it nobody "
            "knows what the flags mean; correct the header"
        )
    bits = flag_bits(hdu.header, science, hdu.where) if kind == "flags" else _ALL
    zero = bool(_ZERO_IS_NONE.fullmatch(name))
    return Mask(name, kind, hdu, plane, bits, zero)


def flag_bits(
    header: Mapping[str, Any], science: Mapping[str, Any], where: str = "the flags"
) -> int:
    """The bits of a plane of flags that mean "no data".

    Args:
        header: of the flags.
        science: of the image that they belong to, with the primary header's cards.
        where: what to call it in a message.

    Raises:
        ImgturboError: its cards name bits that are none.
    """
    planes = {key[3:]: header[key] for key in header if key.startswith("MP_")}
    if planes:
        named = [planes[name] for name in _NO_DATA_PLANES if name in planes]
        if not all(isinstance(bit, int) and 0 <= bit < _BITS for bit in named):
            raise ImgturboError(
                f"{where}: the cards MP_… must number bits from 0 to {_BITS - 1}; correct them"
            )
        return sum(1 << bit for bit in set(named))
    if str(header.get("EXTNAME", "")).strip().upper() != "DQ":
        return _ALL
    made_by = [
        str(cards.get(card, "")).strip().upper() for cards in (science, header) for card in _MADE_BY
    ]
    if any(name in _DO_NOT_USE_ALONE for name in made_by):
        return _DO_NOT_USE
    known = any(name for name in made_by)
    wide = abs(header.get("BITPIX", 16)) >= 32  # of HST they have 16
    calibrated = any(card in science for card in ("PHOTMJSR", "PIXAR_SR", "CAL_VER", "CRDS_CTX"))
    return _DO_NOT_USE if not known and (wide or calibrated) else _ALL


def pair(
    science: Sequence[Hdu], companions: Sequence[Hdu], order: Sequence[Hdu]
) -> list[Hdu | None]:
    """The companion of each image, or None: by EXTVER where it tells them apart, else by order.

    Args:
        science: HDUs of the images.
        companions: HDUs of one name.
        order: all HDUs of the file.
    """
    if not companions:
        return [None] * len(science)
    versions = [hdu.ver for hdu in science]
    theirs = [hdu.ver for hdu in companions]
    if len(set(versions)) == len(versions) and len(set(theirs)) == len(theirs):
        if len(science) == len(companions) == 1:
            return [companions[0]]
        if set(versions) & set(theirs) or len(companions) != len(science):
            return [companions[theirs.index(v)] if v in theirs else None for v in versions]
    if len(companions) == len(science):
        return list(companions)
    places = {id(hdu): i for i, hdu in enumerate(order)}
    starts = [places[id(hdu)] for hdu in science]
    found: list[Hdu | None] = []
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        between = [hdu for hdu in companions if start < places[id(hdu)] < end]
        found.append(between[0] if between else None)
    return found


def files_beside(path: Path) -> Iterator[tuple[Kind, Path]]:
    """Companions of an image that lie beside it, one a kind: (kind, file).

    At an address too, where the server lists what is there, as buckets do; of a web server, which
    does not, a few names are asked for (:data:`_ASKED`), all at once.
    """
    suffix = _SUFFIX.search(path.name)
    if suffix is None:
        return
    whole = path.name[: suffix.start()]
    parts = [(_SCIENCE.sub("", whole), ""), (whole, "")]
    parts += [(whole[: m.start()], whole[m.end() :]) for m in _SCIENCE_WITHIN.finditer(whole)]
    parts = list(dict.fromkeys(parts))
    there = _present(path, parts, suffix[0])
    suffixes = dict.fromkeys((suffix[0], ".fits", ".fits.gz", ".fits.fz"))
    for kind, marks in _BESIDE.items():
        names = (
            f"{front}{joint}{word}{back}{end}"
            for front, back in parts
            for joint in "_.-"
            for mark in marks
            for word in (mark, mark.upper())
            for end in suffixes
        )
        twin = next((name for name in names if name != path.name and there(name)), None)
        if twin is not None:
            yield kind, path.with_name(twin)


def _present(path: Path, parts: Sequence[tuple[str, str]], end: str) -> Callable[[str], bool]:
    """Whether a name is there beside a file; of each name what is before a mark and behind it."""
    if not isinstance(path, Remote):
        folder = path.parent
        return lambda name: os.path.isfile(os.path.join(folder, name))  # of some hundred names
    listed = path.siblings(min((front for front, _ in parts), key=len))
    if listed is None:
        asked = [f"{front}{mark}{back}{end}" for front, back in parts for mark in _ASKED]
        with ThreadPoolExecutor(len(asked)) as pool:
            found = pool.map(lambda name: path.with_name(name).is_file(), asked)
            listed = {name for name, there in zip(asked, found, strict=True) if there}
    return listed.__contains__
