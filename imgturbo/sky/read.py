"""Images of the sky, opened and read by windows.

The first file's pixel grid is the grid; bands of other files that lie elsewhere are resampled on
the fly, a window at a time, so a window of the whole and the whole cut to a window are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.sky.bands import ascii_name, distinct
from imgturbo.sky.fits_file import FitsFile
from imgturbo.sky.headers import pixel_area, pixel_scale, same_grid, wcs_window
from imgturbo.sky.image import SkyImage, measured, row_order
from imgturbo.sky.photometry import (
    DISPLAY,
    FluxScale,
    check_display,
    check_resizable,
    stated_unit,
)
from imgturbo.sky.picture import is_picture, read_picture
from imgturbo.sky.resampling import coarser, footprint, resample_planes
from imgturbo.sky.units import parse_unit

__all__ = ["SkyReader", "open_sky", "read_sky"]

Paths = Path | str | Sequence[Path | str]
_STRIPS = 8
_SCAN = 1 << 20  # pixels looked at in one go for a first measured one


@dataclass(frozen=True)
class _Band:
    """A band of a file, on that file's own grid."""

    name: str
    path: Path
    shape: tuple[int, int]
    wcs: WCS | None
    scale: FluxScale
    header: fits.Header | None
    named: bool
    read: Callable[[slice, slice], NDArray[np.float32]]


class SkyReader:
    """Bands of one or several files on one grid; see :func:`open_sky`."""

    def __init__(
        self,
        paths: Sequence[Path],
        bands: Sequence[str] | None,
        unit: str = "",
        names: Sequence[str] | None = None,
    ) -> None:
        self.paths = tuple(paths)
        self._unit_if_unstated = unit
        self._files: list[FitsFile] = []
        try:
            found = [band for path in self.paths for band in self._open(path)]
            first = found[0]
            self._bands = _choose(_unique(_renamed(found, names, self.paths)), bands, self.paths)
            self._size, self.wcs, self.header = first.shape, first.wcs, first.header
            self._moved = [self._is_moved(band) for band in self._bands]
            for band in self._bands:
                _check_unit(first, band)
                _check_grid(first, band)
                _check_measured(band)
            for band, moved in zip(self._bands, self._moved, strict=True):
                if moved:
                    check_resizable(band.scale.unit, str(band.path))
            self.bands = tuple(band.name for band in self._bands)
            self.named = tuple(band.named for band in self._bands)
            self.unit = first.scale.unit.name
            self.scales = tuple(map(self._scale, self._bands, self._moved))
            self.zeropoints = tuple(scale.zeropoint for scale in self.scales)
            unstated = first.header is not None and stated_unit(first.header).kind == "none"
            self.unit_is_assumed = unstated and self.unit != ""
            if self.unit_is_assumed and self.unit == DISPLAY:
                check_display(self.glance(), str(self.paths[0]))
        except BaseException:
            self.close()
            raise

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return len(self._bands), *self._size

    @property
    def pixel_scale(self) -> float | None:
        """Side of a pixel in arcsec, or None without a WCS."""
        return pixel_scale(self.wcs, self._size)

    @property
    def masked_by(self) -> tuple[str, ...]:
        """Companions, in the files or beside them, that say what was not measured."""
        return tuple(dict.fromkeys(name for file in self._files for name in file.masked_by))

    @property
    def unused(self) -> tuple[str, ...]:
        """Companions that play no part."""
        return tuple(dict.fromkeys(name for file in self._files for name in file.unused))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of the files, a line each."""
        return tuple(dict.fromkeys(note for file in self._files for note in file.notes))

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
        height, width = self._size
        if rows.step not in (None, 1) or cols.step not in (None, 1):
            raise ValueError("a window has no step")
        top, bottom, _ = rows.indices(height)
        left, right, _ = cols.indices(width)
        window = (slice(top, max(top, bottom)), slice(left, max(left, right)))
        wcs = None if self.wcs is None else wcs_window(self.wcs, *window)
        size = (window[0].stop - top, window[1].stop - left)
        data = np.empty((len(self._bands), *size), np.float32)
        for plane, band, moved in zip(data, self._bands, self._moved, strict=True):
            plane[...] = self._read_band(band, moved, window, wcs, size)
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
        """Some rows of the image, evenly spread: (C, n, W), enough to tell what values it holds."""
        height, width = self._size
        tall = max(1, min(height, _SCAN // (_STRIPS * width)))
        tops = sorted({int(top) for top in np.linspace(0, height - tall, _STRIPS)})
        strips = [self.read(slice(top, top + tall)).data for top in tops]
        return np.concatenate(strips, axis=1)

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            file.close()

    def __enter__(self) -> SkyReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -----------------------------------------------------------------------------------

    def _open(self, path: Path) -> list[_Band]:
        if not path.exists():
            raise ImgturboError(f"{path}: no such file; check the path")
        if path.is_dir():
            raise ImgturboError(f"{path}: is a folder; name the files in it")
        if is_picture(path):
            picture = read_picture(path)
            size = picture.pixels.shape[1], picture.pixels.shape[2]

            scale = FluxScale(parse_unit(picture.unit))

            def of_picture(i: int) -> Callable[[slice, slice], NDArray[np.float32]]:
                return lambda rows, cols: picture.read(i, rows, cols)

            return [
                _Band(name, path, size, None, scale, None, False, of_picture(i))
                for i, name in enumerate(picture.bands)
            ]
        file = FitsFile(path, self._unit_if_unstated)
        self._files.append(file)

        def of_file(i: int) -> Callable[[slice, slice], NDArray[np.float32]]:
            return lambda rows, cols: file.read(i, rows, cols)

        return [
            _Band(b.name, path, b.shape, b.wcs, b.scale, b.header, b.named, of_file(i))
            for i, b in enumerate(file.bands)
        ]

    def _is_moved(self, band: _Band) -> bool:
        """Whether the band lies on another grid than the reader's."""
        if band.wcs is None or self.wcs is None:
            return False
        return band.shape != self._size or not same_grid(self.wcs, band.wcs, self._size)

    def _scale(self, band: _Band, moved: bool) -> FluxScale:
        return band.scale.on(pixel_area(self.wcs, self._size)) if moved else band.scale

    def _read_band(
        self,
        band: _Band,
        moved: bool,
        window: tuple[slice, slice],
        wcs: WCS | None,
        size: tuple[int, int],
    ) -> NDArray[np.float32]:
        if 0 in size:
            return np.empty(size, np.float32)
        if not moved:
            return band.read(*window)
        assert self.wcs is not None
        assert band.wcs is not None
        part = footprint(band.wcs, band.shape, self.wcs, window)
        if part is None:
            return np.full(size, np.nan, np.float32)
        data = band.read(*part)[None]
        return resample_planes(
            data,
            wcs_window(band.wcs, *part),
            wcs,
            size,
            not band.scale.unit.intensive,
            averaged=coarser(band.wcs, self.wcs),
        )[0]


def open_sky(
    paths: Paths,
    bands: Sequence[str] | None = None,
    unit: str = "",
    names: Sequence[str] | None = None,
) -> SkyReader:
    """Open one image of any number of bands, or several on the first one's grid.

    Args:
        paths: FITS files (also packed by gzip, bzip2, xz, zip or fpack) or pictures.
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
    given = [Path(paths)] if isinstance(paths, Path | str) else [Path(path) for path in paths]
    if not given:
        raise ImgturboError("no image was given; name at least one file")
    return SkyReader(given, bands, unit, names)


def read_sky(
    paths: Paths,
    bands: Sequence[str] | None = None,
    unit: str = "",
    names: Sequence[str] | None = None,
) -> SkyImage:
    """The whole image in memory; arguments and errors are those of :func:`open_sky`."""
    with open_sky(paths, bands, unit, names) as reader:
        return reader.read()


def _unique(found: list[_Band]) -> list[_Band]:
    """Bands of the same name (two epochs of one filter) are told apart by a number."""
    names = distinct([band.name for band in found])
    return [replace(band, name=name) for band, name in zip(found, names, strict=True)]


def _renamed(found: list[_Band], names: Sequence[str] | None, paths: Sequence[Path]) -> list[_Band]:
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


def _choose(found: list[_Band], wanted: Sequence[str] | None, paths: Sequence[Path]) -> list[_Band]:
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


def _check_unit(first: _Band, band: _Band) -> None:
    here, there = first.scale.unit, band.scale.unit
    if here.name != there.name:
        raise ImgturboError(
            f"{first.path} is in {here.name or 'no unit'} but {band.path} in "
            f"{there.name or 'no unit'}; bring them to one unit (BUNIT) first"
        )


def _check_grid(first: _Band, band: _Band) -> None:
    if band.wcs is None or first.wcs is None:
        if band.shape != first.shape:
            raise ImgturboError(
                f"{first.path} has {first.shape[0]} × {first.shape[1]} pixels and {band.path} "
                f"{band.shape[0]} × {band.shape[1]}, and without a WCS in both they cannot be "
                "brought to one grid; resample or crop them first"
            )
        return
    whole = (slice(0, first.shape[0]), slice(0, first.shape[1]))
    if footprint(band.wcs, band.shape, first.wcs, whole) is None:
        raise ImgturboError(
            f"{first.path} and {band.path} have no sky in common by their WCS; "
            "give files of the same field"
        )


def _check_measured(band: _Band) -> None:
    """Stops at the first block of rows with a measured pixel, usually the first of all."""
    height, width = band.shape
    step = max(1, _SCAN // width)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        if np.isfinite(band.read(rows, slice(0, width))).any():
            return
    raise ImgturboError(
        f"{band.path}: band {band.name} has no measured pixel (all NaN or masked); leave it out"
    )
