"""Tables in HDF5, which has none of its own. Three layouts are read.

A compound dataset is what astropy writes, with units beside it in YAML, and of a column that lacks
cells which they are in ``NAME.mask`` beside ``NAME``. Else datasets of one column each of the same
length; or two-dimensional ones, whose columns are called ``NAME_1``, ``NAME_2``, …
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.door import door, room_for
from imgturbo.errors import ImgturboError
from imgturbo.tables.binary_file import AGAIN, BinaryTable
from imgturbo.tables.reader import Column, listed
from imgturbo.tables.text_file import yaml_header
from imgturbo.trial import try_out

__all__ = ["Hdf5Table", "require_h5py"]

_Types = dict[str, np.dtype[Any]]

_META = "__table_column_meta__"
_MASK = ".mask"  # after the name of a column, of the one in which astropy says what is missing


class Hdf5Table(BinaryTable):
    """The table of an HDF5 file, open; see the module's page for what counts as one.

    Args:
        path: of the file.

    Raises:
        ImgturboError: no HDF5, damaged, without a table or with several; h5py is not installed.
    """

    def __init__(self, path: Path) -> None:
        h5py = require_h5py(path)
        super().__init__(path)
        self.meta = {}
        with door(path, remedy="give a table in HDF5, or get it again", what="cannot be opened"):
            try_out(path)
            self._file = h5py.File(path, "r")
        try:
            with door(path, remedy=AGAIN):
                datasets: list[Any] = []
                self._file.visititems(
                    lambda _, item: (
                        datasets.append(item) if isinstance(item, h5py.Dataset) else None
                    )
                )
                if not all(isinstance(dataset.name, str) for dataset in datasets):
                    raise ValueError("a dataset has a name that is no text")
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
        types, units = self._compound(compound[0], meta) if compound else self._flat(datasets)
        held = {id(dataset): dataset for dataset, _ in self._sources.values()}.values()
        if self._length and not all(dataset.id.get_storage_size() for dataset in held):
            raise ImgturboError(
                f"{self.path}: of its {self._length} rows none was ever written; {AGAIN}"
            )
        for dataset in held:
            _check_size(dataset)
        self._masks = {
            name: mask
            for name in types
            if (mask := f"{name}{_MASK}") in types and types[mask].kind == "b"
        }
        self.columns = {
            name: Column(name, units.get(name, ""), dtype, "", _usable(dtype))
            for name, dtype in types.items()
            if name not in self._masks.values()
        }
        row = sum(dtype.itemsize for dtype in types.values())
        room_for(2 * row, self.path, "a row", AGAIN)

    def _compound(self, table: Any, meta: list[Any]) -> tuple[_Types, dict[str, str]]:
        """Types and units of a dataset of rows with named fields."""
        self._sources = {name: (table, name) for name in table.dtype.names}
        self._length = table.shape[0]
        units = _yaml_units(next((d for d in meta if d.name == f"{table.name}.{_META}"), None))
        return {name: table.dtype[name] for name in table.dtype.names}, units

    def _flat(self, datasets: list[Any]) -> tuple[_Types, dict[str, str]]:
        """Types and units of datasets that are columns, or several side by side."""
        flat = [d for d in datasets if d.ndim <= 2 and d.dtype.kind in "iufbSO"]
        lengths = sorted({d.shape[0] for d in flat})
        if not flat or len(lengths) > 1:
            what = f"columns of unlike lengths {lengths[:4]}" if flat else "no table"
            raise ImgturboError(
                f"{self.path}: holds {what}; give a compound dataset, or columns of one length"
            )
        types: _Types = {}
        units: dict[str, str] = {}
        self._length = lengths[0]
        for dataset in flat:
            for name, place in _names_of(dataset):
                self._sources[name], types[name] = (dataset, place), dataset.dtype
                unit = dataset.attrs.get("unit", dataset.attrs.get("units", ""))
                units[name] = unit.decode() if isinstance(unit, bytes) else str(unit)
        if len(self._sources) != sum(len(_names_of(d)) for d in flat):
            raise ImgturboError(f"{self.path}: several columns have one name; rename them")
        return types, units

    def _may_lack(self, name: str) -> bool:
        return name in self._masks

    def _part(self, rows: slice) -> Callable[[str], NDArray[Any]]:
        read: dict[str, Any] = {}

        def column(name: str) -> NDArray[Any]:
            values = stored(name)
            if name not in self._masks:
                return values
            return np.ma.MaskedArray(values, stored(self._masks[name]))

        def stored(name: str) -> NDArray[Any]:
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


def _check_size(dataset: Any) -> None:
    """Refuse a dataset whose rows are not as wide as the bytes that it has: it would read others.

    Raises:
        ValueError: what it has and what it needs.
    """
    if dataset.chunks is not None or dataset.external or dataset.dtype.hasobject:
        return  # words of any length lie elsewhere
    needed = math.prod(dataset.shape) * dataset.id.get_type().get_size()
    if dataset.id.get_storage_size() != needed:
        has = f"{dataset.name} has {dataset.id.get_storage_size()} bytes"
        raise ValueError(f"{has}, and its shape and type need {needed}")


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
    if dataset is None:
        return {}
    lines = [line.decode() if isinstance(line, bytes) else str(line) for line in dataset[:]]
    columns = yaml_header(lines)["datatype"]
    return {str(column.get("name")): str(column.get("unit") or "") for column in columns}


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
