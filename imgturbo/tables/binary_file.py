"""What tables in FITS and HDF5 have in common: any block of rows can be had at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.door import door
from imgturbo.tables.reader import BLOCK_ROWS, Block, TableReader

__all__ = ["AGAIN", "BinaryTable"]

AGAIN = "get it again"


class BinaryTable(TableReader):
    """A table of which rows can be read at any place."""

    _length: int

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: dict[str, np.dtype[Any]] = {}

    @property
    def length(self) -> int:
        """How many rows there are."""
        return self._length

    @abstractmethod
    def _part(self, rows: slice) -> Callable[[str], NDArray[Any]]:
        """These rows; gives each column by its name, masked where it says so."""

    def _may_lack(self, name: str) -> bool:
        """Whether cells of a column that has no NaN may be missing."""
        return False

    def types(self, names: Sequence[str]) -> dict[str, np.dtype[Any]]:
        """Types of some columns, as the file says them; text of any length is looked at.

        So are whole numbers and truths of which some may be missing: with any, numbers are floats,
        and text where a float would lose digits of them or they are truths, as in text files.
        """
        self.require(names)
        return {name: self._type(name) for name in names}

    def _type(self, name: str) -> np.dtype[Any]:
        dtype = self.columns[name].dtype
        assert dtype is not None
        if dtype.kind == "U":
            return np.dtype(f"S{dtype.itemsize // 4}")
        if dtype.kind == "O" or (dtype.kind in "iub" and self._may_lack(name)):
            if name not in self._seen:
                self._seen[name] = self._look(name, dtype)
            return self._seen[name]
        return dtype

    def _look(self, name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
        longest, lacks, largest = 1, False, 0
        for values in (part[name] for _, part in self._columns([name], BLOCK_ROWS)):
            lacks = lacks or bool(np.ma.is_masked(values))
            if dtype.kind == "O":
                cells = (len(str(cell).encode()) for cell in _text(values, None))
                longest = max(longest, max(cells, default=0))
            elif dtype.kind in "iu":
                known = np.ma.asarray(values).compressed().tolist()
                largest = max(largest, max(map(abs, known), default=0))
        if dtype.kind == "O":
            return np.dtype(f"S{longest}")
        if not lacks:
            return dtype
        exact = dtype.kind != "b" and largest <= 1 << 53
        return np.dtype(np.float64) if exact else np.dtype("S20")

    def _columns(
        self, names: Sequence[str], rows: int
    ) -> Iterator[tuple[slice, dict[str, NDArray[Any]]]]:
        """Columns as the file has them, masked where it says so, a block at a time."""
        for first in range(0, self._length, rows):
            part = slice(first, min(first + rows, self._length))
            with door(self.path, f"rows {first + 1} to {part.stop}", AGAIN):
                column = self._part(part)
                found = {name: column(name) for name in names}
            yield part, found

    def _read(
        self, numbers: Sequence[str], kept: Sequence[str], rows: int, typed: bool
    ) -> Iterator[Block]:
        types = self.types(kept)
        for part, columns in self._columns(list(dict.fromkeys([*numbers, *kept])), rows):
            with door(self.path, f"rows {part.start + 1} to {part.stop}", AGAIN):
                values = np.empty((part.stop - part.start, len(numbers)))
                for place, name in enumerate(numbers):
                    values[:, place] = np.ma.filled(np.ma.asarray(columns[name], float), np.nan)
                taken = {name: _kept(columns[name], types[name]) for name in kept}
            self.share = part.stop / self._length
            yield Block(part.start, values, taken)


def _kept(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Cells that are passed through, of the type that holds all of their column."""
    if dtype.kind == "S":
        return _text(values, np.ma.getmaskarray(values))
    if dtype.kind == "f" and (values.dtype.kind in "iub" or np.ma.is_masked(values)):
        return np.asarray(np.ma.filled(np.ma.asarray(values, dtype), np.nan))
    return np.asarray(np.ma.getdata(values))


def _text(values: NDArray[Any], missing: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Bytes, texts and other values as texts, empty where one is missing."""
    cells = np.ma.getdata(values).tolist()
    texts = (v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in cells)
    if values.dtype.kind in "UO":
        texts = (str(v).rstrip() for v in texts)
    found = np.array([str(v) for v in texts], dtype=object)
    if missing is not None:
        found[missing] = ""
    return found
