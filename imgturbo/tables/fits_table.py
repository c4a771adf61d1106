"""Tables in FITS files: what is missing is said of the numbers as they are stored.

TNULLn is a whole number *before* TSCALn and TZEROn; in a table of text (XTENSION = 'TABLE') it is a
text, and an empty field is missing as well; a truth that is neither T nor F is 0.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.sky.blocks import Extent, extents
from imgturbo.sky.cards import number_in, word_in
from imgturbo.sky.packed import open_unpacked
from imgturbo.tables.binary_file import AGAIN, BinaryTable
from imgturbo.tables.reader import Column

__all__ = ["FitsTable"]


class FitsTable(BinaryTable):
    """The first table of a FITS file that has any rows or columns, open.

    Args:
        path: of the file, packed or not.

    Raises:
        ImgturboError: no FITS, shorter than its headers say, damaged, or without a table.
    """

    def __init__(self, path: Path) -> None:
        from astropy.io import fits

        super().__init__(path)
        self._held = contextlib.ExitStack()
        try:
            stream = self._held.enter_context(contextlib.closing(open_unpacked(path)))
            found = extents(stream, os.fstat(stream.fileno()).st_size, str(path))
            kinds = ("TABLE", "BINTABLE", "A3DTABLE")
            places = [e for e in found if e.number and e.cards.text("XTENSION") in kinds]
            place = next((e for e in places if not e.cards.truth("ZIMAGE")), None)
            if place is None:
                raise ImgturboError(f"{path}: holds no table; give a table, or an image bundle")
            stream.seek(0)
            with door(path, place.cards.where.removeprefix(f"{path}: "), AGAIN), _quiet():
                opened = self._held.enter_context(
                    contextlib.closing(fits.open(stream, memmap=True, lazy_load_hdus=False))
                )
                self._hdu = opened[place.number]
                self._as_text = isinstance(self._hdu, fits.TableHDU)
                self._length = int(self._hdu.header["NAXIS2"])
                _check_columns(self._hdu, place)
                self.columns = dict(map(_fits_column, self._hdu.columns))
                self.meta = {"name": self._hdu.name} if self._hdu.name else {}
                if len(self.columns) != len(self._hdu.columns):
                    names = self._hdu.columns.names
                    twice = next(name for name in names if names.count(name) > 1)
                    raise ImgturboError(
                        f"{path}: several columns are called {twice}; rename all but one"
                    )
        except BaseException:
            self._held.close()
            raise

    def _may_lack(self, name: str) -> bool:
        column = self._hdu.columns[name]
        return column.null is not None or _form(column) == "L"

    def _part(self, rows: slice) -> Callable[[str], NDArray[Any]]:
        with _quiet():
            data = self._hdu.data[rows]
        raw = data.view(np.ndarray)
        names = self._hdu.columns.names

        def column(name: str) -> NDArray[Any]:
            with _quiet():
                stored, own = raw[raw.dtype.names[names.index(name)]], self._hdu.columns[name]
                if len(stored) != rows.stop - rows.start:
                    raise ValueError(f"of {rows.stop - rows.start} rows {len(stored)} are there")
                if self._as_text and _form(own) != "A":
                    return _read_numbers(stored, own)
                if stored.dtype.kind == "S":
                    return _read_texts(stored)
                values = np.asarray(data.field(name))
            # What is missing is said of the numbers as they are stored, before they are scaled.
            if own.null is not None and stored.dtype.kind in "iu":
                return np.ma.MaskedArray(values, stored == int(own.null))
            return np.ma.MaskedArray(values, stored == 0) if _form(own) == "L" else values

        return column

    def close(self) -> None:
        """Let go of the file."""
        self._held.close()


def _check_columns(hdu: Any, place: Extent) -> None:
    """Refuse columns without a name, and what astropy passes over without a word.

    Cards that are no numbers, cards that come twice, columns that do not make their rows.

    Raises:
        ImgturboError: which of them.
    """
    for n, column in enumerate(hdu.columns, start=1):
        if not column.name:
            raise place.cards.error(f"column {n} has no name", f"give it one (TTYPE{n})")
        for word in ("TTYPE", "TFORM", "TUNIT", "TDIM", "TDISP"):
            place.cards.text(f"{word}{n}")  # refuses two that disagree
        for word, found in (("TSCAL", column.bscale), ("TZERO", column.bzero)):
            if f"{word}{n}" in place.cards:
                stated = number_in(hdu.header, f"{word}{n}", place.cards.where, math.nan)
                # 1E400 is a number, and none that a column can be scaled by.
                if found in (None, "") or float(found) != stated or not math.isfinite(stated):
                    raise place.cards.error(f"{word}{n} is no number")
        null = f"TNULL{n}"
        if null in place.cards and column.null is None and word_in(hdu.header, null).strip():
            raise place.cards.error(f"{null} is none that a column of {column.format} can have")
    columns, said = hdu.columns.dtype.itemsize, place.cards.whole("NAXIS1", 0, 1 << 40)
    # A table of text may have characters of no column behind the last one.
    if columns > said or (columns < said and place.cards.text("XTENSION") != "TABLE"):
        raise place.cards.error(f"its columns are {columns} bytes wide, its rows {said} (NAXIS1)")


def _form(column: Any) -> str:
    """The letter of its format."""
    return str(column.format).lstrip("0123456789")[:1]


def _read_texts(cells: NDArray[Any]) -> NDArray[Any]:
    """Texts as they are stored: to the first NUL, without the blanks at their end.

    Not by astropy: what it takes for blank depends on the other rows that are read with one.
    """
    if not cells.itemsize:
        return cells
    letters = np.array(cells)[:, None].view(np.uint8)
    letters[np.logical_or.accumulate(letters == 0, axis=1)] = 0
    return np.char.rstrip(letters.view(cells.dtype)[:, 0], b" ")


def _read_numbers(cells: NDArray[Any], column: Any) -> NDArray[Any]:
    """Numbers that a FITS file spells out, masked where nothing stands or what it calls nothing."""
    texts = [cell.decode("ascii").strip() for cell in cells.tolist()]
    missing = np.array([not text or text == str(column.null or "").strip() for text in texts], bool)
    whole = _form(column) == "I"
    read = int if whole else float
    numbers = [
        0 if empty else read(text.upper().replace("D", "E"))
        for text, empty in zip(texts, missing, strict=True)
    ]
    found: NDArray[Any] = np.array(numbers, np.int64 if whole else np.float64)
    if column.bscale not in (None, "", 1) or column.bzero not in (None, "", 0):
        found = found * float(column.bscale or 1) + float(column.bzero or 0)
    return np.ma.MaskedArray(found, missing)


def _fits_column(column: Any) -> tuple[str, Column]:
    dtype = column.dtype
    scaled = column.bscale not in (None, "", 1) or (column.bzero not in (None, "", 0))
    usable = not dtype.shape and dtype.base.kind in "iufbSU" and not column.dim
    kind = _form(column)
    base = dtype.base
    if kind == "L":
        base = np.dtype(np.bool_)
    elif scaled and base.kind in "iu":
        unsigned = {"I": "u2", "J": "u4", "K": "u8"}.get(kind, "f8")
        half = {"I": 1 << 15, "J": 1 << 31, "K": 1 << 63}.get(kind)
        whole = column.bscale in (None, "", 1) and column.bzero == half
        base = np.dtype(unsigned if whole else "f8")
    if kind in ("P", "Q", "C", "M", "X"):
        usable = False
    return column.name, Column(
        column.name, str(column.unit or ""), base.newbyteorder("="), "", usable
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what astropy has to say on units and cards that nobody asked for."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
