r"""Grey images as lightness L, whatever they come from.

A grey picture's value g is the sRGB triple (g, g, g). Fluxes are made a picture first:

    g = (y − y₀)/(y₁ − y₀) clipped to 0…1,    y = asinh((f − offset)/softening)/scale

with the stretch fitted to the image itself (offset at the sky, y = 1 at its 99.8th percentile), y₀
the 1st percentile and y₁ = 1: the sky is dark, not black. Rows of the sky run upward and those of
pictures downward; L is held as a picture, and ``Grey.flipped`` remembers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.remote import readable
from imgturbo.sky import SkyImage, Stretch, read_sky
from imgturbo.sky.bands import stem
from imgturbo.sky.image import BOTTOM_UP
from imgturbo.sky.lab import LIGHTNESS, rgb_to_lab
from imgturbo.sky.overlap import require_common
from imgturbo.sky.units import DISPLAY

__all__ = ["Grey", "read_colour", "read_grey"]

_SOFTENING, _BLACK, _WHITE = 3.0, 1.0, 99.8  # noise deviations; percentiles of 0 and 1

Planes = NDArray[np.float32]


@dataclass(frozen=True)
class Grey:
    """A grey image to be coloured.

    Attributes:
        name: of the file, without suffixes.
        lightness: (H, W) from 0 to 100, top row first, a middling value where nothing was measured.
        valid: (H, W).
        flipped: the file's first row is the bottom one.
        sky: the image as it was read; pictures have no coordinates.
    """

    name: str
    lightness: Planes
    valid: NDArray[np.bool_]
    flipped: bool
    sky: SkyImage

    @property
    def is_sky(self) -> bool:
        """Whether it holds fluxes, to be written as FITS too."""
        return self.sky.unit != DISPLAY


def read_grey(path: Path | str, bands: str | None = None, grey: bool = False) -> Grey:
    """Read one grey image: a picture, or one band of fluxes.

    Args:
        path: picture or FITS file.
        bands: the band to read, of a FITS file that has several.
        grey: of a colour picture, take the lightness.

    Raises:
        ImgturboError: a colour picture without ``grey``, several bands, or none of that name.
    """
    path = readable(path)
    sky = read_sky(path)
    if bands is not None:
        sky = sky.select(bands.split(","))
    if sky.unit == DISPLAY and len(sky.data) == 3:
        if not grey and np.nanmax(np.ptp(sky.data, axis=0)) > 0:
            raise ImgturboError(
                f"{path}: is a colour picture; give a grey one, or --grey to colour its lightness"
            )
    elif len(sky.data) != 1:
        raise ImgturboError(
            f"{path}: has the bands {', '.join(sky.bands)}; name the one to be coloured, "
            f"--bands {sky.bands[0]}"
        )
    require_common([np.isfinite(sky.data)], sky.bands, str(path))
    picture = sky.data if sky.unit == DISPLAY else _displayed(sky)
    rgb = picture if len(picture) == 3 else np.repeat(picture, 3, axis=0)
    flipped = sky.row_order == BOTTOM_UP
    lightness = rgb_to_lab(rgb[:, ::-1] if flipped else rgb)[0]
    valid = np.isfinite(lightness)
    lightness[~valid] = LIGHTNESS.offset[0]
    return Grey(stem(path), lightness, valid, flipped, sky)


def read_colour(path: Path | str) -> Planes:
    """L, a, b (3, H, W) of a colour picture, 0 colour where it is transparent.

    Raises:
        ImgturboError: it is no colour picture.
    """
    sky = read_sky(path)
    if sky.unit != DISPLAY or len(sky.data) != 3:
        raise ImgturboError(
            f"{path}: holds the bands {', '.join(sky.bands)}; the reference must be a colour "
            "picture (PNG, JPEG, TIFF)"
        )
    return np.nan_to_num(rgb_to_lab(sky.data))


def _displayed(sky: SkyImage) -> NDArray[Any]:
    """Fluxes (1, H, W) as grey from 0 to 1."""
    y = Stretch.fit(sky.data, sky.valid, _SOFTENING, _WHITE)(sky.data)
    black = float(np.nanpercentile(y, _BLACK))
    white = max(1.0, black + 1e-6)
    return np.clip((y - black) / (white - black), 0, 1)
