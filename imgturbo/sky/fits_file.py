"""One FITS file as bands that are read by windows.

Which HDUs are images is decided by EXTNAME, never by position:

- ``SCI`` (one an EXTVER) are the bands; of the same EXTVER, ``WHT`` ≤ 0 and ``DQ`` flags are masks,
  all else (ERR, CON, CTX, VAR_…, PSF) is not an image of the sky;
- without SCI, the primary array or else the first image HDU that is not such a companion; a cube
  is as many bands as it has planes along its two celestial axes (without such, its last two).

Pixels come through ``.section``: memory is a window's, whatever the mosaic's size. Integers are
scaled here (BSCALE, BZERO) and become NaN where they equal BLANK. Gzip cannot be read at random:
such a file is unpacked once, to a temporary file. A file shorter than its headers promise is
refused, since missing pixels would otherwise read as zeros.
"""

from __future__ import annotations

import gzip
import math
import os
import shutil
import tempfile
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
from imgturbo.sky.bands import band_name
from imgturbo.sky.headers import (
    celestial_axes,
    celestial_wcs,
    inherit,
    pixel_area,
    quiet,
    same_grid,
)
from imgturbo.sky.photometry import FluxScale

__all__ = ["FitsBand", "FitsFile"]

_COMPANIONS = ("ERR", "WHT", "DQ", "CON", "CTX", "PSF", "RMS", "WEIGHT", "MASK", "EXP", "STD")
_BLOCK_BYTES = 1 << 22
_DO_NOT_USE = 1  # JWST: the one flag that means "no data"; others are remarks
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zlib.error)


Plane = tuple[int | slice, ...]
_WHOLE: Plane = (slice(None), slice(None))


@dataclass(frozen=True)
class FitsBand:
    """A band: which plane of which HDU, on which grid, on which flux scale, under which masks.

    ``plane`` is a Python index of the HDU's array: a number for every axis of a cube that is not
    the image's, a slice for its rows and another for its columns.
    """

    name: str
    shape: tuple[int, int]
    wcs: WCS | None
    scale: FluxScale
    header: fits.Header
    hdu: Any
    plane: Plane
    weight: Any = None
    quality: Any = None


@dataclass
class FitsFile:
    """An open FITS file; ``bands`` in the file's order. Close it, or use it as a context.

    ``unit`` is taken where a header has no BUNIT.

    Raises:
        ImgturboError: not FITS, shorter than its headers say, or without an image.
    """

    path: Path
    unit: str = ""
    bands: list[FitsBand] = field(init=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()  # one file position for all threads
        self._stream = _open_stream(self.path)
        self._weights: FitsFile | None = None
        try:
            with quiet():
                self._hdus = fits.open(
                    self._stream, memmap=False, do_not_scale_image_data=True, lazy_load_hdus=False
                )
                self._hdus.readall()
        except _UNREADABLE as reason:
            self._stream.close()
            raise ImgturboError(
                f"{self.path}: is not a FITS file, or is damaged ({_first_line(reason)}); give a "
                "FITS file, or a picture (.png, .jpg, .tif)"
            ) from reason
        try:
            _check_whole(self.path, self._stream, self._hdus)
            with quiet():
                self.bands = self._find_bands()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._hdus.close()
        self._stream.close()
        if self._weights is not None:
            self._weights.close()

    def read(self, band: int, rows: slice, cols: slice) -> NDArray[np.float32]:
        """A window of a band: float32, native byte order; NaN where masked or not finite."""
        what = self.bands[band]
        try:
            with self._lock, quiet():
                data = _physical(what.hdu, what.plane, rows, cols)
                weight = quality = None
                if what.weight is not None:
                    weight = _physical(what.weight, _WHOLE, rows, cols)
                if what.quality is not None:
                    quality = _physical(what.quality, _WHOLE, rows, cols, np.float64)
        except _UNREADABLE as reason:
            raise ImgturboError(
                f"{self.path}: band {what.name} cannot be read ({_first_line(reason)}); "
                "is the file whole?"
            ) from reason
        data[~np.isfinite(data)] = np.nan
        if weight is None and self._weights is not None:
            weight = self._weights.read(0, rows, cols)
        if weight is not None:
            data[~(weight > 0)] = np.nan
        if quality is not None:
            flags = np.nan_to_num(quality).astype(np.int64)
            if str(what.header.get("TELESCOP", "")).strip().upper() == "JWST":
                flags &= _DO_NOT_USE
            data[flags != 0] = np.nan
        return data

    # ---------------------------------------------------------------------------- the bands

    def _find_bands(self) -> list[FitsBand]:
        images = [hdu for hdu in self._hdus if hdu.is_image and len(_shape(hdu)) >= 2]
        images = [hdu for hdu in images if 0 not in _shape(hdu)]
        science = [hdu for hdu in images if _name(hdu) == "SCI"]
        if not science:
            science = [
                hdu
                for hdu in images
                if _name(hdu) not in _COMPANIONS and not _name(hdu).startswith("VAR_")
            ][:1]
        if not science:
            there = ", ".join(hdu.name or "unnamed" for hdu in self._hdus)
            raise ImgturboError(
                f"{self.path}: has no image of the sky among its HDUs ({there}); give a file with "
                "a SCI extension, or an image in the primary HDU"
            )
        bands = [band for hdu in science for band in self._bands_of(hdu, images)]
        for other in bands[1:]:
            if not _one_grid(bands[0], other):
                raise ImgturboError(
                    f"{self.path}: SCI images {bands[0].name} {bands[0].shape} and {other.name} "
                    f"{other.shape} lie on different grids; give a drizzled or resampled file"
                )
        return bands

    def _bands_of(self, hdu: Any, images: list[Any]) -> list[FitsBand]:
        planes, size = _planes(hdu)
        primary = self._hdus[0].header
        header = inherit(hdu.header, primary)
        wcs = self._coordinates(_with_frame(hdu.header, primary))
        scale = FluxScale.of_header(header, pixel_area(wcs, size), self.unit, str(self.path))
        masks = {}
        if _name(hdu) == "SCI":
            for kind in ("WHT", "DQ"):
                twins = [h for h in images if _name(h) == kind and h.ver == hdu.ver]
                masks[kind] = twins[0] if twins and _shape(twins[0]) == size else None
        weight = masks.get("WHT")
        if weight is None and self._weights is None:
            self._weights = _weight_file(self.path, size)
        names = [band_name(header, self.path)]
        if len(planes) > 1:
            names = [str(header.get(f"BAND{i + 1}", f"BAND{i + 1}")) for i in range(len(planes))]
        return [
            FitsBand(name, size, wcs, scale, header, hdu, plane, weight, masks.get("DQ"))
            for name, plane in zip(names, planes, strict=True)
        ]

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


def _weight_file(path: Path, shape: tuple[int, ...]) -> FitsFile | None:
    """grizli keeps ``…_sci.fits`` and ``…_wht.fits`` apart: the second masks the first."""
    base, mark, tail = path.name.rpartition("_sci.fits")
    if not mark or tail not in ("", ".gz"):
        return None
    for twin in (f"{base}_wht.fits", f"{base}_wht.fits.gz"):
        beside = path.with_name(twin)
        if beside.is_file():
            weights = FitsFile(beside)
            if weights.bands[0].shape == tuple(shape):
                return weights
            weights.close()
    return None


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


# ------------------------------------------------------------------------------- the bytes


def _open_stream(path: Path) -> BinaryIO:
    """The file, unpacked to a temporary one if it is gzipped."""
    try:
        stream: BinaryIO = path.open("rb")
    except FileNotFoundError:
        raise ImgturboError(f"{path}: no such file; check the path") from None
    except OSError as reason:
        raise ImgturboError(f"{path}: cannot be opened ({reason.strerror})") from reason
    if stream.read(2) != b"\x1f\x8b":
        stream.seek(0)
        return stream
    stream.seek(0)
    try:
        with stream, gzip.open(stream) as packed, tempfile.TemporaryFile() as unpacked:
            shutil.copyfileobj(packed, unpacked, _BLOCK_BYTES)
            unpacked.seek(0)
            return os.fdopen(os.dup(unpacked.fileno()), "rb")  # lives as long as it is open
    except EOFError:
        raise ImgturboError(f"{path}: is truncated; fetch it again") from None
    except (OSError, zlib.error) as reason:
        raise ImgturboError(f"{path}: cannot be unpacked ({_first_line(reason)})") from reason


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
