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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True, eq=False)
class _Heap:
    """The packed bytes of one column: of tile i ``lengths[i]`` of them from byte ``starts[i]``.

    ``starts`` are places in the file; ``algorithm`` is how they are packed, if that is looked at.
    """

    algorithm: str
    lengths: NDArray[np.int64]
    starts: NDArray[np.int64]


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
    heaps: tuple[_Heap, ...] = field(default=(), repr=False, compare=False)

    @property
    def counts(self) -> tuple[int, ...]:
        """Tiles along each axis."""
        return tuple(-(-n // t) for n, t in zip(self.shape, self.tile, strict=True))

    def shapes(self) -> Iterator[tuple[int, ...]]:
        """Of each tile, in the table's order; those at the rim are smaller."""
        return (self._shape(place) for place in np.ndindex(*self.counts))

    def _shape(self, place: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(
            min(t, n - i * t) for i, t, n in zip(place, self.tile, self.shape, strict=True)
        )

    def numbers(self, index: tuple[int | slice, ...]) -> list[int]:
        """Of the tiles that an index of the image's array touches."""
        along = []
        for part, length, tile in zip(index, self.shape, self.tile, strict=True):
            first, last = (part, part + 1) if isinstance(part, int) else part.indices(length)[:2]
            along.append(np.arange(first // tile, -(-last // tile)))
        places = np.ravel_multi_index(np.meshgrid(*along, indexing="ij"), self.counts)
        return [int(number) for number in places.ravel()]

    def spans(self, numbers: Iterable[int]) -> list[tuple[int, int]]:
        """Where in the file the packed bytes of these tiles lie: (first, one past the last)."""
        return [
            (int(heap.starts[k]), int(heap.starts[k] + heap.lengths[k]))
            for heap in self.heaps
            for k in numbers
            if heap.lengths[k]
        ]

    def check(self, stream: BinaryIO, cards: Cards, numbers: Iterable[int] | None = None) -> None:
        """Hold what packed tiles say of their own size against the header; all, if none is named.

        Raises:
            ImgturboError: they contradict each other.
        """
        tiles = range(math.prod(self.counts)) if numbers is None else list(numbers)
        for heap in self.heaps:
            if not heap.algorithm.startswith(("GZIP", "HCOMPRESS", "PLIO")):
                continue
            for tile in tiles:
                length, start = int(heap.lengths[tile]), int(heap.starts[tile])
                shape = self._shape(tuple(map(int, np.unravel_index(tile, self.counts))))
                if length and not _agrees(stream, heap.algorithm, shape, length, start):
                    raise cards.error(f"tile {tile} does not hold what its header says")


def tile_table(stream: BinaryIO, extent: Extent, at_hand: bool = True) -> TileTable | None:
    """What a tile-compressed image claims, all of it checked; None of another HDU.

    Args:
        stream: of the file.
        extent: of the HDU.
        at_hand: whether the tiles are looked at now; else who reads some checks them first.

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
    heaps = []
    for name, (at, wide, width) in offsets.items():
        kind = ">i8" if wide else ">i4"
        both = np.ascontiguousarray(rows[:, at : at + (16 if wide else 8)]).view(kind)
        lengths, starts = both[:, 0].astype(np.int64) * width, both[:, 1].astype(np.int64)
        inside = (lengths >= 0) & (starts >= 0) & (lengths <= extent.size)
        if not (inside & (starts + lengths <= extent.size - heap)).all():
            raise cards.error("a tile lies outside its data")
        if name == "COMPRESSED_DATA":
            none = lengths == 0
            algorithm = table.algorithm
        else:
            none &= lengths == 0
            algorithm = "GZIP_1" if name.startswith("GZIP") else ""
        heaps.append(_Heap(algorithm, lengths, starts + heap + extent.data))
    if none.any():
        raise cards.error(f"tile {int(np.argmax(none))} is empty")
    table = replace(table, heaps=tuple(heaps))
    if at_hand:
        table.check(stream, cards)
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


def _agrees(
    stream: BinaryIO, algorithm: str, shape: tuple[int, ...], length: int, start: int
) -> bool:
    """Whether a tile of this shape may lie in so many bytes from ``start``, by its own account."""
    if algorithm.startswith("GZIP"):
        stream.seek(start + max(0, length - 4))
        return int.from_bytes(stream.read(4), "little") <= 8 * math.prod(shape)
    stream.seek(start)
    if algorithm.startswith("PLIO"):
        words = np.frombuffer(stream.read(min(length, 14)), ">i2").astype(int)
        return len(words) >= 3 and 0 < _plio_words(words) <= length // 2
    head = stream.read(_HCOMPRESS.itemsize)
    return length >= len(head) == _HCOMPRESS.itemsize and _hcompress(head, shape)


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
