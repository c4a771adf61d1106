"""Small fields for the tests of preparation: FITS with a WCS, pictures without, and settings."""

from __future__ import annotations

import numpy as np
from astropy.io import fits
from sky_grids import tangent

from imgturbo.config import PrepareConfig
from imgturbo.sky import SkyImage, write_sky


def header(shape, ra=150.0, dec=2.2, scale=0.05, angle=0.0, band="F814W", unit="MJy/sr"):
    cards = tangent(shape, scale, angle, ra, dec).to_header()
    cards["BUNIT"] = unit
    cards["FILTER"] = band
    return cards


def stars(shape, n=40, seed=0, noise=0.02):
    """Gaussian sources on noise; the same sky at every call with the same seed."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = rng.normal(0, noise, shape)
    for _ in range(n):
        cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        image += rng.uniform(1, 20) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 1.7**2))
    return image.astype(np.float32)


def write(path, data, **options):
    fits.writeto(path, data, header(data.shape, **options))
    return path


def picture(path, planes):
    write_sky(path, SkyImage.from_array(planes, unit="display", bands=("R", "G", "B")))
    return path


def settings(tmp_path, *fields, **options):
    content = {
        "fields": list(fields),
        "out": tmp_path / "out" / "tiles.zarr",
        "register": {"method": "none"},
        "tile": {"size": 16, "min_valid": 0.5},
        "split": {"fraction": 0.25, "block": 1, "guard": 0},
        "workers": 1,
    } | options
    return PrepareConfig.model_validate(content)
