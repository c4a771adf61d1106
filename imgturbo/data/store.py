"""The tile store: N rows of z (source) and x (target), ready for a network, in one Zarr v3 group.

A row is one piece of sky. It holds z, x, or both; where it holds both on the same sky it is a
*pair*. Values are stretched already and 0 where the mask says "not measured", so that a reader
needs nothing but this group: the stretches, bands and units of both sides, and the whole recipe
of how the tiles were made, are attributes of it.

Its columns are those of :mod:`imgturbo.data.layout`. Tiles lie in chunks of one tile or a few (a
random row costs one chunk) within shards of some 32 MB (few files). Each chunk carries a CRC32C;
``files.json`` lists all files (:mod:`imgturbo.data.stored`).
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from imgturbo.data.layout import DTYPES, HEAVY, SPLITS, SplitName, Tiles, TileSpec
from imgturbo.data.rows import Rows
from imgturbo.data.stored import (
    AGAIN,
    FORMAT,
    chunk_files,
    list_files,
    read_attributes,
    read_list,
    refuse_other_shape,
)
from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.files import aside_of, naming, put_in_place, remove, sha256
from imgturbo.side import Kind, Side, SideSchema

__all__ = [
    "FORMAT",
    "Rows",
    "Split",
    "TileSpec",
    "TileStore",
    "TileWriter",
    "Tiles",
    "require_replaceable",
]

_CHUNK_BYTES = 256 << 10
_SHARD_BYTES = 32 << 20


class Split:
    """The rows of one region of the sky: ``train`` or ``validation``.

    ``source``, ``target`` and their masks are :class:`Rows`; ``paired``, ``has_source``,
    ``has_target``, ``sky``, ``position``, ``residual`` and ``field`` are plain arrays.

    Raises:
        ImgturboError: an array or part of it is missing or damaged, or they contradict each other.
    """

    def __init__(
        self, store: TileStore, name: SplitName, arrays: dict[str, zarr.Array[Any]]
    ) -> None:
        self.name = name
        self.field_names, self._of_tables = store.fields, store.tile is None
        for column, array in arrays.items():
            rows = store.rows(f"{name}/{column}", array)
            setattr(self, column, rows if column in HEAVY else rows.whole())
        self._refuse_contradictions(store.path)
        if not store.listed:
            self._refuse_gaps(store.path, arrays)

    source: Rows
    target: Rows
    source_valid: Rows
    target_valid: Rows
    has_source: NDArray[np.bool_]
    has_target: NDArray[np.bool_]
    paired: NDArray[np.bool_]
    sky: NDArray[np.float64]
    position: NDArray[np.int32]
    residual: NDArray[np.float32]
    field: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.paired)

    def label(self, row: int) -> str:
        """The row in words, for error messages: ``field cosmos, y 128, x 0``; of a table, which
        row of which file it was."""
        y, x = self.position[row]
        if self._of_tables:
            return f"{self.name} row {row} (row {y + 1} of {self.field_names[self.field[row]]})"
        return f"{self.name} row {row} (field {self.field_names[self.field[row]]}, y {y}, x {x})"

    def _refuse_contradictions(self, path: Path) -> None:
        held = self.has_source | self.has_target
        if not held.all() or (self.paired != (self.has_source & self.has_target)).any():
            raise ImgturboError(
                f"{path}: {self.name} does not agree which rows hold a side: part of has_source, "
                f"has_target or paired is missing; {AGAIN}"
            )
        if ((self.field < 0) | (self.field >= len(self.field_names))).any():
            raise ImgturboError(
                f"{path}: {self.name}/field points beyond the {len(self.field_names)} fields that "
                f"there are; {AGAIN}"
            )

    def _refuse_gaps(self, path: Path, arrays: dict[str, zarr.Array[Any]]) -> None:
        """Of a store without a list: a side that a row holds is somewhere."""
        for side in ("source", "target"):
            held: NDArray[np.bool_] = getattr(self, f"has_{side}")
            for column in (side, f"{side}_valid"):
                for file, rows in chunk_files(f"{self.name}/{column}", arrays[column]):
                    if held[rows].any() and not (path / file).is_file():
                        raise ImgturboError(f"{path}: {file} is missing; {AGAIN}")


class TileStore:
    """A finished store, opened for reading. See the module for its layout.

    Args:
        path: folder of the store.
        cache_bytes: a store whose arrays are smaller than this is kept in memory once read.
    """

    def __init__(self, path: Path | str, cache_bytes: int = 2 << 30) -> None:
        self.path = Path(path)
        self._attributes, self.attrs = read_attributes(self.path)
        self._files = read_list(self.path, self._attributes)
        self._arrays: dict[str, dict[str, zarr.Array[Any]]] = {}
        with door(self.path, remedy=AGAIN):
            group = zarr.open_group(self.path, mode="r", zarr_format=3)
        for name in SPLITS:
            with door(self.path, name, AGAIN):
                found = {column: group[f"{name}/{column}"] for column in DTYPES}
            self._arrays[name] = self._checked(name, found)
        arrays = [array for split in self._arrays.values() for array in split.values()]
        self._cached = sum(int(array.nbytes) for array in arrays) <= cache_bytes
        self._splits: dict[str, Split] = {}

    def _checked(self, name: str, found: dict[str, Any]) -> dict[str, zarr.Array[Any]]:
        """The arrays of a split, each of its shape, and all of their files listed."""
        spec = TileSpec(self.tile, self.source, self.target, tuple(self.fields), self.recipe)
        count = getattr(found["paired"], "shape", ())[:1]
        arrays = {}
        for column, array in found.items():
            shape = (*count, *spec.shape(column))
            where = f"{name}/{column}"
            arrays[column] = refuse_other_shape(self.path, where, array, shape, DTYPES[column])
            if self._files is None:
                continue
            for file, _ in chunk_files(where, arrays[column]):
                if file not in self._files:
                    raise ImgturboError(f"{self.path}: {file} is not listed; {AGAIN}")
        return arrays

    def rows(self, name: str, array: zarr.Array[Any]) -> Rows:
        """An array of the store, to be read; ``name`` is such as ``train/source``."""
        files = self._files or {}
        own = {file: files[file] for file, _ in chunk_files(name, array) if file in files}
        return Rows(array, name, self.path, self._cached, own)

    @classmethod
    def open(cls, path: Path | str, cache_bytes: int = 2 << 30) -> TileStore:
        """Open a finished store.

        Raises:
            ImgturboError: there is none, it is something else, it is incomplete, or of another
                format.
        """
        return cls(path, cache_bytes)

    @staticmethod
    def create(path: Path | str, spec: TileSpec) -> TileWriter:
        """Begin a store. It appears at ``path`` when the writer is closed, whole, or not at all."""
        return TileWriter(Path(path), spec)

    @property
    def listed(self) -> bool:
        """Whether it knows its files and has checksums; stores of version 0.1.0 do not."""
        return self._files is not None

    @property
    def tile(self) -> int | None:
        """Side of a tile in pixels; None for a table of numbers."""
        return self._attributes.tile

    @property
    def source(self) -> Side | None:
        """The source side; None if absent."""
        return self._side(self._attributes.source)

    @property
    def target(self) -> Side | None:
        """The target side; None if absent."""
        return self._side(self._attributes.target)

    def _side(self, schema: SideSchema | None) -> Side | None:
        kind: Kind = "table" if self.tile is None else "image"
        return None if schema is None else schema.side(kind)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of the attributes, the recipe among them."""
        said = {key: value for key, value in self.attrs.items() if key != "listed"}
        return sha256(json.dumps(said, sort_keys=True).encode())[:16]

    @property
    def recipe(self) -> dict[str, Any]:
        """How the store was made: inputs with checksums, registrations, config."""
        return self._attributes.recipe

    @property
    def fields(self) -> list[str]:
        """Names of the patches of sky."""
        return self._attributes.fields

    def split(self, name: SplitName) -> Split:
        """The rows of ``train`` or ``validation``."""
        if name not in self._splits:
            self._splits[name] = Split(self, name, self._arrays[name])
        return self._splits[name]


def require_replaceable(path: Path) -> None:
    """An older tile store may be replaced by a new one; nothing else is ever overwritten."""
    if path.exists():
        try:
            read_attributes(path)
        except ImgturboError as error:
            raise ImgturboError(
                f"{error}; it is not overwritten: move it or name another"
            ) from None


class TileWriter:
    """Writes a store aside and puts it in place when closed; a context manager.

    Leaving the ``with`` block by an exception removes what was written and leaves an older store
    at the same path as it was.
    """

    def __init__(self, path: Path, spec: TileSpec) -> None:
        self.path = path
        self.spec = spec
        self._part = aside_of(path)
        self._waiting: dict[str, dict[str, list[NDArray[Any]]]] = {
            split: {column: [] for column in DTYPES} for split in SPLITS
        }
        require_replaceable(path)
        with self._naming():
            path.parent.mkdir(parents=True, exist_ok=True)
            remove(self._part)
            self._group = zarr.open_group(self._part, mode="w", zarr_format=3)
            self._group.attrs.update(self._attrs(complete=False))
            self._arrays: dict[str, dict[str, zarr.Array[Any]]] = {}
            self._shard_rows = self._create_arrays()

    def _attrs(self, complete: bool) -> dict[str, Any]:
        spec = self.spec
        return {
            "format": FORMAT,
            "complete": complete,
            "tile": spec.tile,
            "source": spec.source and spec.source.to_dict(),
            "target": spec.target and spec.target.to_dict(),
            "fields": list(spec.fields),
            "recipe": spec.recipe,
            "listed": True,
        }

    def _create_arrays(self) -> int:
        """Make the empty arrays; returns how many rows a shard holds."""
        row_bytes = 4 * max(int(np.prod(self.spec.shape(s))) for s in ("source", "target"))
        chunk = max(1, _CHUNK_BYTES // max(row_bytes, 1))
        shard = chunk * max(1, _SHARD_BYTES // max(chunk * row_bytes, 1))
        for split in SPLITS:
            group, arrays = self._group.create_group(split), {}
            for column, dtype in DTYPES.items():
                shape = self.spec.shape(column)
                inner = tuple(max(n, 1) for n in shape)
                arrays[column] = group.create_array(
                    column,
                    shape=(0, *shape),
                    dtype=dtype,
                    chunks=(chunk if column in HEAVY else shard, *inner),
                    shards=(shard, *inner) if column in HEAVY else None,
                    compressors=[ZstdCodec(level=0), Crc32cCodec()],
                    config={"write_empty_chunks": True},  # what is missing then is lost
                )
            self._arrays[split] = arrays
        return shard

    def _naming(self) -> AbstractContextManager[None]:
        remedy = "free some space or choose another 'prepare.out'"
        return naming(self.path, remedy, "the tile store cannot be written")

    def append(self, split: SplitName, tiles: Tiles) -> None:
        """Add rows to a split. Shards are written whole, so some rows wait in memory."""
        for column, values in tiles.columns().items():
            expected = (len(tiles), *self.spec.shape(column))
            if values is None:
                values = np.zeros(expected, DTYPES[column])
            if values.shape != expected:
                raise ValueError(f"{column} has shape {values.shape}, the store needs {expected}")
            self._waiting[split][column].append(values.astype(DTYPES[column], copy=False))
        waiting = sum(map(len, self._waiting[split]["paired"]))
        self._flush(split, waiting - waiting % self._shard_rows)

    def _flush(self, split: SplitName, rows: int) -> None:
        """Write the first ``rows`` of those that wait."""
        if rows == 0:
            return
        for column, waiting in self._waiting[split].items():
            values = np.concatenate(waiting)
            array = self._arrays[split][column]
            with self._naming():
                if values.size:
                    array.append(values[:rows])
                else:  # a side without channels
                    array.resize((array.shape[0] + rows, *array.shape[1:]))
            waiting[:] = [values[rows:].copy()]

    def close(self) -> None:
        """Write what waits, mark the store complete, and put it in place."""
        for split in SPLITS:
            self._flush(split, sum(map(len, self._waiting[split]["paired"])))
        with self._naming():
            # Once more, whole: a recipe may end with what only the writing has shown.
            self._group.attrs.update(self._attrs(complete=True))
            list_files(self._part)
            put_in_place(self._part, self.path)

    def __enter__(self) -> TileWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            remove(self._part)
