"""Tables are written a block of rows at a time, and have their names when they are whole.

    with write_table(out, columns, meta) as table:      CSV, TSV, ECSV, FITS, HDF5, by the suffix
        table.write({"E": …, "pt": …})                  as often as there are blocks

Units and what is said of the table go into ECSV, FITS (TUNITn and cards) and HDF5 (as astropy
writes it); CSV and TSV have a place for names only. Floats are written in as many digits as give
them back bit for bit.
"""

from __future__ import annotations

import contextlib
import csv
import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from imgturbo.door import shortened
from imgturbo.errors import ImgturboError
from imgturbo.files import whole
from imgturbo.sky.blocks import BLOCK, Extent, extents
from imgturbo.tables.files import FORMATS, format_of
from imgturbo.tables.hdf5_table import require_h5py
from imgturbo.tables.reader import Column

__all__ = ["TableWriter", "check_writable", "write_table"]

_REMEDY = "free some space or choose another --out"
_DATASET = "data"
_LONGEST_NAME = 68  # of a column in FITS, a quotation mark counting twice


class TableWriter(ABC):
    """Writes rows of columns that are known from the start.

    Args:
        place: where the file grows.
        columns: what is written, in this order; each has a ``dtype``, text as bytes (``S8``).
        meta: of the table: numbers and texts by names of at most eight capitals, lists of lines
            under ``HISTORY``.
    """

    def __init__(self, place: Path, columns: Sequence[Column], meta: Mapping[str, Any]) -> None:
        self.place, self.columns, self.meta = place, list(columns), dict(meta)
        self.rows = 0

    def write(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Add rows: every column by its name, (n,) each."""
        arrays = [np.asarray(values[column.name]) for column in self.columns]
        if len({len(array) for array in arrays}) != 1:
            raise ValueError("columns of unlike lengths make no rows")
        if len(arrays[0]):
            self._write(arrays)
            self.rows += len(arrays[0])

    @abstractmethod
    def _write(self, arrays: list[NDArray[Any]]) -> None:
        """Add rows, one array a column."""

    @abstractmethod
    def close(self) -> None:
        """Write what only the end shows, and let go of the file."""

    def _empty(self) -> Any:
        """An astropy table of these columns without rows."""
        from astropy.table import Column as AstropyColumn
        from astropy.table import Table

        return Table(
            [
                AstropyColumn(
                    np.empty(0, _native(column)),
                    name=column.name,
                    unit=column.unit or None,
                    description=column.description or None,
                )
                for column in self.columns
            ],
            meta=self.meta,
        )


def _native(column: Column) -> np.dtype[Any]:
    assert column.dtype is not None
    return column.dtype


def _in_fits(column: Column) -> np.dtype[Any]:
    """The type in which FITS has it: its bytes are truths, or have no sign."""
    dtype = _native(column)
    return np.dtype(np.int16) if dtype == np.int8 else dtype


class _Text(TableWriter):
    """CSV and TSV, and ECSV, which begins with a header of its own."""

    def __init__(
        self, place: Path, columns: Sequence[Column], meta: Mapping[str, Any], kind: str
    ) -> None:
        super().__init__(place, columns, meta)
        self._stream: TextIO = place.open("w", encoding="utf-8", newline="")
        if kind == "ecsv":
            with _unit_words():
                self._stream.write(self._header())
        self._csv = csv.writer(
            self._stream, delimiter="\t" if kind == "tsv" else ",", lineterminator="\n"
        )
        if kind != "ecsv":
            self._csv.writerow(column.name for column in self.columns)

    def _header(self) -> str:
        text = io.StringIO()
        self._empty().write(text, format="ascii.ecsv", delimiter=",")
        return text.getvalue()

    def _write(self, arrays: list[NDArray[Any]]) -> None:
        self._csv.writerows(zip(*map(_cells, arrays), strict=True))

    def close(self) -> None:
        self._stream.close()


def _cells(values: NDArray[Any]) -> list[Any]:
    """Python's own values; float32 in as few digits as tell it from its neighbours."""
    if values.dtype.kind == "f" and values.dtype.itemsize < 8:
        return list(values.astype(np.str_).tolist())
    if values.dtype.kind == "S":
        return [value.decode("utf-8", "replace") for value in values.tolist()]
    return list(values.tolist())


class _Fits(TableWriter):
    """A FITS file with one binary table. astropy encodes each block; its rows are put together."""

    def __init__(self, place: Path, columns: Sequence[Column], meta: Mapping[str, Any]) -> None:
        super().__init__(place, columns, meta)
        self._lost: set[str] = set()  # columns of which letters were lost
        self._stream = place.open("wb")
        content, self._extent = self._encoded([np.empty(0, _in_fits(c)) for c in self.columns])
        self._stream.write(content[: self._extent.data])

    def _encoded(self, arrays: list[NDArray[Any]]) -> tuple[bytes, Extent]:
        """A whole file of these rows, and where its table lies."""
        from astropy.io import fits

        types = [(column.name, _in_fits(column)) for column in self.columns]
        rows = np.empty(len(arrays[0]), types)
        for column, values in zip(self.columns, arrays, strict=True):
            is_text = _native(column).kind == "S"
            rows[column.name] = self._letters(column.name, values) if is_text else values
        with _unit_words():
            table = fits.BinTableHDU(rows)
            for place, column in enumerate(self.columns, start=1):
                if column.unit:
                    table.header[f"TUNIT{place}"] = _plain(column.unit)
            for key, value in self.meta.items():
                for one in value if isinstance(value, list) else [value]:
                    table.header.append((key, _plain(one)), end=True)
            buffer = io.BytesIO()
            fits.HDUList([fits.PrimaryHDU(), table]).writeto(buffer)
        content = buffer.getvalue()
        return content, extents(io.BytesIO(content), len(content), str(self.place))[1]

    def _letters(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """Texts as FITS has them, which knows ASCII alone; says so where that loses anything."""
        if name not in self._lost and not all(str(value).isascii() for value in values.tolist()):
            self._lost.add(name)
            warnings.warn(
                f"column {name}: letters that FITS has not are written as ?; write .ecsv or .h5 to "
                "keep them",
                stacklevel=2,
            )
        return _bytes(values, "ascii")

    def _write(self, arrays: list[NDArray[Any]]) -> None:
        content, extent = self._encoded(arrays)
        self._stream.write(content[extent.data : extent.data + extent.size])

    def close(self) -> None:
        end = self._stream.tell()
        self._stream.write(bytes(-end % BLOCK))
        with self.place.open("rb") as written:
            self._stream.flush()
            head = written.read(self._extent.data)
        card = head.index(b"NAXIS2  =", BLOCK)
        self._stream.seek(card)
        self._stream.write(f"NAXIS2  = {self.rows:>20}".encode())
        self._stream.close()


class _Hdf5(TableWriter):
    """HDF5 as astropy reads it: a compound dataset, its units in YAML beside it."""

    def __init__(self, place: Path, columns: Sequence[Column], meta: Mapping[str, Any]) -> None:
        super().__init__(place, columns, meta)
        h5py = require_h5py(place)
        self._file = h5py.File(place, "w")
        with _unit_words():
            self._empty().write(
                self._file, format="hdf5", path=_DATASET, serialize_meta=True,
                maxshape=(None,), chunks=(1 << 12,),
            )  # fmt: skip
        self._dataset = self._file[_DATASET]

    def _write(self, arrays: list[NDArray[Any]]) -> None:
        rows = np.empty(len(arrays[0]), self._dataset.dtype)
        for column, values in zip(self.columns, arrays, strict=True):
            rows[column.name] = _bytes(values, "utf-8") if _native(column).kind == "S" else values
        self._dataset.resize(self.rows + len(rows), axis=0)
        self._dataset[self.rows :] = rows

    def close(self) -> None:
        self._file.close()


_ALIKE = str.maketrans({"µ": "u", "μ": "u", "Å": "Angstrom", "°": "deg"})


def _plain(value: Any) -> Any:
    """Words that a FITS header can hold: ASCII that prints."""
    if not isinstance(value, str):
        return value
    plain = value.translate(_ALIKE).encode("ascii", "replace").decode()
    return "".join(letter if letter.isprintable() else "?" for letter in plain)


def _bytes(values: NDArray[Any], encoding: str) -> NDArray[Any]:
    if values.dtype.kind == "S":
        return values
    return np.array([str(value).encode(encoding, "replace") for value in values.tolist()], "S")


@contextlib.contextmanager
def _unit_words() -> Iterator[None]:
    """Without astropy's word on units that it does not know: they are written as they came."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_writable(out: Path | str) -> str:
    """The format of a table that is to be written, before any work.

    Raises:
        ImgturboError: the name says none, or none that is written; h5py is not installed.
    """
    out = Path(out)
    kind = format_of(out)
    if kind is None or out.suffix.lower() not in FORMATS[kind]:
        raise ImgturboError(
            f"{out}: tables are written as .csv, .tsv, .ecsv, .fits or .h5; choose one of these"
        )
    if kind == "hdf5":
        require_h5py(out)
    return kind


def _check_names(out: Path, columns: Sequence[Column]) -> None:
    """Refuse names that no FITS header can hold."""
    for column in columns:
        quoted = len(column.name) + column.name.count("'")
        if quoted > _LONGEST_NAME or _plain(column.name) != column.name:
            raise ImgturboError(
                f"{out}: column {shortened(column.name)}: FITS has names of {_LONGEST_NAME} plain "
                "characters at most; rename the column, or write .ecsv or .h5"
            )


@contextlib.contextmanager
def write_table(
    out: Path | str,
    columns: Sequence[Column],
    meta: Mapping[str, Any] | None = None,
    remedy: str = _REMEDY,
) -> Iterator[TableWriter]:
    """Give a writer of a table, which becomes ``out`` when the block ends well.

    Args:
        out: the file; its suffix says the format.
        columns: what is written, each with a ``dtype``; text as bytes (``S8``).
        meta: see :class:`TableWriter`.
        remedy: what to do if it cannot be written.

    Raises:
        ImgturboError: it cannot be written; what was there before is still there.
    """
    kind = check_writable(out)
    if kind == "fits":
        _check_names(Path(out), columns)
    makers: dict[str, type[TableWriter]] = {"fits": _Fits, "hdf5": _Hdf5}
    with whole(out, remedy) as aside:
        if kind in makers:
            writer = makers[kind](aside, columns, meta or {})
        else:
            writer = _Text(aside, columns, meta or {}, kind)
        try:
            yield writer
        finally:
            writer.close()
