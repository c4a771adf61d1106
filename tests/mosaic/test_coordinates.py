"""Law 3: what goes in at a place on the sky, with a flux, comes out there, with that flux."""

from __future__ import annotations

import numpy as np
import pytest
from small_skies import rotated_wcs

from imgturbo.mosaic import translate_file, translate_sky
from imgturbo.sky import read_sky

H, W = 211, 173
FWHM = 3.0
RADIUS = 10


def stars(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y, x) of stars on a coarse lattice, at sub-pixel places, and their fluxes."""
    y, x = np.meshgrid(np.arange(25, H - 20, 40), np.arange(25, W - 20, 40), indexing="ij")
    y = y.ravel() + random.uniform(-0.5, 0.5, y.size)
    x = x.ravel() + random.uniform(-0.5, 0.5, x.size)
    return y, x, 10 ** random.uniform(0, 4, y.size)


def observe(y, x, flux) -> np.ndarray:
    rows, cols = np.mgrid[:H, :W]
    sigma = FWHM / 2.3548
    image = np.zeros((H, W))
    for v, u, f in zip(y, x, flux, strict=True):
        image += (
            f
            / (2 * np.pi * sigma**2)
            * np.exp(-((rows - v) ** 2 + (cols - u) ** 2) / (2 * sigma**2))
        )
    return image


def measure(image, y, x) -> tuple[float, float, float]:
    """Centroid and flux within an aperture about a place."""
    rows, cols = np.mgrid[: image.shape[0], : image.shape[1]]
    inside = (rows - y) ** 2 + (cols - x) ** 2 < RADIUS**2
    weight = np.where(inside, image, 0)
    total = weight.sum()
    return (weight * rows).sum() / total, (weight * cols).sum() / total, total


@pytest.fixture
def field(make_fits):
    y, x, flux = stars(np.random.default_rng(8))
    truth = observe(y, x, flux)
    wcs = rotated_wcs(H, W)
    files = []
    for band, factor in (("F606W", 1.0), ("F814W", 2.0)):
        plane = (factor * truth).astype(np.float32)
        plane[:, :5] = plane[-7:] = np.nan
        plane[100:102, 90:93] = np.nan
        files.append(make_fits(f"{band}.fits", plane, band, wcs=wcs))
    return files, wcs, y, x, flux


@pytest.mark.parametrize("overlap", [None, 12])
def test_point_sources_keep_position_and_flux(identity, field, tmp_path, overlap):
    files, wcs, y, x, flux = field
    out = translate_file(identity, files, tmp_path / "out.fits", window=64, overlap=overlap)
    made = read_sky(out)
    expected = wcs.pixel_to_world(x, y)
    for star in range(len(y)):
        for band, factor in enumerate((1.0, 2.0)):
            v, u, total = measure(np.nan_to_num(made.data[band].astype(float)), y[star], x[star])
            place = made.wcs.pixel_to_world(u, v)
            assert place.separation(expected[star]).arcsec / 0.05 < 0.1
            assert total == pytest.approx(factor * flux[star], rel=1e-4)


def test_the_mask_is_the_sources(identity, field, tmp_path):
    files, *_ = field
    made = read_sky(translate_file(identity, files, tmp_path / "out.fits", window=64))
    source = read_sky(files)
    np.testing.assert_array_equal(np.isnan(made.data[0]), ~source.valid)
    np.testing.assert_array_equal(np.isnan(made.data[1]), ~source.valid)
    np.testing.assert_allclose(
        made.data[:, made.valid], source.data[:, source.valid], rtol=1e-5, atol=1e-6
    )


def test_in_memory_too(identity, field):
    files, *_ = field
    source = read_sky(files)
    made = translate_sky(identity, source, window=64).mean
    np.testing.assert_allclose(
        made.data[:, made.valid], source.data[:, source.valid], rtol=1e-5, atol=1e-6
    )
    assert made.wcs is source.wcs
    assert made.unit == source.unit
