"""One FITS file as bands that are read by windows.

Which HDUs are images is decided by EXTNAME, never by position:

- ``SCI`` (one an EXTVER) are the bands;
- without SCI, the primary array or else the first image HDU that is no companion of another; a cube
  is as many bands as it has planes along its two celestial axes (without such, its last two).

What was not measured, the companions say (:mod:`imgturbo.sky.masks`), in the file or beside it.

Pixels come by windows (:mod:`imgturbo.sky.hdus`): memory is a window's, whatever the mosaic's size.
A file shorter than its headers promise is refused, since missing pixels would otherwise read as
zeros. A card that is no FITS (``PHOTFLAM = NaN``) counts as missing, with a word to the user.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.sky.bands import named_band, plane_names
from imgturbo.sky.cards import inherit
from imgturbo.sky.frames import same_grid
from imgturbo.sky.hdus import Hdu, Plane, hdus_of
from imgturbo.sky.headers import celestial_axes, of_place, quiet
from imgturbo.sky.masks import Kind, Mask, convention, files_beside, flag_bits, mask_of, pair
from imgturbo.sky.photometry import FluxScale, check_lost
from imgturbo.sky.wcs import celestial_wcs, pixel_area

__all__ = ["FitsBand", "FitsFile"]

_BLOCK_BYTES = 1 << 22
_MOST_PLANES = 100_000
_FRAME = ("RADESYS", "RADECSYS", "EQUINOX")
_OWN_PLACE = re.compile(r"C(TYPE|RVAL|RPIX|DELT)\d[A-Z]?|(CD|PC)\d_\d[A-Z]?")


@dataclass(frozen=True)
class FitsBand:
    """A band: which plane of which HDU, on which grid, on which flux scale, under which masks.

    ``plane`` is a Python index of the HDU's array: a number for every axis of a cube that is not
    the image's, a slice for its rows and another for its columns. ``named`` says whether the name
    is the header's, and not the file's or a number.
    """

    name: str
    shape: tuple[int, int]
    wcs: WCS | None
    scale: FluxScale
    header: fits.Header
    hdu: Hdu
    plane: Plane
    named: bool
    masks: tuple[Mask, ...] = ()


@dataclass
class FitsFile:
    """An open FITS file; ``bands`` in the file's order. Close it, or use it as a context.

    ``unit`` is taken where a header has no BUNIT. ``companion``: it is itself a mask or weight, so
    its first image counts, whatever it is called. ``notes`` holds what ``inspect`` should tell.

    Raises:
        ImgturboError: not FITS, shorter than its headers say, or without an image.
    """

    path: Path
    unit: str = ""
    companion: bool = False
    bands: list[FitsBand] = field(init=False)
    masked_by: list[str] = field(init=False, default_factory=list)
    unused: list[str] = field(init=False, default_factory=list)
    notes: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()  # one file position for all threads
        self._open = contextlib.ExitStack()
        self._beside: list[tuple[Kind, FitsFile]] | None = None
        self._spare: list[Hdu] = []
        self._hdus = self._open.enter_context(hdus_of(self.path, quietly=self.companion))
        try:
            with quiet():
                self.bands = self._find_bands()
            self._tell_lost()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._open.close()

    def read(self, band: int, rows: slice, cols: slice) -> NDArray[np.float32]:
        """A window of a band: float32, native byte order; NaN where masked or not finite."""
        what = self.bands[band]
        with self._lock:
            data = what.hdu.window(what.plane, rows, cols)
            bad = [
                mask.bad(mask.hdu.window(mask.plane, rows, cols, np.float64))
                for mask in what.masks
                if mask.hdu is not None
            ]
        data[~np.isfinite(data)] = np.nan
        bad += [m.bad(m.file.read(0, rows, cols)) for m in what.masks if m.file is not None]
        for where in bad:
            data[where] = np.nan
        return data

    def _tell_lost(self) -> None:
        """Say which cards count as missing, now that nothing was refused for want of them."""
        words = dict.fromkeys(word for hdu in self._hdus for word in hdu.lost)
        if words and not self.companion:
            warnings.warn(
                f"{self.path}: {', '.join(words)}: no value that FITS knows; taken as missing, "
                "correct the header",
                stacklevel=2,
            )

    # ---------------------------------------------------------------------------- the bands

    def _find_bands(self) -> list[FitsBand]:
        images = [hdu for hdu in self._hdus if len(hdu.shape) >= 2]
        science = [hdu for hdu in images if hdu.name == "SCI"]
        if not science:
            free = [hdu for hdu in images if self.companion or convention(hdu.name) is None]
            science = free[:1]
        if not science:
            there = ", ".join(hdu.name or "unnamed" for hdu in self._hdus)
            raise ImgturboError(
                f"{self.path}: has no image of the sky among its HDUs ({there}); give a file with "
                "a SCI extension, or an image in the primary HDU"
            )
        self._spare = [] if self.companion else [h for h in images if h not in science]
        twins = [] if self.companion else self._twins(science, images)
        bands = [
            band
            for i, hdu in enumerate(science)
            for band in self._bands_of(hdu, [twin[i] for twin in twins])
        ]
        self._note_spare(bands[0].shape)
        for other in bands[1:]:
            if not _one_grid(bands[0], other):
                raise ImgturboError(
                    f"{self.path}: SCI images {bands[0].name} {bands[0].shape} and {other.name} "
                    f"{other.shape} lie on different grids; give a drizzled or resampled file"
                )
        return bands

    def _twins(self, science: list[Hdu], images: list[Hdu]) -> list[list[Hdu | None]]:
        """For each name of a companion that the file has, those of all its images."""
        names = dict.fromkeys(hdu.name for hdu in images)
        return [
            pair(science, [hdu for hdu in images if hdu.name == name], images)
            for name in names
            if convention(name) in ("weight", "noise", "flags")
        ]

    def _bands_of(self, hdu: Hdu, twins: Sequence[Hdu | None]) -> list[FitsBand]:
        planes, size = _planes(hdu)
        primary = self._hdus[0].header
        header = inherit(hdu.header, primary)
        lost = {*hdu.lost, *(word for word in self._hdus[0].lost if word not in hdu.header)}
        wcs = self._coordinates(*_placed(hdu, self._hdus[0], lost))
        if not self.companion:
            check_lost(lost, header, hdu.where)
        scale = FluxScale.of_header(header, pixel_area(wcs, size), self.unit, str(self.path))
        names = [named_band(header, self.path)]
        if len(planes) > 1:
            names = plane_names(header, len(planes), str(self.path))
        masks = [self._masks(hdu, plane, size, header, lost, twins) for plane in planes]
        return [
            FitsBand(name, size, wcs, scale, header, hdu, plane, named, tuple(mask))
            for (name, named), plane, mask in zip(names, planes, masks, strict=True)
        ]

    def _masks(
        self,
        hdu: Hdu,
        plane: Plane,
        size: tuple[int, int],
        header: fits.Header,
        lost: Collection[str],
        twins: Sequence[Hdu | None],
    ) -> list[Mask]:
        """What masks a plane: weights and flags of the file, noise where no weight is, files."""
        found: list[Mask] = []
        for twin in twins:
            if twin is None:
                continue
            where = plane if twin.shape == hdu.shape else _flat(twin, size)
            if where is not None:
                found.append(mask_of(twin, where, header, lost))
        if any(mask.kind == "weight" for mask in found):
            found = [mask for mask in found if mask.kind != "noise"]
        found = [m for m in found if m.kind != "noise" or self._says_anything(m, size)]
        found = [m for m in found if m.bits]  # flags none of which means "no data"
        for mask in found:
            self._spare = [other for other in self._spare if other is not mask.hdu]
        if not self.companion and not any(m.kind in ("weight", "noise") for m in found):
            found += self._files_beside(size)
        self.masked_by += [mask.name for mask in found if mask.name not in self.masked_by]
        return found

    def _says_anything(self, mask: Mask, size: tuple[int, int]) -> bool:
        """Whether noise is a map; a plane of zeros alone is a place that was left free."""
        step = max(1, _BLOCK_BYTES // (8 * size[1]))
        middle = slice(size[0] // 2, size[0] // 2 + 1), slice(size[1] // 2, size[1] // 2 + 1)
        assert mask.hdu is not None
        if (mask.hdu.window(mask.plane, *middle, np.float64) > 0).any():
            return True
        for top in range(0, size[0], step):
            rows = slice(top, min(top + step, size[0]))
            values = mask.hdu.window(mask.plane, rows, slice(None), np.float64)
            if (values > 0).any():
                return True
        return False

    def _files_beside(self, size: tuple[int, int]) -> list[Mask]:
        """Weights or noise in files of their own, if they are of this image's size."""
        if self._beside is None:
            self._beside = []
            for kind, path in files_beside(self.path):
                if kind == "other" or (self._beside and kind == "noise"):
                    self.unused.append(path.name)
                else:
                    file = FitsFile(path, companion=True)
                    self._open.callback(file.close)
                    self._beside.append((kind, file))
        found = []
        for kind, file in self._beside:
            if file.bands[0].shape == size:
                found.append(Mask(file.path.name, kind, zero=kind == "noise", file=file))
                continue
            there, here = (" × ".join(map(str, s)) for s in (file.bands[0].shape, size))
            note = f"{file.path.name} beside it has {there} pixels, not {here}, and is not used"
            self.notes += [note] if note not in self.notes else []
        return found

    def _note_spare(self, size: tuple[int, int]) -> None:
        """Say which images of the file play no part."""
        for hdu in self._spare:
            name, kind = hdu.name or "unnamed", convention(hdu.name)
            self.unused.append(name)
            if kind == "weight" or (kind == "flags" and flag_bits(hdu.header, {})):
                self.notes.append(
                    f"{name} is not used as a mask: it is not of the image's size, or there are "
                    "more of its name than images"
                )
            elif kind is None and math.prod(hdu.shape[-2:]) >= math.prod(size):
                self.notes.append(f"{name} is not read: bands are the SCI images, or the first")
        self.unused = list(dict.fromkeys(self.unused))

    def _coordinates(self, header: fits.Header, lost: Sequence[str]) -> WCS | None:
        """The header's WCS; a word to the user where it speaks of coordinates that are no sky's."""
        wcs = celestial_wcs(header, str(self.path), lost)
        axes = [f"CTYPE{i} = '{header[f'CTYPE{i}']}'" for i in (1, 2) if header.get(f"CTYPE{i}")]
        if wcs is None and (axes or _lacks_ctype(header)):
            said = f"{', '.join(axes)} are" if axes else "CRVAL and CUNIT without CTYPE are"
            warnings.warn(
                f"{self.path}: {said} no pair of coordinates of the sky; the image is taken to "
                "have none",
                stacklevel=2,
            )
        return wcs


def _one_grid(a: FitsBand, b: FitsBand) -> bool:
    if a.shape != b.shape:
        return False
    return a.wcs is None or b.wcs is None or same_grid(a.wcs, b.wcs, a.shape)


def _lacks_ctype(header: fits.Header) -> bool:
    """Whether a header speaks of angles without saying which."""
    units = [str(header.get(f"CUNIT{i}", "")).strip().lower()[:3] for i in (1, 2)]
    return units == ["deg", "deg"] and "CRVAL1" in header and "CRVAL2" in header


def _states_frame(header: fits.Header) -> bool:
    return any(keyword in header for keyword in _FRAME)


def _placed(hdu: Hdu, primary: Hdu, lost: Collection[str]) -> tuple[fits.Header, list[str]]:
    """An image's header with what the primary's says of places, and which such cards are lost.

    All of it where the image says nothing and the primary has no pixels of its own (INHERIT), else
    the frame of reference where the image names none.
    """
    header, words = hdu.header, set(_FRAME)
    own = [word for word in (*header, *hdu.lost) if _OWN_PLACE.fullmatch(word)]
    bare = not primary.shape and header.get("INHERIT") is not False
    if not own and bare and celestial_axes(primary.header):
        words = {word for word in (*primary.header, *primary.lost) if of_place(word)}
    elif _states_frame(header):
        return header, sorted(hdu.lost)
    named = header.copy()
    for word in primary.header:
        if word in words and word not in named and not word.startswith(("NAXIS", "WCSAXES")):
            named[word] = primary.header[word]
    return named, sorted({*hdu.lost, *(words & set(lost))})


def _planes(hdu: Hdu) -> tuple[list[Plane], tuple[int, int]]:
    """The planes of an HDU's array that are images, and their shape (H, W).

    An image lies along the two celestial axes, wherever a cube has them; else along the last two.
    """
    shape = hdu.shape
    first, second = celestial_axes(hdu.header) or (1, 2)
    if second > len(shape):
        first, second = 1, 2
    rows, cols = len(shape) - second, len(shape) - first
    if math.prod(shape) > _MOST_PLANES * shape[rows] * shape[cols]:
        raise ImgturboError(
            f"{hdu.where}: is a cube of more than {_MOST_PLANES} planes; give a part of it"
        )
    others = [1 if axis in (rows, cols) else length for axis, length in enumerate(shape)]
    planes: list[Plane] = [
        tuple(slice(None) if axis in (rows, cols) else i for axis, i in enumerate(index))
        for index in np.ndindex(*others)
    ]
    return planes, (shape[rows], shape[cols])


def _flat(hdu: Hdu, size: tuple[int, int]) -> Plane | None:
    """The only plane of a companion, if it is as large as the image."""
    shape = hdu.shape
    if shape[-2:] != size or math.prod(shape[:-2]) != 1:
        return None
    return (*(0 for _ in shape[:-2]), slice(None), slice(None))
