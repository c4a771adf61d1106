"""Pictures in and out: 8- and 16-bit PNG and TIFF, JPEG, floating-point TIFF.

A picture is a display product: values 0 to 1, unit ``"display"``, no coordinates, row 0 at the top
as viewers show it (:mod:`imgturbo.sky.decode`). Fully transparent pixels were not measured. A
floating-point TIFF is a plain array and is read as it is, unit ``""``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.remote import readable
from imgturbo.sky.bands import PICTURE_SUFFIXES
from imgturbo.sky.decode import decode
from imgturbo.sky.units import DISPLAY

__all__ = [
    "Picture",
    "check_picture",
    "encode_picture",
    "is_picture",
    "read_picture",
    "resize",
    "working_shape",
]

_TIFF = (".tif", ".tiff")
_JPEG = (".jpg", ".jpeg")
_THIN = 4  # longer side over shorter, beyond which a picture is not made larger


def is_picture(path: Path) -> bool:
    """Whether the suffix is one of a picture's."""
    return readable(path).suffix.lower() in PICTURE_SUFFIXES


@dataclass(frozen=True)
class Picture:
    """A decoded picture: ``pixels`` (C, H, W), ``opaque`` (1 or C, H, W) or None."""

    pixels: NDArray[Any]
    opaque: NDArray[np.bool_] | None
    bands: tuple[str, ...]
    unit: str

    def read(self, band: int, rows: slice, cols: slice) -> NDArray[np.float32]:
        """A window of a band: float32, NaN where transparent."""
        part = self.pixels[band, rows, cols]
        data = part.astype(np.float32)
        if np.issubdtype(part.dtype, np.integer):
            data /= np.float32(np.iinfo(part.dtype).max)
        data[~np.isfinite(data)] = np.nan
        if self.opaque is not None:
            mask = self.opaque[min(band, len(self.opaque) - 1)]
            data[~mask[rows, cols]] = np.nan
        return data


def read_picture(path: Path) -> Picture:
    """Decode a picture.

    Raises:
        ImgturboError: it cannot be decoded, or is no picture of pixels (H, W[, C]).
    """
    with door(path, what="cannot be read as a picture", remedy="is the file whole?"):
        pixels, opaque = decode(path)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype.kind not in "uf" or pixels.ndim != 3 or 0 in pixels.shape:
        raise ImgturboError(
            f"{path}: holds {pixels.dtype} values of shape {pixels.shape}; "
            "a picture must have 8 or 16 bits, or floats, and 1 to 4 channels"
        )
    unit = DISPLAY if pixels.dtype.kind == "u" else ""
    names = {1: ("L",), 3: ("R", "G", "B")}
    bands = names.get(len(pixels), tuple(f"BAND{i + 1}" for i in range(len(pixels))))
    return Picture(pixels, None if opaque is None or opaque.all() else opaque, bands, unit)


def encode_picture(data: NDArray[np.float32], path: Path, unit: str) -> bytes:
    """The bytes of a picture of ``data`` (C, H, W); NaN becomes transparent where that exists.

    Display values are clipped to 0…1 here, and only here: PNG and JPEG have 8 bits, TIFF 16. A TIFF
    of another unit keeps its floats, NaN included.

    Raises:
        ImgturboError: fluxes, or a number of bands that the format cannot hold.
    """
    suffix = path.suffix.lower()
    check_picture(path, len(data), unit)
    if suffix in _TIFF and unit != DISPLAY:
        return _encode_tiff(data)
    missing = ~np.isfinite(data).all(0)
    top = 65535 if suffix in _TIFF else 255
    kind = np.uint16 if suffix in _TIFF else np.uint8
    shown = np.rint(np.clip(np.nan_to_num(data, nan=0.0), 0, 1) * top).astype(kind)
    see_through = bool(missing.any()) and suffix not in _JPEG and len(data) in (1, 3)
    if see_through:
        shown = np.concatenate([shown, np.where(missing, 0, top).astype(kind)[None]])
    if suffix in _TIFF:
        return _encode_tiff(shown, see_through)
    buffer = io.BytesIO()
    pixels = shown[0] if len(shown) == 1 else np.ascontiguousarray(np.moveaxis(shown, 0, -1))
    image = Image.fromarray(pixels)
    if suffix in _JPEG:
        image.save(buffer, "JPEG", quality=95, subsampling=0)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()


def check_picture(path: Path, channels: int, unit: str) -> None:
    """Refuse, before any work is done, what a picture cannot hold.

    Raises:
        ImgturboError: see :func:`encode_picture`.
    """
    if path.suffix.lower() in _TIFF:
        return
    if channels not in (1, 3):
        raise ImgturboError(
            f"{path}: a picture holds 1 or 3 bands, not {channels}; write .fits or .tif"
        )
    if unit not in (DISPLAY, ""):
        raise ImgturboError(
            f"{path}: a picture holds display values from 0 to 1, not {unit}; write .fits or .tif"
        )


def _encode_tiff(pixels: NDArray[Any], see_through: bool = False) -> bytes:
    buffer = io.BytesIO()
    options: dict[str, Any] = {"photometric": "minisblack"}
    if len(pixels) - see_through == 3 and pixels.dtype.kind == "u":
        options = {"photometric": "rgb"}
    if see_through:
        options["extrasamples"] = ["unassalpha"]
    if len(pixels) == 1:
        tifffile.imwrite(buffer, pixels[0], **options)
    else:
        tifffile.imwrite(buffer, np.moveaxis(pixels, 0, -1), planarconfig="contig", **options)
    return buffer.getvalue()


def resize(planes: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """(C, H, W) → (C, height, width): area means where it shrinks, bilinear where it grows.

    A pixel into which NaN enters is NaN.
    """
    import cv2  # slow to load, and not needed to look at a config

    if planes.shape[1:] == (height, width):
        return planes.astype(np.float32, copy=False)
    shrinks = height <= planes.shape[1] and width <= planes.shape[2]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    out = np.empty((len(planes), height, width), np.float32)
    for plane, resized in zip(planes, out, strict=True):
        resized[:] = cv2.resize(plane.astype(np.float32), (width, height), interpolation=how)
    return out


def working_shape(height: int, width: int, size: int | None) -> tuple[int, int]:
    """Height and width of a picture whose shorter side is brought to ``size`` (None: kept).

    A thin picture is enlarged only until its longer side is four times that: nothing is gained by
    making 1 × 90 pixels 320 × 28 800.
    """
    if size is None:
        return height, width
    factor = size / min(height, width)
    factor = min(factor, max(1.0, _THIN * size / max(height, width)))
    return max(1, round(height * factor)), max(1, round(width * factor))
