"""The HDUs of a FITS file, typed: what astropy makes of bytes that were looked at first.

:mod:`imgturbo.sky.blocks` and :mod:`imgturbo.sky.tiles` say where HDUs lie and how large images
are; astropy must see the same, or the file is refused. From here on a header's cards have values,
an HDU has a name, a version and a shape, and pixels come by windows.

Integers are scaled here (BSCALE, BZERO) and become NaN where they equal BLANK.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from imgturbo.door import door, room_for
from imgturbo.errors import ImgturboError
from imgturbo.remote import Ranges
from imgturbo.sky.apart import APART, unpacked
from imgturbo.sky.blocks import Extent, extents
from imgturbo.sky.cards import drop_unreadable, number_in, settle, whole_in, word_in
from imgturbo.sky.checksum import Seal
from imgturbo.sky.headers import quiet
from imgturbo.sky.packed import open_unpacked
from imgturbo.sky.tiles import TileTable, tile_table

__all__ = ["Hdu", "Plane", "hdus_of"]

Plane = tuple[int | slice, ...]
Section = Callable[[Plane], NDArray[Any]]
_Found = tuple[Extent, Any, TileTable | None, Seal, Section | None]
"""An HDU: its blocks, what astropy makes of it, how it is packed, its sums, and who reads its
pixels where astropy must not, in this process."""

_STRIP = 1 << 22  # bytes read in one go
_FAR_STRIPS = 8  # of a file at an address, fetched beside each other
_GAP = 1 << 14  # bytes that are sooner fetched and dropped than asked around
_COPIES = 3  # of a tile, while it is unpacked
_REMEDY = "fetch it again"


@dataclass(frozen=True, eq=False)
class Hdu:
    """One HDU of an open file.

    Attributes:
        name: EXTNAME in capitals, or ``""``.
        ver: EXTVER, or 1.
        header: cards that have a value, each keyword as FITS means it.
        shape: of the array, rows before columns; ``()`` where there is no image.
        where: the file and the HDU, for messages.
        tiles: how it is packed, if it is.
        seal: the sums that it came with; the data are held against theirs before any is given.
        extent: where it lies in the file.
        far: the file, if it is one at an address: no more is fetched than a window needs.
        lost: keywords of cards that have no value that FITS knows.
    """

    name: str
    ver: int
    header: fits.Header
    shape: tuple[int, ...]
    where: str
    tiles: TileTable | None
    section: Section | None = field(repr=False)
    seal: Seal = field(repr=False)
    extent: Extent = field(repr=False)
    far: Ranges | None = field(default=None, repr=False)
    lost: tuple[str, ...] = ()
    kept: dict[Plane, NDArray[Any]] = field(default_factory=dict, repr=False)

    def window(
        self, plane: Plane, rows: slice, cols: slice, kind: Any = np.float32
    ) -> NDArray[Any]:
        """A window of a plane of the array, with BSCALE, BZERO and BLANK applied.

        Whole rows are read, a bounded block at a time, and cut: contiguous reads are ten times
        faster than one seek a row.

        Args:
            plane: index of the array: numbers, a slice for the rows and one for the columns.
            rows, cols: of the plane.
            kind: of the values.

        Raises:
            ImgturboError: they cannot be read.
        """
        along = next(axis for axis, index in enumerate(plane) if isinstance(index, slice))
        lead, inner = plane[:along], plane[along + 1 :]  # what comes after the rows is read whole
        height, width = (
            n for n, index in zip(self.shape, plane, strict=True) if isinstance(index, slice)
        )
        top, bottom, _ = rows.indices(height)
        left, right, _ = cols.indices(width)
        out = np.empty((max(0, bottom - top), max(0, right - left)), kind)
        with door(self.where, "pixels", _REMEDY):
            self.seal.check()
        if self.far is not None and len(inner) == 1:
            self._window_from_afar(lead, (top, bottom), (left, right), out)
            return out
        for first, last in self._strips(along, top, bottom):
            start, block = self._rows(lead, first, last, len(inner))
            with door(self.where, "pixels", _REMEDY):
                raw = block[(slice(first - start, last - start), *inner)][:, left:right]
                if raw.shape != (last - first, out.shape[1]):
                    raise ValueError(f"of {last - first} rows, {len(raw)} are there")
            self._scale(raw, out[first - top : last - top])
        return out

    def _window_from_afar(
        self, lead: Plane, rows: tuple[int, int], cols: tuple[int, int], out: NDArray[Any]
    ) -> None:
        """A window of rows and columns of which nothing else is fetched, or not much."""
        assert self.far is not None
        assert self.section is not None
        tall = self._tall(len(lead))
        step = max(1, _FAR_STRIPS * _STRIP // (8 * max(1, cols[1] - cols[0])) // tall) * tall
        edges = [rows[0], *range((rows[0] // step + 1) * step, rows[1], step), rows[1]]
        for first, last in itertools.pairwise(edges):
            index = (*lead, slice(first, last), slice(*cols))
            if first >= last or cols[0] >= cols[1]:
                continue
            if self.tiles is None:
                self.far.want(self._spans(lead, (first, last), cols))
            else:
                self._fetch_tiles(index)
            with door(self.where, "pixels", _REMEDY), quiet():
                raw = np.asarray(self.section(index))
                if raw.shape != (last - first, cols[1] - cols[0]):
                    raise ValueError(f"of {last - first} rows, {len(raw)} are there")
            self._scale(raw, out[first - rows[0] : last - rows[0]])

    def _spans(
        self, lead: Plane, rows: tuple[int, int], cols: tuple[int, int]
    ) -> list[tuple[int, int]]:
        """Where in the file a window lies; parts that are near each other are one."""
        size = abs(self.extent.cards.whole("BITPIX", -64, 64)) // 8
        plane = 0
        for index, length in zip(lead, self.shape, strict=False):
            plane = plane * length + int(index)  # type: ignore[arg-type]
        height, width = self.shape[len(lead) :]
        spans: list[tuple[int, int]] = []
        for row in range(*rows):
            place = self.extent.data + size * width * (plane * height + row)
            first, last = place + size * cols[0], place + size * cols[1]
            if spans and first - spans[-1][1] <= _GAP and last - spans[-1][0] <= _STRIP:
                spans[-1] = (spans[-1][0], last)
            else:
                spans.append((first, last))
        return spans

    def _fetch_tiles(self, index: Plane) -> None:
        """The packed tiles under an index, fetched and looked at."""
        assert self.far is not None
        assert self.tiles is not None
        numbers = self.tiles.numbers(index)
        room_for(
            _COPIES * self.tiles.bits // 8 * len(numbers) * math.prod(self.tiles.tile),
            self.where,
            f"unpacking {len(numbers)} tiles",
        )
        self.far.want(self.tiles.spans(numbers))
        self.tiles.check(self.far, self.extent.cards, numbers)  # type: ignore[arg-type]

    def _strips(self, along: int, top: int, bottom: int) -> list[tuple[int, int]]:
        """First and last rows that are read in one go."""
        step = self._step(along)
        if self._tall(along) == 1:
            return [(k, min(k + step, bottom)) for k in range(top, bottom, step)]
        edges = [top, *range((top // step + 1) * step, bottom, step), bottom]
        return [(a, b) for a, b in itertools.pairwise(edges) if a < b]

    def _step(self, along: int) -> int:
        tall = self._tall(along)
        return max(1, _STRIP // (8 * math.prod(self.shape[along + 1 :])) // tall) * tall

    def _tall(self, along: int) -> int:
        """Rows that can be had at once only."""
        return 1 if self.tiles is None else min(self.tiles.tile[along], self.shape[along])

    def _rows(self, lead: Plane, first: int, last: int, inner: int) -> tuple[int, NDArray[Any]]:
        """Rows of the array, all that is in them, and the first row's number.

        A tile is unpacked whole, however little of it is wanted, so the last ones are kept.
        """
        assert self.section is not None
        along, every = len(lead), (slice(None),) * inner
        if self._tall(along) > 1:
            step = self._step(along)
            first, last = first // step * step, min((first // step + 1) * step, self.shape[along])
        index = (*lead, slice(first, last), *every)
        key = (*lead, first)
        if key in self.kept:
            return first, self.kept[key]
        self.kept.clear()
        if self.tiles is not None:
            size = self.tiles.bits // 8 * (last - first) * math.prod(self.shape[along + 1 :])
            room_for(_COPIES * size, self.where, f"unpacking {last - first} rows")
            if self.far is not None:
                self._fetch_tiles(index)
        with door(self.where, "pixels", _REMEDY), quiet():
            block = np.asarray(self.section(index))
        if self._tall(along) > 1:
            self.kept[key] = block
        return first, block

    def _scale(self, raw: NDArray[Any], out: NDArray[Any]) -> None:
        """Physical values of raw ones."""
        scale = number_in(self.header, "BSCALE", self.where, 1.0)
        zero = number_in(self.header, "BZERO", self.where, 0.0)
        values = raw if scale == 1 and zero == 0 else raw.astype(np.float64) * scale + zero
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32: inf, then masked
            out[...] = values
        if raw.dtype.kind in "iu" and "BLANK" in self.header:
            out[raw == whole_in(self.header, "BLANK", self.where, 0)] = np.nan


@contextlib.contextmanager
def hdus_of(path: Path, quietly: bool = False) -> Iterator[list[Hdu]]:
    """The HDUs of a file, looked at by the byte and opened by astropy.

    Args:
        path: the file, packed or not.
        quietly: without a word on cards that count as missing or come twice.

    Raises:
        ImgturboError: it is no FITS file, is shorter than its headers say, or damaged.
    """
    with open_unpacked(path) as stream:
        far = stream if isinstance(stream, Ranges) else None
        pread = _pread(stream) if far is None else far.pread
        found = extents(stream, stream.seek(0, os.SEEK_END), str(path))
        tables = [tile_table(stream, extent, far is None) for extent in found]
        starts = (0, *(extent.end for extent in found))
        places = list(zip(starts, found, strict=False))
        seals = [Seal(pread, start, extent, far is None) for start, extent in places]
        others = [
            _apart(stream, *place, table) if table and table.algorithm in APART else None
            for place, table in zip(places, tables, strict=True)
        ]
        stream.seek(0)
        with door(path, remedy=_REMEDY), quiet():
            opened = fits.open(
                stream, memmap=False, do_not_scale_image_data=True, lazy_load_hdus=False
            )
            opened.readall()
        with contextlib.closing(opened):
            if len(opened) != len(found):
                raise ImgturboError(
                    f"{path}: is damaged: it has {len(found)} HDUs, of which {len(opened)} can be "
                    f"read; {_REMEDY}"
                )
            every = list(zip(found, opened, tables, seals, others, strict=True))
            yield _all_typed(path, every, quietly, far)


def _pread(stream: BinaryIO) -> Callable[[int, int], bytes]:
    return lambda length, place: os.pread(stream.fileno(), length, place)


def _apart(stream: BinaryIO, start: int, extent: Extent, table: TileTable) -> Section:
    """Tiles as another process unpacks them; of a file at an address it gets what was fetched."""
    cards = extent.cards
    rows = extent.data + cards.whole("NAXIS1", 1, 1 << 40) * cards.whole("NAXIS2", 1, 1 << 40)

    def section(index: Plane) -> NDArray[Any]:
        if not isinstance(stream, Ranges):
            return unpacked(stream.fileno(), start, extent.end, index, table.shape)
        with tempfile.TemporaryFile() as held:
            for first, last in ((start, rows), *table.spans(table.numbers(index))):
                held.seek(first - start)
                held.write(stream.pread(last - first, first))
            held.flush()
            return unpacked(held.fileno(), 0, extent.end - start, index, table.shape)

    return section


def _all_typed(path: Path, found: Sequence[_Found], quietly: bool, far: Ranges | None) -> list[Hdu]:
    hdus = []
    for one in found:
        hdus.append(_typed(*one, far))
        if hdus[-1].shape and not quietly:
            settle(hdus[-1].header, str(path))
    foreign = [word for extent, *_ in found for word in extent.cards.foreign]
    if foreign and not quietly:
        named = ", ".join(dict.fromkeys(foreign))
        warnings.warn(
            f"{path}: {named}: bytes that are no ASCII text; read as '?', correct the header",
            stacklevel=2,
        )
    if not quietly:
        _doubt(path, hdus)
    return hdus


def _doubt(path: Path, hdus: Sequence[Hdu]) -> None:
    """Warn of what may be damage, or may be the work of a program that left a card as it was."""
    broken = [hdu.where for hdu in hdus if not hdu.seal.header_holds]
    if broken:
        warnings.warn(
            f"{broken[0]}: CHECKSUM does not agree with the header: a program has edited it and "
            "left the card, or it is damaged; look at it, then write the card anew (astropy's "
            "fitscheck --write FILE)",
            stacklevel=3,
        )
    promised = hdus[0].header.get("NEXTEND")
    # A cut-out that is a single image keeps the card of what it was cut out of.
    if isinstance(promised, int) and promised > len(hdus) - 1 > 0:
        warnings.warn(
            f"{path}: NEXTEND promises {promised} extensions and {len(hdus) - 1} are there; if the "
            "file was cut, masks may be among what is lost: fetch it again",
            stacklevel=3,
        )


def _typed(
    extent: Extent,
    hdu: Any,
    table: TileTable | None,
    seal: Seal,
    other: Section | None,
    far: Ranges | None,
) -> Hdu:
    """What astropy has made of an HDU, if it is what the blocks say."""
    where = extent.cards.where
    section: Any = None
    with door(where, remedy=_REMEDY), quiet():
        if not hasattr(hdu, "fileinfo"):  # as of those that astropy calls corrupted
            raise ValueError("its header makes no HDU")
        header: fits.Header = hdu.header
        lost = drop_unreadable(header, where)
        shape = tuple(hdu.shape or ()) if getattr(hdu, "is_image", False) else ()
        shape = () if 0 in shape else shape
        if hdu.fileinfo()["datLoc"] != extent.data or shape != _shape(extent, table):
            raise ValueError("its header can be read in two ways")
        section = (other or hdu.section.__getitem__) if shape else None
    name = word_in(header, "EXTNAME").strip().upper()
    version = whole_in(header, "EXTVER", where, 1)
    return Hdu(name, version, header, shape, where, table, section, seal, extent, far, tuple(lost))


def _shape(extent: Extent, table: TileTable | None) -> tuple[int, ...]:
    """Of the image, by the blocks."""
    cards = extent.cards
    if table is not None:
        return table.shape
    if extent.number and cards.text("XTENSION") != "IMAGE":
        return ()
    axes = cards.whole("NAXIS", 0, 999)
    shape = tuple(cards.whole(f"NAXIS{i}", 0, 1 << 62) for i in range(axes, 0, -1))
    return () if 0 in shape else shape
