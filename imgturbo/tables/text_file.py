"""Tables that are text: CSV and TSV, whose first line names the columns, and ECSV, which says more.

ECSV (Enhanced Character-Separated Values, astropy's APE 6) begins with comments in YAML: names,
types, units and descriptions of the columns, and whatever the writer had to say of the table. Then
it is CSV as well. Cells that are empty, or say ``nan``, ``null``, ``NA`` or ``--``, are missing.
"""

from __future__ import annotations

import csv
import itertools
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from imgturbo.door import door, shortened
from imgturbo.errors import ImgturboError
from imgturbo.tables.reader import BLOCK_ROWS, MISSING, Block, Column, TableReader

__all__ = ["TextTable"]

_LONGEST = 1 << 24  # characters of a line
_MOST_COMMENTS = 100_000  # lines
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DIGITS = 100  # characters of a whole number, of which the largest has 20 digits
_LEADING = re.compile(r"0[0-9]+")  # which no number would give back as it was
_MOST_DIGITS = 300  # which float64 has, nearly
_LONG = re.compile(r"-?[0-9]{16,}")  # of which a float may have other digits
_REMEDY = "mend the file"

Cells = list[list[str]]


class TextTable(TableReader):
    """A CSV, TSV or ECSV file, open.

    Args:
        path: of the file.

    Raises:
        ImgturboError: it cannot be read, is empty, or its names cannot be.
    """

    is_text = True

    def __init__(self, path: Path) -> None:
        self.path, self.meta = path, {}
        self._size = max(1, path.stat().st_size)
        with self._open() as stream:
            comments, first = _head(path, stream)
        declared: dict[str, Any] = {}
        self._comments, self._delimiter = len(comments), _delimiter(first, path)
        if comments and comments[0].startswith("# %ECSV"):
            declared = _ecsv_header(path, comments)
            self._delimiter = declared.get("delimiter", " ")
            self.meta = declared.get("meta") or {}
        with door(path, "the line of names", _REMEDY):
            names = next(csv.reader([first], delimiter=self._delimiter, strict=True), [])
        self._names = _checked_names(path, [name.strip() for name in names])
        self.columns = _columns(path, self._names, declared.get("datatype"))

    @cached_property
    def length(self) -> int:
        """How many rows there are; every one is looked at."""
        return sum(len(rows) for rows, _ in self._blocks(BLOCK_ROWS))

    def types(self, names: Sequence[str]) -> dict[str, np.dtype[Any]]:
        """Types that hold all cells of some columns: whole numbers, numbers, or text."""
        self.require(names)
        found = {name: _Kind(self.columns[name].dtype) for name in names}
        for rows, _ in self._blocks(BLOCK_ROWS):
            for name, kind in found.items():
                place = self._names.index(name)
                kind.see([row[place] for row in rows])
        return {name: kind.dtype for name, kind in found.items()}

    def _read(
        self, numbers: Sequence[str], kept: Sequence[str], rows: int, typed: bool
    ) -> Iterator[Block]:
        types = self.types(kept) if typed and kept else {}
        places = [self._names.index(name) for name in numbers]
        first = 0
        for cells, _ in self._blocks(rows):
            values = self._numbers(cells, places, first)
            taken = {}
            for name in kept:
                place = self._names.index(name)
                taken[name] = _typed([row[place] for row in cells], types.get(name))
            yield Block(first, values, taken)
            first += len(cells)

    def _numbers(self, cells: Cells, places: list[int], first: int) -> NDArray[np.float64]:
        """(n, C) of the cells at these places of each row."""
        shape = len(cells), len(places)
        if not places:
            return np.empty(shape)

        def flat() -> Iterator[str]:
            if len(places) == 1:
                return (row[places[0]] for row in cells)
            return itertools.chain.from_iterable(map(operator.itemgetter(*places), cells))

        # The second knows missing cells, and that 1_000 is a name; it takes longer.
        for read in (_number,) if "_" in "".join(flat()) else (float, _number):
            try:
                values = np.fromiter(map(read, flat()), np.float64, shape[0] * shape[1])
            except (ValueError, OverflowError):
                continue
            return values.reshape(shape)
        for number, row in enumerate(cells, start=first + 1):
            for place in places:
                try:
                    _number(row[place])
                except (ValueError, OverflowError):
                    raise ImgturboError(
                        f"{self.path}: row {number}, column {self._names[place]}: "
                        f"{shortened(row[place])!r} is no number; {_REMEDY}, or empty the cell"
                    ) from None
        raise AssertionError("a cell that is no number was one when it was looked for")

    def close(self) -> None:
        """Nothing: every pass opens the file anew."""

    # ------------------------------------------------------------------------------ lines

    def _open(self) -> TextIO:
        with door(self.path, what="cannot be opened", remedy="check the path and its permissions"):
            return self.path.open("r", encoding="utf-8-sig", newline="")

    def _blocks(self, size: int) -> Iterator[tuple[Cells, int]]:
        """The cells of ``size`` rows at a time, and how many rows came before."""
        width, before = len(self._names), 0
        with self._open() as stream:
            lines = _lines(self.path, stream)
            for _ in itertools.islice(lines, self._comments):
                pass
            reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
            next(reader, None)
            while True:
                with door(self.path, f"near row {before + 1}", _REMEDY, "cannot be read as text"):
                    taken = list(itertools.islice(reader, size))
                rows = [row for row in taken if row]
                if set(map(len, rows)) - {width}:
                    self._refuse_ragged(rows, before)
                if rows:
                    yield rows, before
                before += len(rows)
                with door(self.path):
                    self.share = min(1.0, stream.buffer.tell() / self._size)
                if len(taken) < size:
                    return

    def _refuse_ragged(self, rows: Cells, before: int) -> None:
        width = len(self._names)
        number, row = next(
            (number, row) for number, row in enumerate(rows, before + 1) if len(row) != width
        )
        raise ImgturboError(
            f"{self.path}: row {number} has {len(row)} cells, but there are {width} columns; "
            f"{_REMEDY}"
        )


class _Kind:
    """What the cells of one column are, as far as they have been seen."""

    def __init__(self, declared: np.dtype[Any] | None) -> None:
        self.declared = declared
        self.whole = declared is None or declared.kind in "iu"
        self.number = declared is None or declared.kind in "iuf"
        self.truth = declared is not None and declared.kind == "b"
        self.digits = False  # whether all there is are digits, of which a float would lose some
        self.point = False
        self.width = 1

    def _is_whole(self, cell: str) -> bool:
        if self.declared is None:
            return _WHOLE.fullmatch(cell) is not None
        # Python turns no more than 4300 digits into a number, and raises for more.
        if len(cell) > _DIGITS or not cell.removeprefix("-").isdecimal():
            return False
        limits = np.iinfo(self.declared)
        return int(limits.min) <= int(cell) <= int(limits.max)

    def see(self, cells: list[str]) -> None:
        """Look at some more of them."""
        if self.whole and not all(map(self._is_whole, cells)):
            self.whole = False
        if self.number:
            self._see_numbers(cells)
        if self.truth and not set(cells) <= {"True", "False"}:
            self.truth = False
        self.width = max(self.width, max(len(cell.encode()) for cell in cells))

    def _see_numbers(self, cells: list[str]) -> None:
        fractions = self.declared is not None and self.declared.kind == "f"
        self.digits = self.digits or (not fractions and any(map(_loses_digits, cells)))
        if self.whole:
            return
        if self.declared is None and any(map(_LEADING.fullmatch, cells)):
            self.number = False
        try:
            for cell in cells:
                number = _number(cell)
                self.point = self.point or not (np.isnan(number) or cell.lstrip("-").isdecimal())
        except ValueError:
            self.number = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The narrowest type for all of them; a declared one where it can be."""
        declared = self.declared
        if self.truth:
            return np.dtype(np.bool_)
        if self.whole:
            return np.dtype(np.int64) if declared is None else declared
        if self.number and (self.point or not self.digits):
            return np.dtype(np.float64) if declared is None or declared.kind != "f" else declared
        return np.dtype(f"S{self.width}")


def _loses_digits(cell: str) -> bool:
    """Whether a cell is a whole number, such as an identifier, that no float has."""
    if _LONG.fullmatch(cell) is None:
        return False
    return len(cell) > _MOST_DIGITS or int(float(cell)) != int(cell)


def _typed(cells: list[str], dtype: np.dtype[Any] | None) -> NDArray[Any]:
    if dtype is None or dtype.kind == "S":
        return np.array(cells, dtype=object)
    read: Callable[[str], Any] = {"b": "True".__eq__, "f": _number}.get(dtype.kind, int)
    return np.array(list(map(read, cells)), dtype=dtype)


def _number(cell: str) -> float:
    """A cell's number, NaN where it is missing.

    Raises:
        ValueError: it is no number; ``1_000``, which Python would read, is a name.
    """
    if "_" in cell:
        raise ValueError(cell)
    try:
        return float(cell)
    except ValueError:
        if cell.strip().lower() in MISSING:
            return float("nan")
        raise


# ---------------------------------------------------------------------------------------- head


def _lines(path: Path, stream: TextIO) -> Iterator[str]:
    """Lines, none of them without end."""
    while line := stream.readline(_LONGEST):
        if len(line) == _LONGEST:
            raise ImgturboError(
                f"{path}: has a line of more than {_LONGEST} characters; is it a table?"
            )
        yield line


def _head(path: Path, stream: TextIO) -> tuple[list[str], str]:
    """Comments before the line of names, and that line."""
    comments: list[str] = []
    with door(path, what="cannot be read as text", remedy="give a CSV, ECSV, FITS or HDF5 file"):
        for line in _lines(path, stream):
            if line.startswith("#") and len(comments) < _MOST_COMMENTS:
                comments.append(line)
            elif line.strip():
                if "\0" in line:
                    raise ValueError("a NUL byte")
                return comments, line
            else:
                comments.append(line)  # empty lines first are nothing
    raise ImgturboError(f"{path}: is empty; give a table with a line of names and rows")


def _delimiter(first: str, path: Path) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    return next((mark for mark in (",", ";", "\t") if mark in first), ",")


def _checked_names(path: Path, names: list[str]) -> list[str]:
    """Names that tell columns apart; one without a name, as pandas' index has, gets one."""
    if names and all(_is_number(name) for name in names):
        raise ImgturboError(
            f"{path}: its first line holds numbers, not the names of the columns; add a line of "
            "names"
        )
    named = [name or f"column {place}" for place, name in enumerate(names, start=1)]
    for name in named:
        if named.count(name) > 1:
            raise ImgturboError(
                f"{path}: {named.count(name)} columns are called {name}; rename all but one"
            )
    return named


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ecsv_header(path: Path, comments: list[str]) -> dict[str, Any]:
    with door(path, "its ECSV header", _REMEDY):
        lines = [line.removeprefix("#").removeprefix(" ").rstrip("\r\n") for line in comments[1:]]
        return yaml_header(lines)


def yaml_header(lines: Sequence[str]) -> dict[str, Any]:
    """What astropy writes of a table's columns: ``datatype``, a list of dictionaries, at least.

    Raises:
        ValueError: it is something else; or whatever YAML has against it.
    """
    from astropy.table.meta import get_header_from_yaml

    header: Any = get_header_from_yaml(lines)
    columns = header.get("datatype") if isinstance(header, dict) else None
    if not isinstance(columns, list) or not all(isinstance(c, dict) for c in columns):
        raise ValueError("it lists no columns")
    return header


def _declared(kind: str) -> np.dtype[Any]:
    """The type that an ECSV header names."""
    if kind == "string":
        return np.dtype("S1")
    if kind == "float128":  # wider than what is read
        return np.dtype(np.float64)
    if not re.fullmatch("bool|u?int(8|16|32|64)|float(16|32|64)|complex(64|128|256)", kind):
        raise ValueError(f"{kind!r} is none")
    return np.dtype(np.complex128) if kind.startswith("complex") else np.dtype(kind)


def _columns(
    path: Path, names: list[str], declared: list[dict[str, Any]] | None
) -> dict[str, Column]:
    if declared is None:
        return {name: Column(name) for name in names}
    said = [str(entry.get("name", "")) for entry in declared]
    if said != names:
        raise ImgturboError(
            f"{path}: its ECSV header describes the columns {shortened(', '.join(said))}, and its "
            f"line of names says {shortened(', '.join(names))}; {_REMEDY}"
        )
    columns = {}
    for name, entry in zip(names, declared, strict=True):
        kind, usable = str(entry.get("datatype", "string")), not entry.get("subtype")
        with door(path, f"the type of column {name}", _REMEDY):
            dtype = _declared(kind)
        unit = str(entry.get("unit") or "")
        columns[name] = Column(
            name, unit, dtype, str(entry.get("description") or ""), usable and dtype.kind != "c"
        )
    return columns
