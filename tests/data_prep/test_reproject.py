"""One grid for both sides: the same sky in the same pixels, the same flux."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sky_grids import tangent

from data_prep.reproject import align
from imgturbo.config import RegisterConfig
from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage
from imgturbo.sky.grids import scaled_grid

NONE = RegisterConfig(method="none")
tan = partial(tangent, ra=150.0, dec=-35.0)


def source_at(wcs, shape, width, per_pixel):
    """A round Gaussian of unit total flux at the reference point, ``width`` arcsec."""
    y, x = np.indices(shape)
    ra, dec = wcs.all_pix2world(x, y, 0)
    u = (ra - wcs.wcs.crval[0]) * 3600 * np.cos(np.radians(wcs.wcs.crval[1]))
    v = (dec - wcs.wcs.crval[1]) * 3600
    bright = np.exp(-(u**2 + v**2) / (2 * width**2)) / (2 * np.pi * width**2)
    pixel = abs(np.linalg.det(wcs.wcs.cd)) * 3600**2
    unit = "electron/s" if per_pixel else "MJy/sr"
    return SkyImage.from_array(bright * pixel if per_pixel else bright, wcs=wcs, unit=unit)


@given(
    shape=st.tuples(st.integers(8, 97), st.integers(8, 97)),
    scale=st.floats(0.02, 0.2),
    angle=st.floats(0, 360),
    new=st.floats(0.01, 0.3),
)
def test_another_scale_is_the_same_sky(shape, scale, angle, new):
    wcs = tan(shape, scale, angle)
    plain, (height, width), factor = scaled_grid(wcs, shape, new)
    assert factor == pytest.approx(scale / new)
    # The outer corner of the first pixel stays; the last is covered by less than a pixel more.
    corner = plain.all_pix2world(-0.5, -0.5, 0)
    np.testing.assert_allclose(corner, wcs.all_pix2world(-0.5, -0.5, 0), atol=1e-9)
    assert -1e-6 <= height - shape[0] * factor < 1 or height == 1
    assert -1e-6 <= width - shape[1] * factor < 1 or width == 1
    x, y = np.array([0.0, 3.0, shape[1] - 1]), np.array([0.0, 5.0, shape[0] - 1])
    there = plain.all_pix2world((x + 0.5) * factor - 0.5, (y + 0.5) * factor - 0.5, 0)
    np.testing.assert_allclose(there, wcs.all_pix2world(x, y, 0), atol=1e-9)


@settings(max_examples=10)
@given(
    angle=st.floats(0, 360),
    scale=st.sampled_from([0.03, 0.05, 0.08]),
    pixel_scale=st.sampled_from([None, 0.04, 0.1]),
    per_pixel=st.booleans(),
)
def test_flux_and_place_are_kept(angle, scale, pixel_scale, per_pixel):
    """A source keeps its total flux and its position on both sides, at any scale and rotation."""
    source = source_at(tan((101, 97), scale, angle), (101, 97), 0.25, per_pixel)
    target = source_at(tan((89, 103), 0.05, 20.0), (89, 103), 0.25, per_pixel)
    aligned = align(source, target, NONE, pixel_scale)
    assert aligned.source.shape == aligned.target.shape
    for image in (aligned.source, aligned.target):
        assert image.pixel_scale == pytest.approx(pixel_scale or 0.05, rel=1e-6)
        flux = np.nan_to_num(image.data[0]).astype(float)
        area = 1.0 if per_pixel else image.pixel_scale**2
        assert flux.sum() * area == pytest.approx(1.0, rel=0.01)
        y, x = np.indices(flux.shape)
        centre = [(flux * x).sum() / flux.sum(), (flux * y).sum() / flux.sum()]
        expected = image.wcs.all_world2pix(150.0, -35.0, 0)
        np.testing.assert_allclose(centre, expected, atol=0.05)


def test_a_lone_side_keeps_its_pixels():
    image = source_at(tan((40, 37)), (40, 37), 0.2, per_pixel=True)
    for sides in ((image, None), (None, image)):
        aligned = align(*sides, NONE)
        assert aligned.reference is image
        assert aligned.registration is None
        assert np.isnan(aligned.residuals(np.zeros(3), np.zeros(3))).all()


def test_target_pixels_are_never_touched():
    rng = np.random.default_rng(0)
    target = SkyImage.from_array(rng.normal(size=(2, 50, 61)), wcs=tan((50, 61)), unit="MJy/sr")
    source = source_at(tan((60, 60), 0.07, 33.0), (60, 60), 0.3, per_pixel=False)
    aligned = align(source, target, NONE)
    np.testing.assert_array_equal(aligned.target.data, target.data)
    assert aligned.source.shape == (1, 50, 61)


def test_a_band_without_pixels_is_named():
    data = np.ones((2, 20, 20))
    data[1] = np.nan
    image = SkyImage.from_array(data, wcs=tan((20, 20)), unit="MJy/sr", bands=("A", "B"))
    with pytest.raises(ImgturboError, match="band B has no valid pixel"):
        align(image, None, NONE)
    data = np.full((2, 20, 20), np.nan)
    data[0, :5], data[1, 5:] = 1, 1
    image = SkyImage.from_array(data, wcs=tan((20, 20)), unit="MJy/sr", bands=("A", "B"))
    with pytest.raises(ImgturboError, match="no pixel was measured in all of A, B"):
        align(None, image, NONE)
