"""Tables that are binary: FITS tables and HDF5, of which any block of rows can be had at once.

HDF5 has no tables of its own. Three layouts are read: a compound dataset (what astropy writes, with
units beside it in YAML), datasets of one column each of the same length, and two-dimensional
datasets, whose columns are called ``NAME_1``, ``NAME_2``, …
"""

from __future__ import annotations

import contextlib
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.door import door, room_for
from imgturbo.errors import ImgturboError
from imgturbo.sky.blocks import extents
from imgturbo.sky.packed import open_unpacked
from imgturbo.tables.reader import Block, Column, TableReader, listed

__all__ = ["FitsTable", "Hdf5Table", "require_h5py"]

_AGAIN = "get it again"
_META = "__table_column_meta__"


class _BinaryTable(TableReader):
    """A table of which rows can be read at any place."""

    _length: int

    @property
    def length(self) -> int:
        """How many rows there are."""
        return self._length

    @abstractmethod
    def _part(self, rows: slice) -> Callable[[str], NDArray[Any]]:
        """These rows; gives each column by its name, masked where it says so."""

    def types(self, names: Sequence[str]) -> dict[str, np.dtype[Any]]:
        """Types of some columns, as the file says them; text of any length is looked at."""
        self.require(names)
        found = {}
        for name in names:
            dtype = self.columns[name].dtype
            assert dtype is not None
            if dtype.kind == "O":
                dtype = np.dtype(f"S{self._longest(name)}")
            found[name] = np.dtype(f"S{dtype.itemsize // 4}") if dtype.kind == "U" else dtype
        return found

    def _longest(self, name: str) -> int:
        blocks = self._read([], [name], 1 << 15, True)
        return max((len(str(v).encode()) for b in blocks for v in b.kept[name]), default=1) or 1

    def _read(
        self, numbers: Sequence[str], kept: Sequence[str], rows: int, typed: bool
    ) -> Iterator[Block]:
        for first in range(0, self._length, rows):
            part = slice(first, min(first + rows, self._length))
            n = part.stop - first
            with door(self.path, f"rows {first + 1} to {part.stop}", _AGAIN):
                column = self._part(part)
                values = np.empty((n, len(numbers)))
                for place, name in enumerate(numbers):
                    values[:, place] = np.ma.filled(np.ma.asarray(column(name), float), np.nan)
                taken = {name: _text(column(name)) for name in kept}
            self.share = part.stop / self._length
            yield Block(first, values, taken)


def _text(values: NDArray[Any]) -> NDArray[Any]:
    """Bytes and texts of any kind as texts; other values as they are."""
    if values.dtype.kind == "S":
        return np.array([v.decode("utf-8", "replace") for v in values.tolist()], dtype=object)
    if values.dtype.kind in "UO":
        texts = (v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values)
        return np.array([str(v).rstrip() for v in texts], dtype=object)
    if isinstance(values, np.ma.MaskedArray):
        return np.asarray(values.filled(np.nan if values.dtype.kind == "f" else 0))
    return values


class FitsTable(_BinaryTable):
    """The first table of a FITS file that has any rows or columns, open.

    Args:
        path: of the file, packed or not.

    Raises:
        ImgturboError: no FITS, shorter than its headers say, damaged, or without a table.
    """

    def __init__(self, path: Path) -> None:
        from astropy.io import fits

        self.path = path
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
            with door(path, place.cards.where.removeprefix(f"{path}: "), _AGAIN), _quiet():
                opened = self._held.enter_context(
                    contextlib.closing(fits.open(stream, memmap=True, lazy_load_hdus=False))
                )
                self._hdu = opened[place.number]
                self._length = int(self._hdu.header["NAXIS2"])
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

    def _part(self, rows: slice) -> Callable[[str], NDArray[Any]]:
        with _quiet():
            data = self._hdu.data[rows]

        def column(name: str) -> NDArray[Any]:
            with _quiet():
                values = np.asarray(data.field(name))
            if len(values) != rows.stop - rows.start:
                raise ValueError(f"of {rows.stop - rows.start} rows {len(values)} are there")
            null = self._hdu.columns[name].null
            if null is not None and values.dtype.kind in "iu":
                return np.ma.masked_equal(values, int(null))
            return values

        return column

    def close(self) -> None:
        """Let go of the file."""
        self._held.close()


def _fits_column(column: Any) -> tuple[str, Column]:
    dtype = column.dtype
    scaled = column.bscale not in (None, "", 1) or (column.bzero not in (None, "", 0))
    usable = not dtype.shape and dtype.base.kind in "iufbSU" and not column.dim
    kind = str(column.format).lstrip("0123456789")[:1]
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


class Hdf5Table(_BinaryTable):
    """The table of an HDF5 file, open; see the module's page for what counts as one.

    Args:
        path: of the file.

    Raises:
        ImgturboError: no HDF5, damaged, without a table or with several; h5py is not installed.
    """

    def __init__(self, path: Path) -> None:
        h5py = require_h5py(path)
        self.path, self.meta = path, {}
        with door(path, remedy="give a table in HDF5, or get it again", what="cannot be opened"):
            self._file = h5py.File(path, "r")
        try:
            with door(path, remedy=_AGAIN):
                datasets: list[Any] = []
                self._file.visititems(
                    lambda _, item: (
                        datasets.append(item) if isinstance(item, h5py.Dataset) else None
                    )
                )
                meta = [d for d in datasets if d.name.endswith(_META)]
                datasets = [d for d in datasets if d not in meta and d.ndim]
                self._find(datasets, meta)
        except BaseException:
            self._file.close()
            raise

    def _find(self, datasets: list[Any], meta: list[Any]) -> None:
        """Which datasets are the table's columns."""
        compound = [d for d in datasets if d.dtype.names and d.ndim == 1]
        if len(compound) > 1:
            named = listed([d.name for d in compound])
            raise ImgturboError(f"{self.path}: holds several tables ({named}); keep one in a file")
        self._sources: dict[str, tuple[Any, Any]] = {}
        if compound:
            (table,) = compound
            self._sources = {name: (table, name) for name in table.dtype.names}
            types = {name: table.dtype[name] for name in table.dtype.names}
            self._length = table.shape[0]
            units = _yaml_units(next((d for d in meta if d.name == f"{table.name}.{_META}"), None))
        else:
            flat = [d for d in datasets if d.ndim <= 2 and d.dtype.kind in "iufbSO"]
            lengths = sorted({d.shape[0] for d in flat})
            if not flat or len(lengths) > 1:
                what = f"columns of unlike lengths {lengths[:4]}" if flat else "no table"
                raise ImgturboError(
                    f"{self.path}: holds {what}; give a compound dataset, or columns of one length"
                )
            self._length, types, units = lengths[0], {}, {}
            for dataset in flat:
                for name, place in _names_of(dataset):
                    self._sources[name], types[name] = (dataset, place), dataset.dtype
                    unit = dataset.attrs.get("unit", dataset.attrs.get("units", ""))
                    units[name] = unit.decode() if isinstance(unit, bytes) else str(unit)
            if len(self._sources) != sum(len(_names_of(d)) for d in flat):
                raise ImgturboError(f"{self.path}: several columns have one name; rename them")
        held = {id(dataset): dataset for dataset, _ in self._sources.values()}.values()
        if self._length and not all(dataset.id.get_storage_size() for dataset in held):
            raise ImgturboError(
                f"{self.path}: of its {self._length} rows none was ever written; {_AGAIN}"
            )
        self.columns = {
            name: Column(name, units.get(name, ""), dtype, "", _usable(dtype))
            for name, dtype in types.items()
        }
        row = sum(dtype.itemsize for dtype in types.values())
        room_for(2 * row, self.path, "a row", _AGAIN)

    def _part(self, rows: slice) -> Callable[[str], NDArray[Any]]:
        read: dict[str, Any] = {}

        def column(name: str) -> NDArray[Any]:
            dataset, place = self._sources[name]
            if dataset.name not in read:
                read[dataset.name] = dataset[rows]
            values = read[dataset.name]
            if place is None:
                return np.asarray(values)
            return np.asarray(values[place] if isinstance(place, str) else values[:, place])

        return column

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _usable(dtype: np.dtype[Any]) -> bool:
    return not dtype.shape and dtype.kind in "iufbSO"


def _names_of(dataset: Any) -> list[tuple[str, int | None]]:
    """Columns of a dataset, and their places in it."""
    name = dataset.name.strip("/").rsplit("/", 1)[-1]
    if dataset.ndim == 1:
        return [(name, None)]
    return [(f"{name}_{place + 1}", place) for place in range(dataset.shape[1])]


def _yaml_units(dataset: Any) -> dict[str, str]:
    """Units that astropy has put beside a table."""
    from astropy.table.meta import get_header_from_yaml

    if dataset is None:
        return {}
    lines = [line.decode() if isinstance(line, bytes) else str(line) for line in dataset[:]]
    header = get_header_from_yaml(lines)
    return {str(c.get("name")): str(c.get("unit") or "") for c in header.get("datatype", [])}


def require_h5py(path: Path) -> Any:
    """The library for HDF5, if it is installed.

    Raises:
        ImgturboError: it is not, and how to get it.
    """
    try:
        import h5py
    except ImportError:
        raise ImgturboError(
            f"{path}: HDF5 needs the package h5py; install imgturbo[hdf5], or use FITS or ECSV"
        ) from None
    return h5py


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what astropy has to say on units and cards that nobody asked for."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
