"""Images of the sky, opened and read by windows.

The first file's pixel grid is the grid, or the one that :meth:`SkyReader.on` is given. Bands that
lie elsewhere are resampled on the fly, each once, from its own pixels, and a window at a time, so
a window of the whole and the whole cut to a window are the same.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from imgturbo.door import room_for
from imgturbo.errors import ImgturboError
from imgturbo.remote import readable
from imgturbo.sky.bands import ascii_name, distinct
from imgturbo.sky.grids import grid_at
from imgturbo.sky.image import SkyImage, measured, row_order
from imgturbo.sky.opened import Opened
from imgturbo.sky.photometry import DISPLAY, FluxScale, check_display, unit_is_unstated
from imgturbo.sky.placement import Band, Placement
from imgturbo.sky.wcs import pixel_scale, wcs_window

__all__ = ["SkyReader", "open_sky", "read_sky"]

Paths = Path | str | Sequence[Path | str]
_STRIPS = 8
_LARGE = 1 << 26  # bytes of a window that are worth a look at the memory
_PROBE = 16  # half the pixels across of a first look
_SCAN = 1 << 20  # pixels looked at in one go for a first measured one


class SkyReader:
    """Bands of one or several files on one grid; see :func:`open_sky`.

    Attributes:
        renamed: bands that are called otherwise than their headers do, as (file, name that was
            given, name in the header).
    """

    def __init__(
        self,
        paths: Sequence[Path],
        bands: Sequence[str] | None,
        unit: str = "",
        names: Sequence[str] | None = None,
    ) -> None:
        self.paths = tuple(paths)
        self._files = Opened(unit)
        try:
            found = [band for path in self.paths for band in self._files.bands(path)]
            first = found[0]
            called = _renamed(found, names, self.paths)
            self.renamed = _otherwise(found, names or ())
            self._bands = _choose(_unique(called), bands, self.paths)
            self.header = first.header
            for band in self._bands:
                _check_unit(first, band)
                _check_shape(first, band)
            first, *self._bands = _on_pixels_of_another([first, *self._bands])
            self.bands = tuple(band.name for band in self._bands)
            self.named = tuple(band.named for band in self._bands)
            self.unit = first.scale.unit.name
            self._stated = self._placed = Placement(
                self._bands, first.wcs, first.shape, str(first.path)
            )
            for band in self._bands:
                _check_measured(band)
            headers = [band.header for band in self._bands if band.header is not None]
            self.unit_is_assumed = self.unit != "" and any(map(unit_is_unstated, headers))
            if self.unit_is_assumed and self.unit == DISPLAY:
                check_display(self.glance(), str(self.paths[0]))
        except BaseException:
            self.close()
            raise

    def on(
        self,
        wcs: WCS,
        shape: tuple[int, int],
        registered: WCS | None = None,
        name: str = "the new grid",
    ) -> SkyReader:
        """The same files seen on another grid: every band is moved there once, from its own pixels.

        Args:
            wcs: of the grid.
            shape: (H, W) of the grid.
            registered: what takes the place of this reader's own WCS: where its pixels really lie.
            name: of the grid, for messages.

        Returns:
            A reader of the same open files; closing one closes both.

        Raises:
            ImgturboError: no WCS, no sky in common, or a unit that does not say what pixels of
                another size hold.
        """
        other = copy(self)
        other._placed = Placement(self._bands, wcs, shape, name, registered, self._stated)
        return other

    def at_scale(self, pixel_scale: float | None) -> SkyReader:
        """The same sky, axes and projection with pixels of ``pixel_scale`` arcsec.

        This reader itself where nothing is to be changed: no scale, no WCS, or nearly that scale.
        """
        grid = grid_at(self.wcs, self._placed.size, pixel_scale)
        return self if grid is None else self.on(*grid)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return len(self._bands), *self._placed.size

    @property
    def wcs(self) -> WCS | None:
        """Of the grid, celestial and 2-D; None without coordinates."""
        return self._placed.wcs

    @property
    def scales(self) -> tuple[FluxScale, ...]:
        """What the value 1 in a pixel of the grid means, a band each."""
        return self._placed.scales

    @property
    def zeropoints(self) -> tuple[float | None, ...]:
        """AB magnitudes of the value 1 in a pixel of the grid; None where unknown."""
        return tuple(scale.zeropoint for scale in self.scales)

    @property
    def pixel_scale(self) -> float | None:
        """Side of a pixel in arcsec, or None without a WCS."""
        return pixel_scale(self.wcs, self._placed.size)

    @property
    def masked_by(self) -> tuple[str, ...]:
        """Companions, in the files or beside them, that say what was not measured."""
        return tuple(dict.fromkeys(name for file in self._files.fits for name in file.masked_by))

    @property
    def unused(self) -> tuple[str, ...]:
        """Companions that play no part."""
        return tuple(dict.fromkeys(name for file in self._files.fits for name in file.unused))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of the files, a line each."""
        return tuple(dict.fromkeys(note for file in self._files.fits for note in file.notes))

    @property
    def row_order(self) -> str:
        """Where the first row is shown: see :func:`imgturbo.sky.image.row_order`."""
        return row_order(self.wcs, self.header, self.paths[0])

    def read(self, rows: slice = slice(None), cols: slice = slice(None)) -> SkyImage:
        """The window ``[rows, cols]``, its WCS moved along; only its pixels are read.

        Slices are Python's: bounds beyond the image are cut off. Steps are not allowed.

        Raises:
            ImgturboError: the file cannot be read there.
        """
        height, width = self._placed.size
        if rows.step not in (None, 1) or cols.step not in (None, 1):
            raise ValueError("a window has no step")
        top, bottom, _ = rows.indices(height)
        left, right, _ = cols.indices(width)
        window = (slice(top, max(top, bottom)), slice(left, max(left, right)))
        size = np.float32().nbytes * len(self._bands) * math.prod(s.stop - s.start for s in window)
        if size > _LARGE:
            room_for(size, self.paths[0], f"reading {len(self._bands)} bands", "read it by windows")
        wcs = None if self.wcs is None else wcs_window(self.wcs, *window)
        data = self._placed.read(window)
        return SkyImage(
            data,
            measured(data),
            wcs,
            self.unit,
            self.bands,
            self.header,
            self.zeropoints,
            self.paths[0],
            self.named,
        )

    def glance(self) -> NDArray[np.float32]:
        """Some rows of the files' grid, evenly spread: (C, n, W), enough to tell what they hold."""
        height, width = self._stated.size
        tall = max(1, min(height, _SCAN // (_STRIPS * width)))
        tops = sorted({int(top) for top in np.linspace(0, height - tall, _STRIPS)})
        every = slice(0, width)
        strips = [self._stated.read((slice(top, top + tall), every)) for top in tops]
        return np.concatenate(strips, axis=1)

    def close(self) -> None:
        """Let go of the files."""
        self._files.close()

    def __enter__(self) -> SkyReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_sky(
    paths: Paths,
    bands: Sequence[str] | None = None,
    unit: str = "",
    names: Sequence[str] | None = None,
) -> SkyReader:
    """Open one image of any number of bands, or several on the first one's grid.

    Args:
        paths: FITS files (also packed by gzip, bzip2, xz, zip or fpack), pictures, or files that an
            installed package reads (:mod:`imgturbo.sky.readers`), here or at an address
            (``https://``, ``s3://``, …: :mod:`imgturbo.remote`), where no more of a FITS file is
            fetched than is read.
        bands: names of the bands wanted, in that order; None for all.
        unit: taken for FITS files without a BUNIT (the reader's ``unit_is_assumed`` says so); a
            picture's, if the values can be that.
        names: what the bands are called, in the order of the files, where headers do not say it or
            lie; ``bands`` are chosen by these names.

    Returns:
        A reader; use it as a context. Nothing but headers (and, of a picture, its pixels) is read
        yet, and as many rows as it takes to find one measured pixel a band.

    Raises:
        ImgturboError: no such file; not an image; truncated; no such band; a band without a single
            measured pixel; files that have neither one grid nor the WCS to bring them to one; files
            of different units, or in an unknown one where they must be brought to other pixels.
    """
    given = [readable(path) for path in ([paths] if isinstance(paths, Path | str) else paths)]
    if not given:
        raise ImgturboError("no image was given; name at least one file")
    return SkyReader(given, bands, unit, names)


def read_sky(
    paths: Paths,
    bands: Sequence[str] | None = None,
    unit: str = "",
    names: Sequence[str] | None = None,
    pixel_scale: float | None = None,
) -> SkyImage:
    """The whole image in memory; arguments and errors are those of :func:`open_sky`.

    Args:
        pixel_scale: arcsec; bring the image to pixels of that size, each band in one step from its
            own. An image of bands on several grids that is read first and brought to another scale
            then is moved, and blurred, twice.

    Example:
        >>> from astropy.io import fits
        >>> fits.PrimaryHDU(np.zeros((3, 4), "f4")).writeto("dark.fits")
        >>> sky = read_sky("dark.fits", unit="nJy", names=["F150W"])
        >>> sky.data.shape, sky.bands, sky.unit
        ((1, 3, 4), ('F150W',), 'nJy')
    """
    with open_sky(paths, bands, unit, names) as reader:
        return reader.at_scale(pixel_scale).read()


def _unique(found: list[Band]) -> list[Band]:
    """Bands of the same name (two epochs of one filter) are told apart by a number."""
    names = distinct([band.name for band in found])
    return [replace(band, name=name) for band, name in zip(found, names, strict=True)]


def _renamed(found: list[Band], names: Sequence[str] | None, paths: Sequence[Path]) -> list[Band]:
    if not names:
        return found
    if len(names) != len(found):
        raise ImgturboError(
            f"{', '.join(map(str, paths))}: {len(names)} band names for {len(found)} bands "
            f"({', '.join(band.name for band in found)}); name each of them once"
        )
    return [
        replace(band, name=ascii_name(name), named=True)
        for band, name in zip(found, names, strict=True)
    ]


def _otherwise(found: list[Band], names: Sequence[str]) -> tuple[tuple[Path, str, str], ...]:
    return tuple(
        (band.path, name, band.name)
        for band, name in zip(found, names, strict=False)  # no names: nothing is called otherwise
        if band.named and band.name.upper() != ascii_name(name).upper()
    )


def _choose(found: list[Band], wanted: Sequence[str] | None, paths: Sequence[Path]) -> list[Band]:
    if wanted is None:
        return found
    by_name = {band.name.upper(): band for band in found}
    missing = [name for name in wanted if name.upper() not in by_name]
    if missing or not wanted:
        raise ImgturboError(
            f"{', '.join(map(str, paths))}: no band {', '.join(missing) or 'was asked for'}; "
            f"there are {', '.join(band.name for band in found)}"
        )
    return [by_name[name.upper()] for name in wanted]


def _check_unit(first: Band, band: Band) -> None:
    here, there = first.scale.unit, band.scale.unit
    if here.name != there.name:
        raise ImgturboError(
            f"{first.path} is in {here.name or 'no unit'} but {band.path} in "
            f"{there.name or 'no unit'}; bring them to one unit (BUNIT) first"
        )


def _check_shape(first: Band, band: Band) -> None:
    if (band.wcs is None or first.wcs is None) and band.shape != first.shape:
        raise ImgturboError(
            f"{first.path} has {first.shape[0]} × {first.shape[1]} pixels and {band.path} "
            f"{band.shape[0]} × {band.shape[1]}, and without a WCS in both they cannot be "
            "brought to one grid; resample or crop them first"
        )


def _on_pixels_of_another(found: list[Band]) -> list[Band]:
    """Bands without coordinates, and as large as one that has some, take those of that one.

    Left without, they would stay behind when the others are brought to another grid.
    """
    placed = next((band for band in found if band.wcs is not None), None)
    lost = [band for band in found if band.wcs is None]
    if placed is None or not lost:
        return found
    warnings.warn(
        f"{', '.join(dict.fromkeys(str(band.path) for band in lost))}: states no coordinates; its "
        f"pixels are taken to be those of {placed.path}, which is as large",
        stacklevel=4,
    )
    return [replace(band, wcs=band.wcs or placed.wcs) for band in found]


def _check_measured(band: Band) -> None:
    """Stops at the first block with a measured pixel: a few in the middle, usually."""
    height, width = band.shape
    middle = (slice(n // 2 - min(n // 2, _PROBE), n // 2 + _PROBE) for n in band.shape)
    if np.isfinite(band.read(*middle)).any():
        return
    step = max(1, _SCAN // width)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        if np.isfinite(band.read(rows, slice(0, width))).any():
            return
    raise ImgturboError(
        f"{band.path}: band {band.name} has no measured pixel (all NaN or masked); leave it out"
    )
