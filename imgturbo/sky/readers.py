"""Formats of files that other packages read, by the suffix of a name.

An entry point of the group ``imgturbo.readers`` is called like a suffix without its dot, and names
a class: an :class:`ImageFile` for images, or an ``imgturbo.tables.reader.TableReader``. Such files
may then stand wherever FITS files, pictures or tables may. Suffixes of our own stay our own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imgturbo import plugins
from imgturbo.remote import readable

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["FileReader", "ImageFile", "READERS", "installed_reader"]


class FileReader(ABC):
    """An open file; ``ImageFile`` and ``TableReader`` are the two sorts of them.

    It is made of a ``Path``, and raises ``ImgturboError`` in one line where the file is no such
    thing.
    """

    path: Path

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""


class ImageFile(FileReader):
    """An open file of images, all bands on one grid, read by windows.

    Attributes:
        path: of the file.
        bands: what they are called.
        shape: (H, W) of all of them.
        unit: of the values, such as ``"MJy/sr"``; ``""`` where it is not stated.
        wcs: of the pixels, celestial and 2-D; None without coordinates.
        zeropoints: AB magnitude of the value 1 in a pixel, a band each; empty: not known.
        header: FITS cards that go with it; None: none.
    """

    bands: tuple[str, ...]
    shape: tuple[int, int]
    unit: str = ""
    wcs: WCS | None = None
    zeropoints: tuple[float | None, ...] = ()
    header: Any = None

    @abstractmethod
    def read(self, band: int, rows: slice, cols: slice) -> NDArray[np.float32]:
        """A window of a band, (h, w) float32, NaN where nothing was measured."""


class _Own(FileReader):
    """Stands for formats that imgturbo reads itself."""

    def close(self) -> None:
        """Nothing is open."""


def _of_a_package(name: str, thing: object) -> type[FileReader]:
    if not (isinstance(thing, type) and issubclass(thing, FileReader)):
        why = f"is no class of an ImageFile or a TableReader but {type(thing).__name__}"
        raise plugins.refused(plugins.READERS, name, why)
    return thing


_SUFFIXES = (
    "fits", "fit", "fts", "fz", "gz", "bz2", "xz", "zip", "png", "jpg", "jpeg", "tif", "tiff",
    "csv", "tsv", "ecsv", "h5", "hdf5", "hdf",
)  # fmt: skip

READERS: plugins.Kinds[type[FileReader]] = plugins.Kinds(
    plugins.READERS, dict.fromkeys(_SUFFIXES, _Own), _of_a_package
)
"""Who reads a suffix; packages may add more."""


def installed_reader(path: Path | str) -> type[FileReader] | None:
    """The class by which an installed package reads files of this name; None: none does.

    Raises:
        ImgturboError: the package is broken, or takes a suffix that imgturbo reads.
    """
    suffix = readable(path).suffix.lower().removeprefix(".")
    found = READERS.get(suffix, _Own)
    return None if found is _Own else found
