"""`SkyImage`: an image that knows where on the sky it lies, in which unit, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.sky.bands import PICTURE_SUFFIXES
from imgturbo.sky.photometry import FluxScale
from imgturbo.sky.units import parse_unit
from imgturbo.sky.wcs import pixel_area, pixel_scale, wcs_window

__all__ = ["BOTTOM_UP", "TOP_DOWN", "SkyImage", "measured", "row_order"]

TOP_DOWN, BOTTOM_UP = "TOP-DOWN", "BOTTOM-UP"

_SAME_AREA = 1e-3  # relative; a thousandth of a magnitude


def row_order(wcs: WCS | None, header: fits.Header | None, path: Path | None) -> str:
    """Where the first row of an image is shown: ``"TOP-DOWN"``, ``"BOTTOM-UP"``, or ``""``.

    Rows of FITS files run upward, as every viewer shows them, unless a card ROWORDER says
    otherwise; rows of pictures run downward. Of an array nobody knows: its rows stay as they are.
    """
    stated = str(header.get("ROWORDER", "") if header is not None else "").strip().upper()
    if stated in (TOP_DOWN, BOTTOM_UP):
        return stated
    if path is not None and path.suffix.lower() in PICTURE_SUFFIXES:
        return TOP_DOWN
    return "" if wcs is None and header is None else BOTTOM_UP


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
        named: a channel, whether its name is the header's; empty where nobody knows.

    Example:
        >>> flux, valid = np.ones((1, 3, 4), "f4"), np.ones((3, 4), bool)
        >>> image = SkyImage(flux, valid, None, "nJy", ("F150W",))
        >>> image.data.shape, image.unit, image.zeropoints
        ((1, 3, 4), 'nJy', (None,))
    """

    data: NDArray[np.float32]
    valid: NDArray[np.bool_]
    wcs: WCS | None
    unit: str
    bands: tuple[str, ...]
    header: fits.Header | None = None
    zeropoints: tuple[float | None, ...] = ()
    path: Path | None = None
    named: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        channels = len(self.data)
        if self.wcs is not None and self.wcs.naxis != 2:
            object.__setattr__(self, "wcs", self.wcs.celestial)
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
        """Side of a pixel in arcsec (geometric mean of both) in the middle; None without a WCS."""
        return pixel_scale(self.wcs, self.shape[1:])

    @property
    def row_order(self) -> str:
        """``"TOP-DOWN"``, ``"BOTTOM-UP"`` or, for a bare array, ``""``: see :func:`row_order`."""
        return row_order(self.wcs, self.header, self.path)

    @property
    def scales(self) -> tuple[FluxScale, ...]:
        """What the value 1 in a pixel means, a band each."""
        unit, area = parse_unit(self.unit), pixel_area(self.wcs, self.shape[1:])
        return tuple(FluxScale(unit, zero, area) for zero in self.zeropoints)

    def window(self, rows: slice, cols: slice) -> SkyImage:
        """The part ``[rows, cols]``, its WCS moved along; bounds are clipped to the image.

        Where pixels differ in size over the sky (all-sky maps), zero points are those of the pixel
        in the middle of the part.
        """
        height, width = self.valid.shape
        top, bottom, _ = rows.indices(height)
        left, right, _ = cols.indices(width)
        part = (slice(top, max(top, bottom)), slice(left, max(left, right)))
        wcs = None if self.wcs is None else wcs_window(self.wcs, *part)
        image = replace(self, data=self.data[:, *part], valid=self.valid[part], wcs=wcs)
        here, there = pixel_area(wcs, image.shape[1:]), pixel_area(self.wcs, self.shape[1:])
        if here is None or there is None or abs(here / there - 1) < _SAME_AREA:
            return image
        return replace(image, zeropoints=tuple(s.on(here).zeropoint for s in self.scales))

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
        if tuple(bands) == self.bands:
            return self
        order = [self.bands.index(band) for band in bands]
        data = self.data[order]
        return replace(
            self,
            data=data,
            valid=measured(data),
            bands=tuple(bands),
            zeropoints=tuple(self.zeropoints[i] for i in order),
            named=tuple(self.named[i] for i in order) if self.named else (),
        )
