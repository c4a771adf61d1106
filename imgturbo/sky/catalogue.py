"""Positions on the sky from whatever table astropy reads: names, right ascensions, declinations.

A table holds them as a column of coordinates (ECSV keeps astropy's SkyCoord), or as two columns in
one of the spellings that archives use. Numbers are degrees unless the column says otherwise; text
such as ``05:34:31.9`` or ``5h34m31.9s`` is hours of right ascension and degrees of declination, as
everybody writes it. What has no unit and no frame is ICRS in degrees.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.table import Table

from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.remote import Remote, on_disk, readable
from imgturbo.sky.blocks import extents
from imgturbo.sky.headers import quiet
from imgturbo.sky.packed import open_unpacked

__all__ = ["Positions", "parse_size", "places_of", "read_positions", "read_table"]

_RA = (
    "ra", "ra_deg", "radeg", "ra_icrs", "raj2000", "_raj2000", "ra_j2000", "ra2000", "alpha_j2000",
    "right_ascension", "rightascension", "s_ra", "target_ra", "coord_ra", "alpha",
)  # fmt: skip
_DEC = (
    "dec", "dec_deg", "decdeg", "de_icrs", "dec_icrs", "dej2000", "_dej2000", "decj2000",
    "dec_j2000", "dec2000", "delta_j2000", "declination", "s_dec", "target_dec", "coord_dec",
    "decl", "de", "dedeg", "delta",
)  # fmt: skip
_NAMES = (
    "id", "name", "source_id", "sourceid", "object_id", "objectid", "objid", "object", "obj_id",
    "identifier", "designation", "source", "target", "number", "target_name", "main_id",
)  # fmt: skip
_FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".tsv": "ascii.tab", ".txt": "ascii"}
_FITS = re.compile(r"\.(fits|fit|fts)(\.(gz|bz2|xz))?$")
_SIZE = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z\"'″′°]*)\s*", re.IGNORECASE)
_ARCSEC = {
    "arcsec": 1.0, "as": 1.0, '"': 1.0, "″": 1.0, "arcsecond": 1.0, "arcseconds": 1.0,
    "arcmin": 60.0, "am": 60.0, "'": 60.0, "′": 60.0, "arcminute": 60.0, "arcminutes": 60.0,
    "deg": 3600.0, "degree": 3600.0, "degrees": 3600.0, "°": 3600.0,
}  # fmt: skip
_PIXELS = ("pix", "pixel", "pixels", "px")


@dataclass(frozen=True)
class Positions:
    """Places on the sky, in the order of their table.

    Attributes:
        names: what each is called: its identifier, or the number of its row, from 1.
        places: where each is; not a number where the table says nothing.
    """

    names: Sequence[str]
    places: SkyCoord

    def __len__(self) -> int:
        return len(self.names)


def read_positions(path: Path | str) -> Positions:
    """Positions from a table: CSV, ECSV, FITS, VOTable, or what else astropy reads.

    Args:
        path: the table, here or at an address.

    Returns:
        The positions, with identifiers from a column ``id``, ``name``, ``source_id``, … if there is
        one.

    Raises:
        ImgturboError: it cannot be read, has no rows, or no columns of right ascension and
            declination that can be told.
    """
    path = readable(path)
    table = read_table(path)
    places = places_of(table, path)
    if places is None:
        there = ", ".join(table.colnames[:12]) + (", …" if len(table.colnames) > 12 else "")
        raise ImgturboError(
            f"{path}: has no columns of right ascension and declination (there are {there}); call "
            "them ra and dec"
        )
    return Positions(_names_of(table), places)


def parse_size(text: str | u.Quantity) -> tuple[float, bool]:
    """A size on the sky or in pixels: (arcsec, False) or (pixels, True).

    Args:
        text: ``"10arcsec"``, ``"0.5 arcmin"``, ``'8"'``, ``"64pix"``, or an angle of astropy.

    Raises:
        ImgturboError: it is none.

    Example:
        >>> parse_size("0.5arcmin"), parse_size("64pix")
        ((30.0, False), (64.0, True))
    """
    wrong = ImgturboError(
        f"a size of {text!s}: write a number and arcsec, arcmin, deg or pix, such as 10arcsec"
    )
    if isinstance(text, u.Quantity):
        if text.unit.is_equivalent(u.pix):
            value, unit = float(text.to_value(u.pix)), "pix"
        elif text.unit.is_equivalent(u.arcsec) and text.isscalar:
            value, unit = float(text.to_value(u.arcsec)), "arcsec"
        else:
            raise wrong
    else:
        match = _SIZE.fullmatch(str(text))
        if match is None:
            raise wrong
        value, unit = float(match[1]), match[2].lower()
    if not 0 < value < np.inf or unit not in (*_ARCSEC, *_PIXELS):
        raise wrong
    return (value, True) if unit in _PIXELS else (value * _ARCSEC[unit], False)


def read_table(path: Path) -> Table:
    """A table in any format that astropy reads, whole.

    Raises:
        ImgturboError: it cannot be read, or has no rows.
    """
    if not path.exists():
        raise ImgturboError(f"{path}: no such file; name a table of positions")
    table = _table(path)
    if not len(table):
        raise ImgturboError(f"{path}: has no rows, so there is no position")
    return table


def _table(path: Path) -> Table:
    """The table; a FITS file's blocks are looked at before astropy sees them."""
    name = path.name.lower()
    with door(path, remedy="give a table that astropy reads", what="is no table"), quiet():
        if _FITS.search(name) and not isinstance(path, Remote):
            with contextlib.closing(open_unpacked(path)) as stream:
                extents(stream, stream.seek(0, os.SEEK_END), str(path))
                stream.seek(0)
                return Table.read(stream, format="fits", memmap=False)
        with on_disk(path) as here:
            if here is not path and _FITS.search(name):
                return _table(here)
            return Table.read(here, format=_FORMATS.get(path.suffix.lower()))


def places_of(table: Table, path: Path) -> SkyCoord | None:
    """Where the rows of a table lie, in ICRS; None where it has no columns that say so.

    Args:
        table: of any columns.
        path: where it was read, for messages.

    Raises:
        ImgturboError: columns of right ascension and declination that nobody understands.
    """
    for name in table.colnames:
        if isinstance(table[name], SkyCoord):
            coordinates: SkyCoord = table[name].ravel()
            return coordinates.transform_to("icrs")
    columns = [_first(table, spelled) for spelled in (_RA, _DEC)]
    if None in columns:
        return None
    with door(path, remedy="write degrees, or 05:34:31.9 +22:00:52", what="is not understood"):
        ra, dec = (
            _degrees(table[name], path, hours)
            for name, hours in zip(columns, (True, False), strict=True)
        )
    beyond = np.abs(dec) > 90
    if beyond.any():
        row = int(np.argmax(beyond))
        raise ImgturboError(
            f"{path}: row {row + 1}: a declination of {dec[row]:g} degrees; right ascension and "
            "declination may be exchanged, or in another unit"
        )
    return SkyCoord(ra, dec, unit="deg", frame="icrs")


def _degrees(column: Any, path: Path, hours: bool) -> np.ndarray:
    """Degrees of a column of numbers or of text; NaN where a cell is empty."""
    unit = getattr(column, "unit", None)
    missing = np.array(getattr(column, "mask", np.zeros(len(column), bool)))
    values = np.asarray(getattr(column, "filled", lambda: column)())
    if isinstance(column, u.Quantity):
        values = np.asarray(column.value)
    if values.ndim != 1:
        raise ImgturboError(f"{path}: a cell of {column.info.name} holds several numbers")
    if values.dtype.kind in "iuf":
        angle = u.Unit(unit) if unit else u.deg
        found = np.asarray(u.Quantity(values.astype(float), angle).to_value(u.deg), float)
        return np.where(missing, np.nan, found)
    texts = [str(value, "ascii") if isinstance(value, bytes) else str(value) for value in values]
    found = np.full(len(texts), np.nan)
    for k, text in enumerate(texts):
        if missing[k] or not text.strip() or text.strip().lower() in ("nan", "--", "none"):
            continue
        try:
            found[k] = float(text)  # a plain number is degrees, in text as well
        except ValueError:
            found[k] = Angle(text.strip(), u.hourangle if hours else u.deg).to_value(u.deg)
    return found


def _first(table: Table, spelled: Sequence[str]) -> str | None:
    """The column that has the first of these names that any has, whatever its case."""
    lower = {name.lower(): name for name in reversed(table.colnames)}
    return next((lower[name] for name in spelled if name in lower), None)


def _names_of(table: Table) -> list[str]:
    column = _first(table, _NAMES)
    rows = [str(row) for row in range(1, len(table) + 1)]
    if column is None or isinstance(table[column], SkyCoord) or table[column].ndim != 1:
        return rows
    mask = np.array(getattr(table[column], "mask", np.zeros(len(table), bool)))
    cells = (
        cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
        for cell in table[column]
    )
    return [
        row if empty or not cell.strip() else cell.strip()
        for row, cell, empty in zip(rows, cells, mask, strict=True)
    ]
