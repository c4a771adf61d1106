"""A point spread function from a FITS file, as a kernel: p ≥ 0 about a middle pixel, Σ p = 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.remote import readable
from imgturbo.sky.hdus import hdus_of

__all__ = ["read_psf"]


def read_psf(path: Path, side: int) -> NDArray[np.float32]:
    """The first image of a file, cut out around its brightest pixel and brought to the sum 1.

    Args:
        path: FITS file; the pixels are taken to be those that are to be convolved.
        side: of the kernel in pixels, odd; beyond the file's own edge it is 0.

    Returns:
        (side, side).

    Raises:
        ImgturboError: the file cannot be read, has no image, or what it has is no PSF.
    """
    with hdus_of(readable(path), quietly=True) as hdus:
        images = [hdu for hdu in hdus if len(hdu.shape) == 2]
        if not images:
            raise ImgturboError(f"{path}: has no image of two axes; give the file of a PSF")
        rows, cols = (slice(0, n) for n in images[0].shape)
        image = images[0].window((rows, cols), rows, cols, np.float64)
    if not np.isfinite(image).all() or not image.max() > 0:
        raise ImgturboError(
            f"{path}: is no PSF: it has values that are not finite, or none above 0; give one "
            "without a mask"
        )
    half = side // 2
    y, x = np.unravel_index(image.argmax(), image.shape)
    wide = np.pad(image, half)[y : y + side, x : x + side]
    if wide.min() < 0:
        raise ImgturboError(
            f"{path}: is no PSF: {np.count_nonzero(wide < 0)} of its pixels are below 0; subtract "
            "the sky and set what is left of it to 0"
        )
    kernel: NDArray[np.float32] = (wide / wide.sum()).astype(np.float32)
    return kernel
