"""One FITS file as bands that are read by windows.

Which HDUs are images is decided by EXTNAME, never by position:

- ``SCI`` (one an EXTVER) are the bands;
- without SCI, the primary array or else the first image HDU that is no companion of another; a cube
  is as many bands as it has planes along its two celestial axes (without such, its last two).

What was not measured, the companions say (:mod:`imgturbo.sky.masks`), in the file or beside it.

Pixels come through ``.section``: memory is a window's, whatever the mosaic's size. Integers are
scaled here (BSCALE, BZERO) and become NaN where they equal BLANK. A file shorter than its headers
promise is refused, since missing pixels would otherwise read as zeros. A card that is no FITS
(``PHOTFLAM = NaN``) counts as missing, with a word to the user.
"""

from __future__ import annotations

import math
import os
import threading
import warnings
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.sky.bands import named_band, plane_names
from imgturbo.sky.cards import drop_unreadable, inherit, settle
from imgturbo.sky.headers import (
    celestial_axes,
    celestial_wcs,
    pixel_area,
    quiet,
    same_grid,
)
from imgturbo.sky.masks import Kind, Mask, convention, files_beside, flag_bits, mask_of, pair
from imgturbo.sky.packed import open_unpacked
from imgturbo.sky.photometry import FluxScale

__all__ = ["FitsBand", "FitsFile"]

_BLOCK_BYTES = 1 << 22
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zlib.error)


Plane = tuple[int | slice, ...]


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
    hdu: Any
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
        self._stream = open_unpacked(self.path)
        self._beside: list[tuple[Kind, FitsFile]] | None = None
        self._spare: list[Any] = []
        try:
            with quiet():
                self._hdus = fits.open(
                    self._stream, memmap=False, do_not_scale_image_data=True, lazy_load_hdus=False
                )
                self._hdus.readall()
                cards = [card for hdu in self._hdus for card in drop_unreadable(hdu.header)]
        except _UNREADABLE as reason:
            self._stream.close()
            raise ImgturboError(
                f"{self.path}: is not a FITS file, or is damaged ({_first_line(reason)}); give a "
                "FITS file, or a picture (.png, .jpg, .tif)"
            ) from reason
        if cards and not self.companion:
            warnings.warn(
                f"{self.path}: {', '.join(dict.fromkeys(cards))}: no value that FITS knows; "
                "taken as missing, correct the header",
                stacklevel=2,
            )
        try:
            _check_whole(self.path, self._stream, self._hdus)
            if not self.companion:
                for hdu in self._hdus:
                    if hdu.is_image:
                        settle(hdu.header, str(self.path))
            with quiet():
                self.bands = self._find_bands()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._hdus.close()
        self._stream.close()
        for _, file in self._beside or ():
            file.close()

    def read(self, band: int, rows: slice, cols: slice) -> NDArray[np.float32]:
        """A window of a band: float32, native byte order; NaN where masked or not finite."""
        what = self.bands[band]
        try:
            with self._lock, quiet():
                data = _physical(what.hdu, what.plane, rows, cols)
                inside = [mask for mask in what.masks if mask.hdu is not None]
                bad = [m.bad(_physical(m.hdu, m.plane, rows, cols, np.float64)) for m in inside]
        except _UNREADABLE as reason:
            raise ImgturboError(
                f"{self.path}: band {what.name} cannot be read ({_first_line(reason)}); "
                "is the file whole?"
            ) from reason
        data[~np.isfinite(data)] = np.nan
        bad += [m.bad(m.file.read(0, rows, cols)) for m in what.masks if m.file is not None]
        for where in bad:
            data[where] = np.nan
        return data

    # ---------------------------------------------------------------------------- the bands

    def _find_bands(self) -> list[FitsBand]:
        images = [hdu for hdu in self._hdus if hdu.is_image and len(_shape(hdu)) >= 2]
        images = [hdu for hdu in images if 0 not in _shape(hdu)]
        science = [hdu for hdu in images if _name(hdu) == "SCI"]
        if not science:
            free = [hdu for hdu in images if self.companion or convention(_name(hdu)) is None]
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

    def _twins(self, science: list[Any], images: list[Any]) -> list[list[Any]]:
        """For each name of a companion that the file has, those of all its images."""
        names = dict.fromkeys(_name(hdu) for hdu in images)
        return [
            pair(science, [hdu for hdu in images if _name(hdu) == name], images)
            for name in names
            if convention(name) in ("weight", "noise", "flags")
        ]

    def _bands_of(self, hdu: Any, twins: list[Any]) -> list[FitsBand]:
        planes, size = _planes(hdu)
        primary = self._hdus[0].header
        header = inherit(hdu.header, primary)
        wcs = self._coordinates(_with_frame(hdu.header, primary))
        scale = FluxScale.of_header(header, pixel_area(wcs, size), self.unit, str(self.path))
        names = [named_band(header, self.path)]
        if len(planes) > 1:
            names = plane_names(header, len(planes), str(self.path))
        masks = [self._masks(hdu, plane, size, header, twins) for plane in planes]
        return [
            FitsBand(name, size, wcs, scale, header, hdu, plane, named, tuple(mask))
            for (name, named), plane, mask in zip(names, planes, masks, strict=True)
        ]

    def _masks(
        self,
        hdu: Any,
        plane: Plane,
        size: tuple[int, int],
        header: fits.Header,
        twins: list[Any],
    ) -> list[Mask]:
        """What masks a plane: weights and flags of the file, noise where no weight is, files."""
        found: list[Mask] = []
        for twin in twins:
            if twin is None:
                continue
            where = plane if _shape(twin) == _shape(hdu) else _flat(twin, size)
            if where is not None:
                found.append(mask_of(twin, where, header))
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
        for top in range(0, size[0], step):
            rows = slice(top, min(top + step, size[0]))
            try:
                values = _physical(mask.hdu, mask.plane, rows, slice(None), np.float64)
            except _UNREADABLE:
                return False
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
                    self._beside.append((kind, FitsFile(path, companion=True)))
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
            name, kind = _name(hdu) or "unnamed", convention(_name(hdu))
            self.unused.append(name)
            if kind == "weight" or (kind == "flags" and flag_bits(hdu.header, {})):
                self.notes.append(
                    f"{name} is not used as a mask: it is not of the image's size, or there are "
                    "more of its name than images"
                )
            elif kind is None and _shape(hdu)[-2:] == size:
                self.notes.append(f"{name} is not read: bands are the SCI images, or the first")
        self.unused = list(dict.fromkeys(self.unused))

    def _coordinates(self, header: fits.Header) -> WCS | None:
        """The header's WCS; a word to the user where it speaks of coordinates that are no sky's."""
        wcs = celestial_wcs(header, str(self.path))
        axes = [f"CTYPE{i} = '{header[f'CTYPE{i}']}'" for i in (1, 2) if header.get(f"CTYPE{i}")]
        if wcs is None and axes:
            warnings.warn(
                f"{self.path}: {', '.join(axes)} are no pair of coordinates of the sky; the image "
                "is taken to have none",
                stacklevel=2,
            )
        return wcs


def _one_grid(a: FitsBand, b: FitsBand) -> bool:
    if a.shape != b.shape:
        return False
    return a.wcs is None or b.wcs is None or same_grid(a.wcs, b.wcs, a.shape)


def _with_frame(header: fits.Header, primary: fits.Header) -> fits.Header:
    """The extension's header; the primary's frame of reference where the extension names none."""
    if any(keyword in header for keyword in ("RADESYS", "RADECSYS", "EQUINOX")):
        return header
    named = header.copy()
    for keyword in ("RADESYS", "RADECSYS", "EQUINOX"):
        if keyword in primary:
            named[keyword] = primary[keyword]
    return named


def _name(hdu: Any) -> str:
    return str(hdu.name).strip().upper()


def _shape(hdu: Any) -> tuple[int, ...]:
    return tuple(hdu.shape or ())


def _planes(hdu: Any) -> tuple[list[Plane], tuple[int, int]]:
    """The planes of an HDU's array that are images, and their shape (H, W).

    An image lies along the two celestial axes, wherever a cube has them; else along the last two.
    """
    shape = _shape(hdu)
    first, second = celestial_axes(hdu.header) or (1, 2)
    if second > len(shape):
        first, second = 1, 2
    rows, cols = len(shape) - second, len(shape) - first
    others = [1 if axis in (rows, cols) else length for axis, length in enumerate(shape)]
    planes: list[Plane] = [
        tuple(slice(None) if axis in (rows, cols) else i for axis, i in enumerate(index))
        for index in np.ndindex(*others)
    ]
    return planes, (shape[rows], shape[cols])


def _flat(hdu: Any, size: tuple[int, int]) -> Plane | None:
    """The only plane of a companion, if it is as large as the image."""
    shape = _shape(hdu)
    if shape[-2:] != size or math.prod(shape[:-2]) != 1:
        return None
    return (*(0 for _ in shape[:-2]), slice(None), slice(None))


# ------------------------------------------------------------------------------- the bytes


def _check_whole(path: Path, stream: BinaryIO, hdus: fits.HDUList) -> None:
    """Compare the file's length with what the headers promise (the last padding may lack)."""
    length = os.fstat(stream.fileno()).st_size
    end = 0
    for hdu in hdus:
        info = hdu.fileinfo()
        used = _used_bytes(hdu)
        if info["datLoc"] + used > length:
            raise ImgturboError(
                f"{path}: is truncated: HDU {hdu.name or 'unnamed'} should end at byte "
                f"{info['datLoc'] + used} but the file has {length}; fetch it again"
            )
        end = info["datLoc"] + info["datSpan"]
    stream.seek(end)
    if stream.read(8) == b"XTENSION":  # a header that astropy could not finish reading
        raise ImgturboError(f"{path}: is truncated within a header; fetch it again")


def _used_bytes(hdu: Any) -> int:
    """Bytes of data without padding, of an image as it lies in the file or of a table."""
    header = getattr(hdu, "_bintable", hdu)
    header = (header if header is not None else hdu).header
    axes = [int(header.get(f"NAXIS{i + 1}", 0)) for i in range(int(header.get("NAXIS", 0)))]
    if not axes:
        return 0
    groups, extra = int(header.get("GCOUNT", 1)), int(header.get("PCOUNT", 0))
    return abs(int(header["BITPIX"])) // 8 * groups * (extra + int(np.prod(axes)))


def _physical(
    hdu: Any, plane: Plane, rows: slice, cols: slice, kind: Any = np.float32
) -> NDArray[Any]:
    """A window with BSCALE, BZERO and BLANK applied.

    Whole rows are read, a bounded block at a time, and cut: contiguous reads are ten times faster
    than one seek a row.
    """
    shape = _shape(hdu)
    along = next(axis for axis, index in enumerate(plane) if isinstance(index, slice))
    lead, inner = plane[:along], plane[along + 1 :]  # what comes after the rows is read whole
    height, width = (n for n, index in zip(shape, plane, strict=True) if isinstance(index, slice))
    top, bottom, _ = rows.indices(height)
    left, right, _ = cols.indices(width)
    header = hdu.header
    scale, zero = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0))
    blank = header.get("BLANK")
    out = np.empty((max(0, bottom - top), max(0, right - left)), kind)
    step = max(1, _BLOCK_BYTES // (8 * math.prod(shape[along + 1 :])))
    for first in range(top, bottom, step):
        last = min(first + step, bottom)
        block = hdu.section[(*lead, slice(first, last), *(slice(None) for _ in inner))]
        raw = np.asarray(block)[(slice(None), *inner)][:, left:right]
        values = raw if scale == 1 and zero == 0 else raw.astype(np.float64) * scale + zero
        part = out[first - top : last - top]
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32: inf, then masked
            part[...] = values
        if blank is not None and raw.dtype.kind in "iu":
            part[raw == blank] = np.nan
    return out


def _first_line(reason: BaseException) -> str:
    """The first sentence; those that follow in Astropy speak to its callers."""
    line = (str(reason).strip().splitlines() or [type(reason).__name__])[0]
    return line.partition(". ")[0]
