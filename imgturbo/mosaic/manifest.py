"""An archive of fields as a CSV, one row each.

    field,F606W,F814W
    m31-07,07_f606w.fits,07_f814w.fits

The first column names the field (and its output, ``NAME.fits``), the others hold one file a band,
with the band's name above them; a single column ``file`` will do where one file holds all bands.
Paths are relative to the CSV, or addresses. What is done with the fields is
:mod:`imgturbo.mosaic.archive`'s.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.remote import is_remote, on_disk, readable

__all__ = ["Field", "read_manifest"]

_LONGEST = 64 << 20  # bytes of a CSV
_LONGEST_NAME = 200  # bytes; an output's name is longer, and that of its journal still more


@dataclass(frozen=True)
class Field:
    """One row: the files, and the names of their bands where the header gives them."""

    name: str
    files: tuple[Path, ...]
    bands: tuple[str, ...] | None


def read_manifest(path: Path | str) -> list[Field]:
    """The fields of a CSV.

    Raises:
        ImgturboError: no such file, no header, rows of another length, a name that is missing,
            repeated or no file name; each with its line.
    """
    path = readable(path)
    if not path.exists():
        raise ImgturboError(f"{path}: no such manifest; name a CSV of fields")
    with door(path, remedy="write it as UTF-8", what="cannot be read as CSV"):
        with on_disk(path) as here, here.open("rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise ImgturboError(f"{path}: is longer than {_LONGEST >> 20} MB; divide it")
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
        rows = _rows(csv.reader(text, strict=True))
    if len(rows) < 2 or len(rows[0][1]) < 2:
        raise ImgturboError(
            f"{path}: a manifest has a header such as 'field,F606W,F814W' and one row a field"
        )
    header = [cell.strip() for cell in rows[0][1]]
    first = next((k for k, cell in enumerate(header) if cell.lower() == "field"), 0)
    columns = [k for k in range(len(header)) if k != first]
    single = len(columns) == 1 and header[columns[0]].lower() in ("file", "files", "path")
    fields: list[Field] = []
    names: set[str] = set()
    for number, row in rows[1:]:
        cells = [cell.strip() for cell in row]
        if len(cells) != len(header):
            raise ImgturboError(
                f"{path}: line {number} has {len(cells)} columns, the header {len(header)}"
            )
        name = cells[first]
        if not _is_name(name):
            raise ImgturboError(
                f"{path}: line {number}: {_shown(name)} cannot be the name of a field; give one "
                f"that can be a file's, of at most {_LONGEST_NAME} bytes"
            )
        if name in names:
            raise ImgturboError(f"{path}: line {number}: the field {name!r} is named twice")
        names.add(name)
        odd = next((cell for cell in cells if not _is_shown(cell)), None)
        if odd is not None:
            raise ImgturboError(f"{path}: line {number}: {_shown(odd)} is no file's name; mend it")
        files = tuple(_file(path, cells[k]) for k in columns if cells[k])
        bands = None if single else tuple(header[k] for k in columns if cells[k])
        fields.append(Field(name, files, bands))
    return fields


def _file(manifest: Path, cell: str) -> Path:
    """What a cell names: an address, or a file beside the manifest."""
    return readable(cell) if is_remote(cell) else manifest.parent / cell


def _is_name(name: str) -> bool:
    """Whether a field can be called so, and its output, and what grows beside that."""
    plain = Path(name).name == name and name.isprintable() and not name.startswith(".")
    return bool(name) and plain and len(name.encode()) <= _LONGEST_NAME


def _is_shown(text: str) -> bool:
    """Whether every character is one that is seen, or a space of some width."""
    return all(c.isprintable() or unicodedata.category(c) == "Zs" for c in text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


def _rows(reader: Iterable[list[str]]) -> list[tuple[int, list[str]]]:
    """Rows that are not empty, each with the line of the file on which it begins."""
    rows, line = [], 1
    for row in reader:
        if any(cell.strip() for cell in row):
            rows.append((line, row))
        line = reader.line_num + 1  # type: ignore[attr-defined]
    return rows
