"""Pictures decoded as viewers show them: turned upright, in colours, and knowing what is missing.

- Orientation (EXIF, TIFF's tag 274) is applied: a photograph of a phone stands upright.
- Palettes, CMYK, YCbCr and "0 is white" become grey or RGB.
- Transparent is what the file says: an alpha channel (in TIFF only if ExtraSamples calls it so; a
  fourth channel may be infrared), PNG's tRNS, a palette's; GDAL_NODATA names a value.

Pillow decodes PNG and JPEG, tifffile TIFF; OpenCV 16-bit colour, where Pillow would cut to 8 bits,
and with Pillow the compressions (LZW, JPEG) for which tifffile would need another package.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from imgturbo.door import first_line
from imgturbo.errors import ImgturboError
from imgturbo.sky.claims import attentive, check_image, check_series

__all__ = ["Decoded", "decode"]

Pixels = NDArray[Any]

_ORIENTATION, _NODATA = 274, 42113
_WHITE_IS_0, _ONE_GREY_OR_RGB = 0, (0, 1, 2)
_ALPHA = (1, 2)  # ExtraSamples: premultiplied and not
_GREY_ALPHA, _PNG_HEAD = 4, 33
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_STRIP = 1 << 22  # pixels that are handed over in one go


class Decoded(NamedTuple):
    """Pixels (C, H, W) of the file's own type, and where they count: (1 or C, H, W), or None."""

    pixels: Pixels
    opaque: NDArray[np.bool_] | None


def decode(path: Path) -> Decoded:
    """Read a picture whole; of one that cannot be read the libraries raise whatever they do.

    Raises:
        ImgturboError: it needs more memory than is left.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start in _TIFF:  # whatever it is called: Pillow would read its first page alone
        return _tiff(path)
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # mosaics are large pictures
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on metadata
            with Image.open(path) as image:
                check_image(path, image)
                turn = image.getexif().get(_ORIENTATION, 1)
                found = _png16(path, image) if _depth(path, image) == 16 else _shown(path, image)
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    return _upright(found, turn)


def _upright(found: Decoded, orientation: int) -> Decoded:
    return Decoded(*(None if p is None else _turned(p, orientation) for p in found))  # type: ignore[arg-type]


def _turned(planes: Pixels, orientation: int) -> Pixels:
    """EXIF's eight ways to hold a camera; unknown numbers are the first."""
    if orientation in (5, 6, 7, 8):
        planes = planes.swapaxes(1, 2)
    if orientation in (3, 4, 7, 8):
        planes = planes[:, ::-1]
    if orientation in (2, 3, 6, 7):
        planes = planes[:, :, ::-1]
    return np.ascontiguousarray(planes)


def _planes(pixels: Pixels) -> Pixels:
    """(H, W[, C]) → (C, H, W)."""
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


# ------------------------------------------------------------------------------------- Pillow


def _of_pillow(image: Image.Image, mode: str | None = None) -> Pixels:
    """(C, H, W) in a mode, a strip at a time: Pillow would make two more copies of the whole."""
    image.load()
    width, height = image.size
    step = max(1, _STRIP // width)
    planes: Pixels | None = None
    for top in range(0, height, step):
        bottom = min(top + step, height)
        strip = image.crop((0, top, width, bottom))
        part = _planes(np.asarray(strip.convert(mode) if mode else strip))
        if planes is None:
            planes = np.empty((len(part), height, width), part.dtype)
        planes[:, top:bottom] = part
    assert planes is not None
    return planes


def _shown(path: Path, image: Image.Image) -> Decoded:
    """What Pillow reads, as grey or RGB."""
    seen, mode = image.info.get("transparency"), image.mode
    if mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
        mode = "RGBA" if seen is not None or mode == "PA" else "RGB"
        seen = None
    elif mode == "1":
        mode, seen = "L", None if seen is None else 255 * bool(seen)
    elif mode == "L" and isinstance(seen, int):
        seen = seen * 255 // (2 ** min(8, _depth(path, image)) - 1)
    pixels = _of_pillow(image, None if mode == image.mode else mode)
    if mode in ("LA", "RGBA"):
        return Decoded(pixels[:-1], pixels[-1:] > 0)
    return Decoded(pixels, _not_this(pixels, seen))


def _not_this(pixels: Pixels, colour: Any) -> NDArray[np.bool_] | None:
    """False where a pixel has the one colour that is transparent."""
    if not isinstance(colour, int | tuple):
        return None
    values = np.array([colour] if isinstance(colour, int) else colour).reshape(-1, 1, 1)
    return None if len(values) != len(pixels) else (pixels != values).any(0, keepdims=True)


def _depth(path: Path, image: Image.Image) -> int:
    """Bits of a channel of a PNG; 8 of all else."""
    if image.format != "PNG":
        return 8
    with path.open("rb") as file:
        return file.read(25)[24]  # signature 8, chunk head 8, IHDR width 4, height 4, depth 1


def _png16(path: Path, image: Image.Image) -> Decoded:
    content = path.read_bytes()
    if content[25] == _GREY_ALPHA:
        # Pixels of 2 × 16 bits are packed and filtered as those of 4 × 8 bits are, so Pillow can
        # read them as such without cutting them; OpenCV swaps the bytes of some.
        head = content[:24] + bytes([8, 6]) + content[26:29]
        head += struct.pack(">I", zlib.crc32(head[12:29]))
        with Image.open(io.BytesIO(head + content[_PNG_HEAD:])) as four:
            both = np.ascontiguousarray(np.asarray(four)).view(">u2").astype(np.uint16)
        return Decoded(_planes(both[..., :1]), _planes(both[..., 1:]) > 0)
    if image.mode.startswith("I"):
        pixels = _of_pillow(image).astype(np.uint16, copy=False)
    else:
        pixels = _opencv(_without(content, b"tRNS"))
    if len(pixels) == 4:
        return Decoded(pixels[:-1], pixels[-1:] > 0)
    return Decoded(pixels, _not_this(pixels, image.info.get("transparency")))


def _without(png: bytes, kind: bytes) -> bytes:
    """A PNG without its chunks of a kind."""
    kept, place = [png[:8]], 8
    while place + 8 <= len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        if png[place + 4 : place + 8] != kind:
            kept.append(png[place : place + 12 + length])
        place += 12 + length
    return b"".join(kept)


def _opencv(content: bytes) -> Pixels:
    import cv2  # slow to load, and of use to nothing else here

    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("it is damaged, or of a kind that OpenCV does not know")
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return _planes(pixels)


# --------------------------------------------------------------------------------------- TIFF


def _tiff(path: Path) -> Decoded:
    with attentive() as complaints, tifffile.TiffFile(path) as file:
        file.pages.__len__()  # walks them all
        if complaints:
            raise ValueError(complaints[0])
        series = next((one for one in file.series if not _beside(one.keyframe)), file.series[0])
        page = series.keyframe
        tag = page.tags.get(_ORIENTATION)
        turn = 1 if tag is None else _whole("Orientation", tag.value)
        found = _series(path, series, turn)
        mask = _mask_page(path, file, page)
        if complaints:
            raise ValueError(complaints[0])
    others = [one for one in file.series if one is not series and not _beside(one.keyframe)]
    unread = sum(len(one.pages) for one in others)
    if not _plain(page):
        unread += len(series.pages) - 1  # Pillow reads one page
    if unread:
        warnings.warn(
            f"{path}: {unread} further pages in it are not read, being unlike the first or not of "
            "plain grey or RGB; save what is wanted as one image",
            stacklevel=2,
        )
    if mask is None:
        return found
    seen = _turned(mask[None], turn)
    return Decoded(found.pixels, seen if found.opaque is None else found.opaque & seen)


def _plain(page: Any) -> bool:
    """Whether pixels are grey or RGB, of whole bytes: what tifffile gives as it is."""
    photometric = _whole("PhotometricInterpretation", page.photometric)
    return photometric in _ONE_GREY_OR_RGB and _whole("BitsPerSample", page.bitspersample) >= 8


def _beside(page: Any) -> bool:
    """Whether a page is of another: its thumbnail, or its mask."""
    return bool(page.is_reduced or page.is_mask)


def _mask_page(path: Path, file: Any, page: Any) -> NDArray[np.bool_] | None:
    """Where pixels count, by a page that is a mask (GDAL's, photometric 4); None without."""
    for one in file.series:
        mask = one.keyframe
        if mask.is_mask and not mask.is_reduced and mask.shape == page.shape[:2]:
            check_series(path, one)
            return np.asarray(one.asarray()) != 0
    return None


def _series(path: Path, series: Any, turn: int) -> Decoded:
    """The pixels of pages that belong together, upright."""
    page = series.keyframe
    extras = tuple(_whole("ExtraSamples", kind) for kind in page.extrasamples)
    if not _plain(page):
        return _by_pillow(path, page.index)
    nodata = _number(page.tags.get(_NODATA))
    check_series(path, series)
    try:
        pixels, axes = np.asarray(series.asarray()), series.axes
    except (ValueError, ImportError) as reason:
        if "imagecodecs" not in str(reason):
            raise
        if len(series.pages) > 1:
            raise _lacking(path, first_line(reason)) from reason
        return _compressed(path, page, extras, nodata)
    while pixels.ndim > 3 and 1 in pixels.shape:
        lonely = pixels.shape.index(1)
        pixels, axes = pixels.squeeze(lonely), axes[:lonely] + axes[lonely + 1 :]
    if pixels.ndim == 2:
        pixels = pixels[None]
    elif axes.endswith("S"):
        pixels = np.moveaxis(pixels, -1, 0)
    pixels = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("="), copy=False)
    measured = _is_not(pixels, nodata)
    if page.photometric == _WHITE_IS_0 and pixels.dtype.kind == "u":
        pixels = np.iinfo(pixels.dtype).max - pixels
    found = _split_alpha(pixels, measured, extras if "S" in axes else ())
    return _upright(found, turn)


def _whole(name: str, value: Any) -> int:
    """The whole number that a tag must be."""
    if not isinstance(value, int):
        raise ValueError(f"its {name} is {value!r}")
    return int(value)


def _lacking(path: Path, why: str) -> ImgturboError:
    return ImgturboError(
        f"{path}: cannot be read as a picture ({why}); save it as PNG, or uncompressed, or 'pip "
        "install imagecodecs'"
    )


def _number(tag: Any) -> float | None:
    """The value that GDAL_NODATA names; NaN is missing anyway."""
    try:
        value = float(str(tag.value).strip(" \0")) if tag is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_not(pixels: Pixels, nodata: float | None) -> NDArray[np.bool_] | None:
    """Where pixels are not what means nothing; None where none can be that (-9999 in bytes)."""
    if nodata is None:
        return None
    if pixels.dtype.kind in "ui":
        kind = np.iinfo(pixels.dtype)
        if not (float(nodata).is_integer() and kind.min <= nodata <= kind.max):
            return None
        return np.asarray(pixels != int(nodata))
    with np.errstate(over="ignore"):
        return np.asarray(pixels != pixels.dtype.type(nodata))


def _split_alpha(
    pixels: Pixels, measured: NDArray[np.bool_] | None, extras: tuple[int, ...]
) -> Decoded:
    """Take the alpha channel out, if ExtraSamples names one, and undo its multiplication."""
    kinds = [kind if kind in _ALPHA else 0 for kind in extras]
    if not any(kinds) or len(kinds) >= len(pixels):
        return Decoded(pixels, measured)
    extra = next(i for i, kind in enumerate(kinds) if kind)
    index = len(pixels) - len(kinds) + extra
    alpha = pixels[index : index + 1]
    rest = np.delete(pixels, index, axis=0)
    opaque = alpha > 0
    if measured is not None:
        opaque = opaque & np.delete(measured, index, axis=0)
    if kinds[extra] == _ALPHA[0] and pixels.dtype.kind == "u":
        top = np.iinfo(pixels.dtype).max
        full = rest.astype(np.float64) * top / np.maximum(alpha, 1)
        rest = np.minimum(np.rint(full), top).astype(pixels.dtype)
    return Decoded(rest, opaque)


def _by_pillow(path: Path, page: int = 0) -> Decoded:
    """Palettes, CMYK, YCbCr, Lab and few bits; Pillow turns TIFFs upright itself."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if page:
                    image.seek(page)
                check_image(path, image)
                return _shown(path, image)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _compressed(path: Path, page: Any, extras: tuple[int, ...], nodata: float | None) -> Decoded:
    """One page in a compression that tifffile lacks; both decoders turn it upright themselves."""
    if page.bitspersample == 8 and page.samplesperpixel in (1, 3):
        found = _by_pillow(path, page.index)
        if nodata is None:
            return found
        inverted = page.photometric == _WHITE_IS_0
        return Decoded(found.pixels, _is_not(found.pixels, 255 - nodata if inverted else nodata))
    pixels = _opencv(path.read_bytes())
    if page.index or len(pixels) != page.samplesperpixel:
        channels = f"its {page.samplesperpixel} channels are compressed by"
        raise _lacking(path, f"{channels} {page.compression.name}")
    return _split_alpha(pixels, _is_not(pixels, nodata), extras)
