"""Damaged pictures: PNG, JPEG and TIFF of every depth, through all that reads pictures.

    python -m benchmarks.faults.pictures [--count 10000] [--seed 0] [--workers 2]

Bytes are flipped, overwritten and cut off; chunks of PNGs are edited with right checksums, the
frame of JPEGs and the tags of TIFFs with numbers from everywhere. Silent are values that no picture
has, and other pixels in one that was only cut short.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image

from benchmarks.faults.campaign import Trial, main
from benchmarks.faults.wholes import Wholes, emptied, read_wholes
from imgturbo.color.grey import read_grey
from imgturbo.describe import describe
from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, read_sky
from imgturbo.sky.picture import is_picture, read_picture
from imgturbo.sky.units import DISPLAY

Mutation = Callable[[bytes, random.Random], tuple[bytes, str]]
NUMBERS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 32, 64, 100, 255, 256, 1000, 65535, 65536, 100_000,
           10**6, 2**24, 2**31 - 1, 2**31, 2**32 - 1]  # fmt: skip
TAGS = [256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 282, 284, 317, 320, 322, 323, 338, 339,
        33550, 34665, 42113, 65000]  # fmt: skip


def whole_files() -> dict[str, bytes]:
    """Small pictures of every kind, by name."""
    rgb = np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)
    grey, deep = rgb[..., 0], rgb.astype(np.uint16) * 257
    found = {}

    def pillow(name: str, pixels: Any, mode: str | None = None, **options: Any) -> None:
        image, buffer = Image.fromarray(pixels), io.BytesIO()
        kind = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF"}[name[-3:]]
        (image.convert(mode) if mode else image).save(buffer, kind, **options)
        found[name] = buffer.getvalue()

    def tiff(name: str, pixels: Any, **options: Any) -> None:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **options)
        found[name] = buffer.getvalue()

    pillow("rgb.png", rgb)
    pillow("grey.png", grey)
    pillow("rgba.png", np.dstack([rgb, grey]))
    pillow("greyalpha.png", np.ascontiguousarray(rgb[..., :2]))
    pillow("palette.png", rgb, "P", transparency=3)
    pillow("bits.png", grey, "1")
    pillow("grey16.png", deep[..., 0])
    found["rgb16.png"] = cv2.imencode(".png", deep)[1].tobytes()
    pillow("grey.jpg", grey)
    pillow("rgb.jpg", rgb, exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00")
    pillow("cmyk.jpg", rgb, "CMYK")
    pillow("progressive.jpg", rgb, progressive=True)
    pillow("lzw.tif", rgb, compression="tiff_lzw")
    pillow("packbits.tif", rgb, compression="packbits")
    tiff("rgb.tif", rgb, photometric="rgb")
    tiff("rgb16.tif", deep, photometric="rgb", byteorder=">")
    tiff("float.tif", grey.astype(np.float32))
    tiff("double.tif", grey.astype(np.float64), byteorder=">")
    tiff("signed.tif", grey.astype(np.int16))
    tiff("planes.tif", np.moveaxis(rgb, -1, 0), photometric="rgb", planarconfig="separate")
    tiff("pages.tif", np.stack([grey] * 3), photometric="minisblack")
    tiff("big.tif", rgb, photometric="rgb", bigtiff=True)
    tiff("deflate.tif", rgb, photometric="rgb", compression="zlib")
    tiff("tiles.tif", np.tile(rgb, (3, 3, 1)), photometric="rgb", tile=(32, 32))
    tiff("ome.tif", np.stack([grey, grey]), photometric="minisblack", ome=True,
         metadata={"axes": "CYX"})  # fmt: skip
    tiff("imagej.tif", grey.astype(np.float32), imagej=True)
    return found


# ---------------------------------------------------------------------------------- damage


def flip(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Bytes become others, most often near the beginning."""
    out, places = bytearray(data), []
    for _ in range(rng.choice([1, 1, 2, 4, 16, 64]) if data else 0):
        places.append(rng.randrange(min(len(out), 200) if rng.random() < 0.6 else len(out)))
        out[places[-1]] = rng.randrange(256)
    return bytes(out), f"bytes {places[:6]} … flipped"


def cut(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """The end is missing."""
    size = rng.randrange(len(data) + 1)
    return data[:size], f"cut to {size}"


def garbage(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A span becomes noise, zeros or ones."""
    start, size = rng.randrange(len(data) + 1), rng.choice([1, 8, 64, 512])
    filled = rng.choice([rng.randbytes(size), bytes(size), b"\xff" * size])
    return data[:start] + filled + data[start + size :], f"{size} bytes at {start} overwritten"


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    place, found = 8, []
    while place + 12 <= len(png):
        size = int.from_bytes(png[place : place + 4])
        if place + 12 + size > len(png):
            break
        found.append((png[place + 4 : place + 8], png[place + 8 : place + 8 + size]))
        place += 12 + size
    return found


def chunk(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A chunk of a PNG, with a right checksum."""
    chunks = _chunks(data) if data.startswith(b"\x89PNG") else []
    if not chunks:
        return flip(data, rng)
    at = rng.randrange(len(chunks))
    name, body = chunks[at]
    what = rng.choice(["head", "head", "drop", "double", "body", "swap", "junk", "pixels"])
    if what == "head" and len(chunks[0][1]) == 13:
        size = struct.pack(">II", rng.choice(NUMBERS), rng.choice(NUMBERS))
        kind = bytearray(chunks[0][1][8:])
        kind[rng.randrange(5)] = rng.randrange(20)
        head = rng.choice([size + chunks[0][1][8:], chunks[0][1][:8] + bytes(kind)])
        chunks[0] = (b"IHDR", head)
        what = f"head {head.hex()}"
    elif what == "drop":
        chunks.pop(at)
    elif what == "double":
        chunks.insert(at, chunks[at])
    elif what == "swap":
        other = rng.randrange(len(chunks))
        chunks[at], chunks[other] = chunks[other], chunks[at]
    elif what == "junk":
        name = rng.choice([b"tEXt", b"iCCP", b"tRNS", b"PLTE", b"gAMA", b"eXIf", b"zTXt", b"acTL"])
        chunks.insert(at, (name, rng.randbytes(rng.choice([0, 1, 3, 20, 500]))))
    elif what == "pixels":
        new = zlib.compress(rng.randbytes(rng.choice([0, 10, 5000])))
        chunks = [(n, new if n == b"IDAT" else b) for n, b in chunks]
    else:
        chunks[at] = (name, flip(body, rng)[0])
    out = data[:8]
    for kind_, content in chunks:
        out += struct.pack(">I", len(content)) + kind_ + content
        out += struct.pack(">I", zlib.crc32(kind_ + content))
    return out, f"PNG {name!r}: {what}"


def tag(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A tag of a TIFF's first page: its number, type, count or value."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return flip(data, rng)
    (place,) = struct.unpack(order + "I", data[4:8])
    entries = struct.unpack(order + "H", data[place : place + 2])[0] if data[place + 1 :] else 0
    at = place + 2 + 12 * rng.randrange(max(1, entries))
    if at + 12 > len(data):
        return data, "no tags"
    number, kind = struct.unpack(order + "HH", data[at : at + 4])
    out, value = bytearray(data), rng.choice(NUMBERS)
    what = rng.choice(["value", "value", "value", "count", "type", "number"])
    if what == "value":
        short = struct.pack(order + "HH", value % 65536, 0)
        out[at + 8 : at + 12] = short if kind == 3 else struct.pack(order + "I", value)
    elif what == "count":
        out[at + 4 : at + 8] = struct.pack(order + "I", value)
    else:
        first, new = (at + 2, value % 20) if what == "type" else (at, rng.choice(TAGS))
        out[first : first + 2] = struct.pack(order + "H", new)
    return bytes(out), f"TIFF tag {number}: {what} {value}"


def frame(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """The frame header of a JPEG."""
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    if not data.startswith(b"\xff\xd8") or not 0 < at < len(data) - 20:
        return flip(data, rng)
    out = bytearray(data)
    if rng.random() < 0.6:
        size = [rng.choice(NUMBERS) % 65536 for _ in range(2)]
        out[at + 5 : at + 9] = struct.pack(">HH", *size)
        return bytes(out), f"JPEG of size {size}"
    out[at + rng.randrange(2, 20)] = rng.randrange(256)
    return bytes(out), "JPEG frame edited"


MUTATIONS: list[Mutation] = [flip] * 3 + [cut] * 2 + [garbage] * 2 + [chunk, tag] * 4 + [frame] * 2


# ---------------------------------------------------------------------------- the campaign


def build(folder: Path) -> Wholes:
    """Whole files and their pixels."""
    return read_wholes(whole_files(), folder, ("signed.tif",))  # signed values are no picture


def attempt(state: Wholes, rng: random.Random, folder: Path) -> Trial:
    """One damaged picture, sometimes under another's name."""
    emptied(folder)
    name = rng.choice(sorted(state.files))
    data, recipe, only_cut = state.files[name], [name], True
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        mutation = rng.choice(MUTATIONS)
        data, what = mutation(data, rng)
        recipe.append(what)
        only_cut &= mutation is cut
    path = folder / name
    if rng.random() < 0.05:
        path = path.with_suffix(rng.choice([".png", ".jpg", ".tif", ".fits"]))
        recipe.append(f"named {path.name}")
    path.write_bytes(data)

    def others() -> None:
        readers: list[Callable[[Path], object]] = [describe, lambda p: read_grey(p, None, True)]
        for reader in readers + ([read_picture] if is_picture(path) else []):
            try:
                reader(path)
            except ImgturboError:
                continue

    def call() -> SkyImage:
        try:
            return read_sky(path)
        finally:
            others()

    def check(image: SkyImage) -> str | None:
        if image.data.dtype != np.float32 or np.isinf(image.data).any():
            return "values that are no float32, or endless"
        if image.unit == DISPLAY and np.nanmax(np.abs(image.data), initial=0) > 1:
            return "display values beyond 1"
        whole = state.truth.get(name)
        if only_cut and whole is not None and not np.array_equal(image.data, whole, True):
            return "a picture that was cut is read with other pixels"
        return None

    return Trial(recipe, call, check)


if __name__ == "__main__":
    main(__spec__.name, __doc__, 10_000)
