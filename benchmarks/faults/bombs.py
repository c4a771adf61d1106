"""Small files that unpack to much, or say so: what do they take before they are read or refused?

    python -m benchmarks.faults.bombs [--count 100] [--seed 0]

Each is opened and read by a window. One that really holds what it says may take twice what its
pixels need, one that lies nothing to speak of. (``inspect`` looks at a sample of bounded size.)
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from astropy.io import fits

from benchmarks.faults.campaign import Trial, main
from benchmarks.faults.wholes import emptied
from imgturbo.describe import describe
from imgturbo.errors import ImgturboError
from imgturbo.sky import open_sky

BLOCK = 2880
SMALL = 80.0  # MB that reading anything may take


class Bomb(NamedTuple):
    """A file, and the MB that its pixels are: 0 of one that must be refused."""

    name: str
    content: bytes
    megabytes: float


def _zeros(size: int, head: bytes = b"") -> bytes:
    """zlib's packing of ``head`` and as many zeros."""
    packer, out = zlib.compressobj(9), []
    out.append(packer.compress(head))
    step = 1 << 22
    for start in range(0, size, step):
        out.append(packer.compress(bytes(min(step, size - start))))
    return b"".join([*out, packer.flush()])


def _png(width: int, height: int, rows: bytes, colour: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def png(rng: random.Random, side: int) -> Bomb:
    """Black, grey or in colours, of which Pillow keeps four bytes a pixel."""
    colour, channels, kept = rng.choice([(0, 1, 1), (2, 3, 4)])
    rows = _zeros(side * (1 + channels * side))
    return Bomb("a.png", _png(side, side, rows, colour), kept * side * side / 1e6)


def png_that_lies(rng: random.Random, side: int) -> Bomb:
    """A head, and pixels of another size."""
    return Bomb("a.png", _png(20 * side, 20 * side, _zeros(100 * side), rng.choice([0, 2])), 0)


def tiff(rng: random.Random, side: int) -> Bomb:
    """Deflated zeros, in one strip or many."""
    buffer = io.BytesIO()
    strip = rng.choice([side, 256])
    tifffile.imwrite(buffer, np.zeros((side, side), np.uint8), compression="zlib",
                     rowsperstrip=strip)  # fmt: skip
    return Bomb("a.tif", buffer.getvalue(), side * side / 1e6)


def tiff_that_lies(rng: random.Random, side: int) -> Bomb:
    """Its width and height are not those of its strips."""
    content = bytearray(tiff(rng, 64).content)
    for tag in (256, 257, 278):
        for kind in (3, 4):
            at = content.find(struct.pack("<HHI", tag, kind, 1))
            if at > 0:
                content[at + 8 : at + 12] = struct.pack("<I", min(10 * side, 65_000))
    return Bomb("a.tif", bytes(content), 0)


def _head(*axes: int) -> bytes:
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8",
             f"NAXIS   = {len(axes):>20}"]  # fmt: skip
    cards += [f"NAXIS{i}  = {n:>20}" for i, n in enumerate(axes, start=1)]
    return "".join(card.ljust(80) for card in [*cards, "END"]).ljust(BLOCK).encode()


def _zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.fits", content)
    return buffer.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, 1),
    "bz2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zip": _zipped,
}


def packed(rng: random.Random, side: int) -> Bomb:
    """A FITS file of zeros, packed."""
    suffix = rng.choice(sorted(PACKERS))
    whole = _head(side, side) + bytes(-(-side * side // BLOCK) * BLOCK)
    return Bomb(f"a.fits.{suffix}", PACKERS[suffix](whole), side * side / 1e6)


def packed_that_goes_on(rng: random.Random, side: int) -> Bomb:
    """No FITS at all, or one that is followed by many more zeros."""
    suffix = rng.choice(sorted(PACKERS))
    start = rng.choice([b"", _head(32, 32) + bytes(BLOCK)])
    return Bomb(f"a.fits.{suffix}", PACKERS[suffix](start + bytes(side * side)), 0)


def _tiles(side: int, blob: bytes) -> bytes:
    """A tile-compressed image of one tile of side × side pixels of 16 bits, packed in ``blob``."""
    table = fits.BinTableHDU.from_columns(
        [fits.Column("COMPRESSED_DATA", "1PB()", array=np.array([np.zeros(1, np.uint8)], object))]
    )
    table.header.update(
        {"ZIMAGE": True, "ZCMPTYPE": "GZIP_1", "ZBITPIX": 16, "ZNAXIS": 2, "ZNAXIS1": side,
         "ZNAXIS2": side, "ZTILE1": side, "ZTILE2": side, "PCOUNT": len(blob), "EXTNAME": "SCI"}
    )  # fmt: skip
    head = fits.PrimaryHDU().header.tostring() + table.header.tostring()
    data = struct.pack(">ii", len(blob), 0) + blob
    return head.encode() + data + bytes(-len(data) % BLOCK)


def tile(rng: random.Random, side: int) -> Bomb:
    """One tile that is the whole image."""
    del rng
    return Bomb("a.fits.fz", _tiles(side, gzip.compress(bytes(2 * side * side), 1)),
                2 * side * side / 1e6)  # fmt: skip


def tile_that_lies(rng: random.Random, side: int) -> Bomb:
    """A small tile that unpacks to much, or a large one that has nothing."""
    if rng.random() < 0.5:
        return Bomb("a.fits.fz", _tiles(64, gzip.compress(bytes(2 * side * side), 1)), 0)
    return Bomb("a.fits.fz", _tiles(4 * side, gzip.compress(bytes(100))), 0)


KINDS = [png, png_that_lies, tiff, tiff_that_lies, packed, packed_that_goes_on, tile,
         tile_that_lies]  # fmt: skip


def build(folder: Path) -> Path:
    """Nothing is needed but a place, and the libraries loaded."""
    for kind in (png, tiff, packed, tile):
        bomb = kind(random.Random(0), 64)
        (folder / bomb.name).write_bytes(bomb.content)
        describe(folder / bomb.name)
    return folder


def attempt(state: Path, rng: random.Random, folder: Path) -> Trial:
    """One bomb; growth is held against its honest size."""
    del state
    emptied(folder)
    kind = rng.choice(KINDS)
    side = rng.choice([3_000, 6_000, 12_000])
    bomb = kind(rng, side)
    path = folder / bomb.name
    path.write_bytes(bomb.content)

    def call() -> bool:
        with open_sky(path) as reader:
            reader.read(slice(0, 16), slice(0, 16))
        return True

    def check(_: bool) -> str | None:
        return None if bomb.megabytes else "a file that lies is read"

    def refused(error: ImgturboError) -> str | None:
        return f"a file that is whole is refused: {error}" if bomb.megabytes else None

    said = f"{kind.__name__} of side {side}, {len(bomb.content) / 1e6:.2f} MB"
    return Trial([said], call, check, refused, SMALL + 2 * bomb.megabytes)


if __name__ == "__main__":
    main(__spec__.name, __doc__, 100)
