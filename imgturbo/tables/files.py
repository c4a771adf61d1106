"""Which files are tables: by their names, and FITS files by what they hold."""

from __future__ import annotations

import contextlib
import weakref
from pathlib import Path

from imgturbo import plugins
from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.remote import Remote, on_disk, readable
from imgturbo.sky.blocks import walk
from imgturbo.sky.packed import open_unpacked
from imgturbo.sky.readers import installed_reader
from imgturbo.tables.reader import TableReader

__all__ = ["FORMATS", "format_of", "is_table", "open_table"]

FORMATS = {
    "csv": (".csv",),
    "tsv": (".tsv",),
    "ecsv": (".ecsv",),
    "fits": (".fits", ".fit", ".fts"),
    "hdf5": (".h5", ".hdf5", ".hdf"),
}
"""Suffixes of each format; FITS may be packed besides (``.fits.gz``)."""


def format_of(path: Path | str) -> str | None:
    """The format that a name says; None where it says none."""
    name = readable(path).name.lower()
    for packed in (".gz", ".bz2", ".xz"):
        name = name.removesuffix(packed) if name.endswith(f"fits{packed}") else name
    ends = {suffix: kind for kind, suffixes in FORMATS.items() for suffix in suffixes}
    return next((kind for suffix, kind in ends.items() if name.endswith(suffix)), None)


def is_table(path: Path | str) -> bool:
    """Whether a file holds a table: by its name, or a FITS file that has a table and no image."""
    kind = format_of(path)
    if kind is None:
        reader = installed_reader(path)
        return reader is not None and issubclass(reader, TableReader)
    if kind != "fits":
        return True
    with (
        contextlib.suppress(ImgturboError),
        contextlib.closing(open_unpacked(readable(path))) as file,
    ):
        tables = 0
        for extent in walk(file.read, str(path)):
            axes = extent.cards.whole("NAXIS", 0, 32)
            table = extent.number and "TABLE" in extent.cards.text("XTENSION")
            if table and not extent.cards.truth("ZIMAGE"):
                tables += 1
            elif axes:
                return False
            file.seek(extent.end)
        return tables > 0
    return False


def open_table(path: Path | str) -> TableReader:
    """Open a table of any format; one at an address is fetched whole, for as long as it is open.

    Raises:
        ImgturboError: no such file, a name that says no format, or a file that is none.

    Example:
        >>> open_table("no such.csv")
        Traceback (most recent call last):
        imgturbo.errors.ImgturboError: no such.csv: no such file; name a table
    """
    path = readable(path)
    if isinstance(path, Remote):
        held = contextlib.ExitStack()
        table = open_table(held.enter_context(on_disk(path)))
        weakref.finalize(table, held.close)
        return table
    kind, other = format_of(path), installed_reader(path)
    if other is not None and not issubclass(other, TableReader):
        raise ImgturboError(f"{path}: is an image, not a table; name a table")
    if kind is None and other is None:
        known = ", ".join(suffix for suffixes in FORMATS.values() for suffix in suffixes)
        more = plugins.added(plugins.READERS)
        raise ImgturboError(f"{path}: its name says no format of tables; they end in {known}{more}")
    with door(path, what="cannot be looked at", remedy="check the path and its permissions"):
        if path.is_dir():
            raise ImgturboError(f"{path}: is a folder; name a table in it")
        if not path.exists():
            raise ImgturboError(f"{path}: no such file; name a table")
        if not path.is_file():
            raise ImgturboError(f"{path}: is no file; name a table")
        if path.stat().st_size == 0:
            raise ImgturboError(f"{path}: is empty; give a table with a line of names and rows")
    if other is not None:
        with door(path, remedy="look at the file, and at the package that reads it"):
            return other(path)  # type: ignore[call-arg]
    if kind == "fits":
        from imgturbo.tables.fits_table import FitsTable

        return FitsTable(path)
    if kind == "hdf5":
        from imgturbo.tables.hdf5_table import Hdf5Table

        return Hdf5Table(path)
    from imgturbo.tables.text_file import TextTable

    return TextTable(path)
