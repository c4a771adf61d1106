"""Files of any format, held open as bands.

FITS files, pictures and what installed packages read (:mod:`imgturbo.sky.readers`) answer alike
from here on: a :class:`imgturbo.sky.placement.Band` is one plane of numbers on its file's own grid,
read by windows, NaN where nothing was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.remote import on_disk
from imgturbo.sky.fits_file import FitsFile
from imgturbo.sky.photometry import ARCSEC2, FluxScale
from imgturbo.sky.picture import is_picture, read_picture
from imgturbo.sky.placement import Band
from imgturbo.sky.readers import FileReader, ImageFile, installed_reader
from imgturbo.sky.units import parse_unit
from imgturbo.sky.wcs import pixel_scale

__all__ = ["Opened"]

Window = Callable[[slice, slice], NDArray[np.float32]]


class Opened:
    """The open files of an image.

    Args:
        unit: of files that do not state one.

    Attributes:
        fits: those that are FITS, in the order in which they were opened.
    """

    def __init__(self, unit: str = "") -> None:
        self._unit_if_unstated = unit
        self.fits: list[FitsFile] = []
        self._installed: list[ImageFile] = []

    def bands(self, path: Path) -> list[Band]:
        """The bands of one more file, which stays open.

        Raises:
            ImgturboError: no such file, or it is no image.
        """
        if not path.exists():
            raise ImgturboError(f"{path}: no such file; check the path")
        if path.is_dir():
            raise ImgturboError(f"{path}: is a folder; name the files in it")
        if is_picture(path):
            return _of_picture(path)
        if (kind := installed_reader(path)) is not None:
            return self._of_installed(kind, path)
        return self._of_fits(path)

    def close(self) -> None:
        """Let go of the files."""
        for file in self.fits:
            file.close()
        for other in self._installed:
            other.close()

    def _of_fits(self, path: Path) -> list[Band]:
        file = FitsFile(path, self._unit_if_unstated)
        self.fits.append(file)

        def window(i: int) -> Window:
            return lambda rows, cols: file.read(i, rows, cols)

        return [
            Band(b.name, path, b.shape, b.wcs, b.scale, b.header, b.named, window(i))
            for i, b in enumerate(file.bands)
        ]

    def _of_installed(self, kind: type[FileReader], path: Path) -> list[Band]:
        """Bands of a file that another package reads."""
        if not issubclass(kind, ImageFile):
            raise ImgturboError(f"{path}: is a table, not an image; name an image")
        with door(path, remedy="look at the file, and at the package that reads it"):
            file = kind(path)  # type: ignore[call-arg]
        self._installed.append(file)
        unit = parse_unit(file.unit or self._unit_if_unstated)
        size = (file.shape[0], file.shape[1])
        scale = pixel_scale(file.wcs, size)
        area = None if scale is None else scale**2 * ARCSEC2
        zeros = file.zeropoints or (None,) * len(file.bands)

        def window(i: int) -> Window:
            def read(rows: slice, cols: slice) -> NDArray[np.float32]:
                with door(path, file.bands[i], "look at the package that reads it"):
                    return np.asarray(file.read(i, rows, cols), np.float32)

            return read

        return [
            Band(
                name, path, size, file.wcs, FluxScale(unit, zeros[i], area), file.header, True,
                window(i),
            )
            for i, name in enumerate(file.bands)
        ]  # fmt: skip


def _of_picture(path: Path) -> list[Band]:
    with on_disk(path) as here:
        picture = read_picture(here)
    size = picture.pixels.shape[1], picture.pixels.shape[2]
    scale = FluxScale(parse_unit(picture.unit))

    def window(i: int) -> Window:
        return lambda rows, cols: picture.read(i, rows, cols)

    return [
        Band(name, path, size, None, scale, None, False, window(i))
        for i, name in enumerate(picture.bands)
    ]
