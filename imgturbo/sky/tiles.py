"""Tile-compressed images (fpack): what their tables claim, held against what is there.

A row of the table is a tile, its bytes lie in a heap behind the table, packed by GZIP, RICE, PLIO
or HCOMPRESS. The decoders, in C, believe what the packed bytes say of their own size: HCOMPRESS
writes as many pixels as they say into room for as many as the header says, and PLIO reads on as far
as they say. A file where the two differ ends the interpreter, so they are compared here, tile by
tile, before anything is decoded. What is GZIPped says at its end how long it was.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from imgturbo.sky.blocks import Cards, Extent

__all__ = ["TileTable", "tile_table"]

_MOST_AXES = 9
_LARGEST = (1 << 31) - 1
_MOST_PIXELS = _LARGEST // 8  # of a tile: the decoders count its bytes in 31 bits
_BITPIX = (8, 16, 32, 64, -32, -64)
_ALGORITHMS = ("GZIP_1", "GZIP_2", "RICE_1", "RICE_ONE", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS")
_PARAMETERS = {"BLOCKSIZE": (16, 32), "BYTEPIX": (1, 2, 4), "SMOOTH": (0, 1)}
_FORM = re.compile(r"(\d*)([LXBIJKAEDCMPQ])([LXBIJKAEDCM]?)(\(\d*\))?.*")
_WIDTH = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16}
_PACKED = ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA", "UNCOMPRESSED_DATA")
_HCOMPRESS = np.dtype([("magic", ">u2"), ("nx", ">i4"), ("ny", ">i4"), ("scale", ">i4"),
                       ("sum", ">i8"), ("planes", "u1", 3)])  # fmt: skip
_MAGIC = 0xDD99
_PLANES = 62


@dataclass(frozen=True)
class TileTable:
    """What the header of a tile-compressed image says.

    Attributes:
        shape: of the image, rows before columns.
        tile: of a tile.
        bits: of a pixel.
        algorithm: of all tiles.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]
    bits: int
    algorithm: str

    @property
    def counts(self) -> tuple[int, ...]:
        """Tiles along each axis."""
        return tuple(-(-n // t) for n, t in zip(self.shape, self.tile, strict=True))

    def shapes(self) -> Iterator[tuple[int, ...]]:
        """Of each tile, in the table's order; those at the rim are smaller."""
        for place in np.ndindex(*self.counts):
            yield tuple(
                min(t, n - i * t) for i, t, n in zip(place, self.tile, self.shape, strict=True)
            )


def tile_table(stream: BinaryIO, extent: Extent) -> TileTable | None:
    """What a tile-compressed image claims, all of it checked; None of another HDU.

    Raises:
        ImgturboError: the claims cannot be, or contradict the packed bytes.
    """
    cards = extent.cards
    if cards.text("XTENSION") not in ("BINTABLE", "A3DTABLE") or not cards.truth("ZIMAGE"):
        return None
    table = _claims(cards)
    rows, offsets = _rows(stream, extent)
    if math.prod(table.counts) != len(rows):
        raise cards.error(f"it has {len(rows)} tiles, and by ZNAXIS and ZTILE {table.counts}")
    heap = cards.whole("THEAP", rows.size, rows.size + extent.size, rows.size)
    for name, (at, wide, width) in offsets.items():
        kind = ">i8" if wide else ">i4"
        both = np.ascontiguousarray(rows[:, at : at + (16 if wide else 8)]).view(kind)
        lengths, starts = both[:, 0].astype(np.int64) * width, both[:, 1].astype(np.int64)
        inside = (lengths >= 0) & (starts >= 0) & (lengths <= extent.size)
        if not (inside & (starts + lengths <= extent.size - heap)).all():
            raise cards.error("a tile lies outside its data")
        if name == "COMPRESSED_DATA":
            none = lengths == 0
            packed = (table.algorithm, lengths, starts)
        else:
            none &= lengths == 0
            packed = ("GZIP_1" if name.startswith("GZIP") else "", lengths, starts)
        _check_streams(stream, extent, table, heap, *packed)
    if none.any():
        raise cards.error(f"tile {int(np.argmax(none))} is empty")
    return table


def _claims(cards: Cards) -> TileTable:
    """What the header says, in itself."""
    count = cards.whole("ZNAXIS", 1, _MOST_AXES)
    shape = [cards.whole(f"ZNAXIS{i + 1}", 1, _LARGEST) for i in range(count)]
    tile = [
        cards.whole(f"ZTILE{i + 1}", 1, _LARGEST, shape[0] if i == 0 else 1) for i in range(count)
    ]
    bits = cards.whole("ZBITPIX", -64, 64)
    if bits not in _BITPIX:
        raise cards.error(f"ZBITPIX = {bits} is none of {', '.join(map(str, _BITPIX))}")
    algorithm = cards.text("ZCMPTYPE")
    if algorithm not in _ALGORITHMS:
        raise cards.error(f"ZCMPTYPE = {algorithm!r} is no compression that is known")
    for i in range(1, 1000):
        name = cards.text(f"ZNAME{i}")
        if not name:
            break
        if name in _PARAMETERS and cards.whole(f"ZVAL{i}", 0, 99) not in _PARAMETERS[name]:
            raise cards.error(f"{name} (ZVAL{i}) is none of {_PARAMETERS[name]}")
    table = TileTable(tuple(shape[::-1]), tuple(tile[::-1]), abs(bits), algorithm)
    if math.prod(map(min, shape, tile)) > _MOST_PIXELS:
        raise cards.error(f"tiles of {' × '.join(map(str, tile))} pixels are too large to unpack")
    if algorithm == "HCOMPRESS_1" and any(len(_flat(s)) != 2 for s in table.shapes()):
        raise cards.error("HCOMPRESS packs tiles of two axes")
    return table


def _rows(
    stream: BinaryIO, extent: Extent
) -> tuple[NDArray[np.uint8], dict[str, tuple[int, bool, int]]]:
    """The table's bytes (rows, width), and of each packed column its place, P or Q, and width."""
    cards = extent.cards
    width, count = cards.whole("NAXIS1", 1, 1 << 40), cards.whole("NAXIS2", 1, 1 << 40)
    at, columns = 0, {}
    for i in range(1, cards.whole("TFIELDS", 1, 999) + 1):
        form = _FORM.fullmatch(cards.text(f"TFORM{i}").strip())
        if form is None:
            raise cards.error(f"TFORM{i} is none")
        many = int(form[1]) if form[1] else 1
        name = cards.text(f"TTYPE{i}").strip()
        if name in _PACKED:
            if form[2] not in "PQ" or not form[3] or form[3] == "X" or many != 1:
                raise cards.error(f"TFORM{i} is no column of tiles")
            columns[name] = (at, form[2] == "Q", _WIDTH[form[3]])
        each = {"P": 8, "Q": 16}.get(form[2]) or _WIDTH.get(form[2], 0)
        at += -(-many // 8) if form[2] == "X" else many * each
    if at != width or "COMPRESSED_DATA" not in columns:
        raise cards.error("its columns do not make its rows, or hold no tiles")
    stream.seek(extent.data)
    rows = np.frombuffer(stream.read(width * count), np.uint8).reshape(count, width)
    return rows, columns


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _check_streams(
    stream: BinaryIO,
    extent: Extent,
    table: TileTable,
    heap: int,
    algorithm: str,
    lengths: NDArray[np.int64],
    starts: NDArray[np.int64],
) -> None:
    """Hold what each packed tile says of its own size against the header."""
    if not algorithm.startswith(("GZIP", "HCOMPRESS", "PLIO")):
        return
    heap += extent.data
    for tile, (shape, length, start) in enumerate(
        zip(table.shapes(), lengths.tolist(), starts.tolist(), strict=True)
    ):
        if not length:
            continue
        if algorithm.startswith("GZIP"):
            stream.seek(heap + start + max(0, length - 4))
            right = int.from_bytes(stream.read(4), "little") <= 8 * math.prod(shape)
        elif algorithm.startswith("PLIO"):
            stream.seek(heap + start)
            words = np.frombuffer(stream.read(min(length, 14)), ">i2").astype(int)
            right = len(words) >= 3 and 0 < _plio_words(words) <= length // 2
        else:
            stream.seek(heap + start)
            head = stream.read(_HCOMPRESS.itemsize)
            right = length >= len(head) == _HCOMPRESS.itemsize and _hcompress(head, shape)
        if not right:
            raise extent.cards.error(f"tile {tile} does not hold what its header says")


def _plio_words(words: NDArray[np.int64]) -> int:
    """How long a line list says that it is: in its third word, or in later ones (PLIO 1.1)."""
    if words[2] > 0:
        return int(words[2])
    return int((words[4] << 15) + words[3]) if len(words) >= 5 else 0


def _hcompress(head: bytes, shape: tuple[int, ...]) -> bool:
    found = np.frombuffer(head, _HCOMPRESS)[0]
    size = (int(found["nx"]), int(found["ny"]))
    known = int(found["magic"]) == _MAGIC and size == _flat(shape)
    return known and bool((found["planes"] <= _PLANES).all())
