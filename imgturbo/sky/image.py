"""`SkyImage`: an image that knows where on the sky it lies, in which unit, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.sky.headers import pixel_area
from imgturbo.sky.photometry import FluxScale
from imgturbo.sky.units import parse_unit

__all__ = ["SkyImage", "measured"]


def measured(data: NDArray[Any]) -> NDArray[np.bool_]:
    """(H, W): True where every band of ``data`` (C, H, W) is finite."""
    everywhere: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(data), axis=0)
    return everywhere


@dataclass(frozen=True, eq=False)
class SkyImage:
    """Bands of one patch of sky on one pixel grid.

    Attributes:
        data: (C, H, W) float32, native byte order; NaN where that band was not measured.
        valid: (H, W) bool, True where every band was measured.
        wcs: celestial 2-D WCS, or None for plain pictures.
        unit: of ``data``: ``"MJy/sr"``, ``"electron/s"``, …; ``"display"`` for pictures (0 to 1);
            ``""`` where the file does not say.
        bands: a name a channel, such as ``"F606W"``; ``"R", "G", "B"`` or ``"L"`` for pictures.
        zeropoints: AB magnitude of one unit in one pixel, a channel; None where unknown.
        header: of the first image, kept for provenance.
        path: of the first file.
    """

    data: NDArray[np.float32]
    valid: NDArray[np.bool_]
    wcs: WCS | None
    unit: str
    bands: tuple[str, ...]
    header: fits.Header | None = None
    zeropoints: tuple[float | None, ...] = ()
    path: Path | None = None

    def __post_init__(self) -> None:
        channels = len(self.data)
        if self.data.ndim != 3 or self.valid.shape != self.data.shape[1:]:
            raise ImgturboError(
                f"{self.path or 'image'}: data must be (C, H, W) with valid (H, W), got "
                f"{self.data.shape} and {self.valid.shape}"
            )
        if not self.zeropoints:
            object.__setattr__(self, "zeropoints", (None,) * channels)
        if len(self.bands) != channels or len(self.zeropoints) != channels:
            raise ImgturboError(
                f"{self.path or 'image'}: {channels} channels but {len(self.bands)} band names and "
                f"{len(self.zeropoints)} zero points"
            )

    @classmethod
    def from_array(
        cls,
        data: NDArray[Any],
        *,
        wcs: WCS | None = None,
        unit: str = "",
        bands: Sequence[str] | None = None,
        zeropoints: Sequence[float | None] = (),
    ) -> SkyImage:
        """A sky image of an array (C, H, W) or (H, W); non-finite pixels are not valid."""
        planes = np.asarray(data)
        planes = planes[None] if planes.ndim == 2 else planes
        planes = planes.astype(np.float32, copy=True)
        planes[~np.isfinite(planes)] = np.nan
        names = (
            tuple(bands) if bands is not None else tuple(f"BAND{i + 1}" for i in range(len(planes)))
        )
        return cls(planes, measured(planes), wcs, unit, names, zeropoints=tuple(zeropoints))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.data.shape
        return channels, height, width

    @property
    def pixel_scale(self) -> float | None:
        """Side of a pixel in arcsec (geometric mean of both), or None without a WCS."""
        if self.wcs is None:
            return None
        return float(np.sqrt(np.prod(proj_plane_pixel_scales(self.wcs))) * 3600)

    @property
    def scales(self) -> tuple[FluxScale, ...]:
        """What the value 1 in a pixel means, a band each."""
        unit, area = parse_unit(self.unit), pixel_area(self.wcs)
        return tuple(FluxScale(unit, zero, area) for zero in self.zeropoints)

    def window(self, rows: slice, cols: slice) -> SkyImage:
        """The part ``[rows, cols]``, its WCS moved along; bounds are clipped to the image."""
        height, width = self.valid.shape
        top, bottom, _ = rows.indices(height)
        left, right, _ = cols.indices(width)
        wcs = None
        if self.wcs is not None:
            wcs = self.wcs.slice((slice(top, bottom), slice(left, right)))
        part = (slice(top, bottom), slice(left, right))
        return replace(self, data=self.data[:, *part], valid=self.valid[part], wcs=wcs)

    def select(self, bands: Sequence[str]) -> SkyImage:
        """The named bands in the given order.

        Raises:
            ImgturboError: a band is not there; the message lists those that are.
        """
        missing = [band for band in bands if band not in self.bands]
        if missing:
            raise ImgturboError(
                f"{self.path or 'image'}: no band {', '.join(missing)}; "
                f"it has {', '.join(self.bands)}"
            )
        order = [self.bands.index(band) for band in bands]
        data = self.data[order]
        return replace(
            self,
            data=data,
            valid=measured(data),
            bands=tuple(bands),
            zeropoints=tuple(self.zeropoints[i] for i in order),
        )
