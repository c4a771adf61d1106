"""What a tile store says of itself, and whether all of it is there.

    zarr.json     the group's attributes: format, sides, fields, recipe
    files.json    every file of the store with its size and SHA-256, written when it was whole

Zarr reads a chunk that is not there as zeros. So every chunk is written, zeros too, and every file
is listed: what is missing, cut or changed shows when the store is opened (sizes, and the hashes of
its descriptions), when an array is read whole (its hash), or when a row is read (a CRC32C a chunk).

Stores of version 0.1.0 have no list and no checksums, and left out what is zero. Of them is known
that each row holds a side, that a pair holds both, and that a side which a row holds is somewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

import zarr
from pydantic import Field, model_validator

from imgturbo.door import Schema, door, room_for, typed
from imgturbo.errors import ImgturboError
from imgturbo.files import write_durably
from imgturbo.listing import Entry, read_file
from imgturbo.side import SideSchema

__all__ = [
    "AGAIN",
    "FORMAT",
    "Attributes",
    "chunk_files",
    "list_files",
    "read_attributes",
    "read_list",
    "refuse_other_shape",
]

FORMAT = 1
"""Version of the layout; a store of another version is refused, never guessed at."""

AGAIN = "get the tiles again, or prepare them again"
_ATTRIBUTES, _LIST = "zarr.json", "files.json"


class _Stamp(Schema):
    format: int
    complete: bool


class _Stamped(Schema):
    attributes: _Stamp


class Attributes(_Stamp):
    """The attributes of a store; see :class:`imgturbo.data.store.TileSpec` for what they mean."""

    tile: int | None = Field(ge=1, le=1 << 20)
    source: SideSchema | None
    target: SideSchema | None
    fields: list[str]
    recipe: dict[str, Any]
    listed: bool = False
    factor: int = Field(1, ge=1, le=1 << 10)

    @model_validator(mode="after")
    def _tiles_have_whole_pixels(self) -> Attributes:
        if self.factor > 1 and (self.tile or 1) % self.factor:
            raise ValueError(f"tiles of {self.tile} pixels have no {self.factor} times wider ones")
        return self


class _Described(Schema):
    attributes: Attributes


_NAME = r"^(zarr\.json|(train|validation)/(zarr\.json|[a-z_]+/(zarr\.json|c(/[0-9]+)+)))$"
_Name = Annotated[str, Field(pattern=_NAME)]


class _List(Schema):
    format: Literal[1]
    files: dict[_Name, Entry]


# --------------------------------------------------------------------------------- descriptions


def read_attributes(path: Path) -> tuple[Attributes, dict[str, Any]]:
    """The attributes of a complete store of this format, and the same as they are written.

    Raises:
        ImgturboError: there is none, it is something else, incomplete, damaged, or of another
            format.
    """
    makes = "'imgturbo prepare' makes one from FITS files or pictures"
    file = path / _ATTRIBUTES
    with door(path, remedy=makes, what="cannot be looked at"):
        if not path.exists():
            raise ImgturboError(f"{path}: no such tile store; make one with 'imgturbo prepare'")
        if not file.is_file():
            raise ImgturboError(f"{path}: not a tile store; {makes}")
    text = read_file(path, _ATTRIBUTES, makes)
    stamp = typed(_Stamped, text, file, f"if it was a tile store, {AGAIN}").attributes
    if stamp.format != FORMAT:
        raise ImgturboError(
            f"{path}: a tile store of format {stamp.format}, this imgturbo reads format {FORMAT}; "
            "prepare the tiles again with this version"
        )
    if not stamp.complete:
        raise ImgturboError(f"{path}: the tile store is incomplete; run 'imgturbo prepare' again")
    attributes = typed(_Described, text, file, AGAIN).attributes
    with door(file, remedy=AGAIN):
        raw: dict[str, Any] = json.loads(text)["attributes"]
    return attributes, raw


def read_list(path: Path, attributes: Attributes) -> dict[str, Entry] | None:
    """What files the store has, once it is certain that they are there in their size.

    Args:
        path: of the store.
        attributes: its own, which say whether there is a list.

    Returns:
        None for a store that is older than lists.

    Raises:
        ImgturboError: the list or a file is missing or damaged.
    """
    if not attributes.listed:
        with door(path, remedy=AGAIN, what="cannot be looked at"):
            for file in path.rglob("*"):
                if not file.is_file() and not file.is_dir():  # zarr reads a dead link as zeros
                    inner = file.relative_to(path)
                    raise ImgturboError(f"{path}: {inner} is missing, or no file; {AGAIN}")
        return None
    text = read_file(path, _LIST, AGAIN)
    files = typed(_List, text, path / _LIST, AGAIN).files
    for name, entry in files.items():
        entry.check(path, name, AGAIN, content=name.endswith(_ATTRIBUTES))
    return files


def list_files(path: Path) -> None:
    """Write the list of a store that is whole.

    Raises:
        OSError: it cannot be written.
    """
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*"))
    own = [name for name in names if re.match(_NAME, name) and (path / name).is_file()]
    files = {name: Entry.of(path / name).model_dump() for name in own}
    text = json.dumps({"format": 1, "files": files}, indent=0) + "\n"
    write_durably(path / _LIST, text.encode())


# ---------------------------------------------------------------------------------------- arrays


def refuse_other_shape(
    path: Path,
    name: str,
    array: object,
    shape: tuple[int, ...],
    dtype: str,
) -> zarr.Array[Any]:
    """The array, if it is one, of the shape and the type that it must have.

    Args:
        path: of the store.
        name: of the array, such as ``train/source``.
        array: what zarr found there.
        shape: that it must have.
        dtype: the same.

    Raises:
        ImgturboError: it is something else.
    """
    if not isinstance(array, zarr.Array):
        raise ImgturboError(f"{path}: {name} is no array; {AGAIN}")
    if array.shape != shape or array.dtype.name != dtype:
        raise ImgturboError(
            f"{path}: {name} is {_sizes(array.shape)} of {array.dtype.name}, but the other arrays "
            f"and the sides make it {_sizes(shape)} of {dtype}; {AGAIN}"
        )
    if 0 in (array.shards or array.chunks) and 0 not in array.shape:
        raise ImgturboError(f"{path}: {name} lies in chunks of no rows or columns; {AGAIN}")
    row = array.dtype.itemsize
    for side in shape[1:]:
        row *= side
    room_for(row, path, f"a row of {name}", AGAIN)
    return array


def chunk_files(name: str, array: zarr.Array[Any]) -> Iterator[tuple[str, slice]]:
    """The files in which an array lies, and the rows that each holds, in order.

    Args:
        name: of the array within the store.
        array: whose rows are cut into files, and nothing else of it.
    """
    if 0 in array.shape:
        return
    rows = (array.shards or array.chunks)[0]
    for number in range(ceil(array.shape[0] / rows)):
        key = array.metadata.encode_chunk_key((number, *[0] * (array.ndim - 1)))
        yield f"{name}/{key}", slice(number * rows, (number + 1) * rows)


def _sizes(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
