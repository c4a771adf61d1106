"""Where the bands of an image lie: one grid, and from it a way to each band's own pixels.

A band is read as it is where its pixels are the grid's, and resampled once, from its own pixels to
the grid, where they are not: whatever the grid, and also by way of a registration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.sky.frames import same_grid
from imgturbo.sky.grids import Route, same_area
from imgturbo.sky.photometry import FluxScale, check_resizable
from imgturbo.sky.resampling import resample_window
from imgturbo.sky.wcs import pixel_area

__all__ = ["Band", "Placement"]


@dataclass(frozen=True)
class Band:
    """A band of a file, on that file's own grid."""

    name: str
    path: Path
    shape: tuple[int, int]
    wcs: WCS | None
    scale: FluxScale
    header: fits.Header | None
    named: bool
    read: Callable[[slice, slice], NDArray[np.float32]]


@dataclass(frozen=True)
class _Group:
    """Bands (their numbers) that share their pixels, and the way to these; None: the grid's own."""

    members: list[int]
    route: Route | None


class Placement:
    """Bands on one grid.

    Args:
        bands: of the image.
        wcs: of the grid, None where there is no sky.
        size: (H, W) of the grid.
        name: of the grid, for messages.
        registered: where pixels of ``stated`` really lie; None: where it says.
        stated: the grid of the image, which its files state, where this is another.

    Raises:
        ImgturboError: no sky in common, or a unit that does not say what pixels of another size
            hold.
    """

    def __init__(
        self,
        bands: Sequence[Band],
        wcs: WCS | None,
        size: tuple[int, int],
        name: str,
        registered: WCS | None = None,
        stated: Placement | None = None,
    ) -> None:
        self.bands, self.wcs, self.size = bands, wcs, size
        self._groups: list[_Group] = []
        area = pixel_area(wcs, size)
        scales = []
        for index, band in enumerate(bands):
            group = self._group_of(band)
            if group is None:
                group = _Group([], self._route(band, registered, stated))
                self._groups.append(group)
            group.members.append(index)
            if group.route is not None:
                self._check(band, group.route, name)
            scales.append(band.scale if group.route is None else band.scale.on(area))
        self.scales: tuple[FluxScale, ...] = tuple(scales)

    def read(self, window: tuple[slice, slice]) -> NDArray[np.float32]:
        """Rows and columns of the grid: (C, h, w), NaN where a band was not measured."""
        size = [part.stop - part.start for part in window]
        data = np.empty((len(self.bands), *size), np.float32)
        if 0 in size:
            return data
        for group in self._groups:
            bands = [self.bands[i] for i in group.members]
            if group.route is None:
                for i, band in zip(group.members, bands, strict=True):
                    data[i] = band.read(*window)
                continue

            def read(
                rows: slice, cols: slice, bands: Sequence[Band] = bands
            ) -> list[NDArray[np.float32]]:
                return [band.read(rows, cols) for band in bands]

            per_pixel = not bands[0].scale.unit.intensive
            data[group.members] = resample_window(
                read, len(bands), bands[0].shape, group.route, window, per_pixel
            )
        return data

    def _group_of(self, band: Band) -> _Group | None:
        """Those whose pixels lie where the band's do."""
        for group in self._groups:
            other = self.bands[group.members[0]]
            if other.shape != band.shape or other.scale.unit != band.scale.unit:
                continue
            if band.wcs is other.wcs or (
                band.wcs and other.wcs and same_grid(other.wcs, band.wcs, band.shape)
            ):
                return group
        return None

    def _route(self, band: Band, registered: WCS | None, stated: Placement | None) -> Route | None:
        if registered is None:
            if self.wcs is None or band.wcs is None:
                return None
            if band.shape == self.size and same_grid(self.wcs, band.wcs, self.size):
                return None
            return Route(self.size, (self.wcs, band.wcs))
        assert self.wcs is not None
        assert stated is not None
        onward = stated._route(band, None, None)
        return Route(self.size, (self.wcs, registered), *(onward.legs if onward else ()))

    def _check(self, band: Band, route: Route, name: str) -> None:
        whole = (slice(0, self.size[0]), slice(0, self.size[1]))
        if route.footprint(band.shape, whole) is None:
            raise ImgturboError(
                f"{name} and {band.path} have no sky in common by their WCS; "
                "give files of the same field"
            )
        if not same_area(route.legs[-1][1], route.legs[0][0]):
            check_resizable(band.scale.unit, str(band.path))
