"""Flux survives a change of grid, within and across pixel scales, and holes do not spread."""

from __future__ import annotations

import numpy as np
import pytest

from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, resample

SIZE = 121


def star(wcs, shape, sky, fwhm, flux, per_pixel, scale):
    """A Gaussian star at a sky position; ``flux`` is a sum over pixels, or per square arcsec."""
    x0, y0 = wcs.world_to_pixel(sky)
    y, x = np.mgrid[: shape[0], : shape[1]]
    sigma = fwhm / 2.3548 / scale
    profile = np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    return flux * profile / (1.0 if per_pixel else scale**2)


@pytest.mark.parametrize("unit", ["electron/s", "MJy/sr", ""])
@pytest.mark.parametrize(
    ("new_scale", "order"),
    [
        (0.03, "bilinear"),
        (0.03, "bicubic"),
        (0.05, "bilinear"),
        (0.05, "biquintic"),
        (0.0537, "bicubic"),
        (0.1, "bilinear"),
        (0.171, "bicubic"),
    ],
)
def test_stars_keep_flux_and_place(make_wcs, unit, new_scale, order):
    per_pixel = unit != "MJy/sr"
    old_scale, flux = 0.05, 321.0
    shape = (SIZE, SIZE + 10)
    old = make_wcs(shape, scale=old_scale, angle=20)
    new_shape = tuple(int(n * old_scale / new_scale * 0.9) for n in shape)
    new = make_wcs(new_shape, scale=new_scale, angle=47)
    sky = old.pixel_to_world(63.3, 55.8)
    image = SkyImage.from_array(
        star(old, shape, sky, 0.15, flux, per_pixel, old_scale),
        wcs=old,
        unit=unit,
        zeropoints=[25.0],
    )
    moved = resample(image, new, new_shape, order)
    data = np.nan_to_num(moved.data[0]).astype(float)
    total = data.sum() * (1.0 if per_pixel else new_scale**2)
    assert total == pytest.approx(flux, rel=0.01)
    y, x = np.mgrid[: new_shape[0], : new_shape[1]]
    centroid = ((x * data).sum() / data.sum(), (y * data).sum() / data.sum())
    np.testing.assert_allclose(centroid, new.world_to_pixel(sky), atol=0.02)
    # The magnitude of the star, by the zero points, is the same before and after.
    before = 25.0 - 2.5 * np.log10(image.data.sum())
    assert moved.zeropoints[0] - 2.5 * np.log10(data.sum()) == pytest.approx(before, abs=0.02)


@pytest.mark.parametrize(("unit", "new_scale"), [("MJy/sr", 0.12), ("electron/s", 0.04)])
def test_a_flat_sky_stays_flat(make_wcs, unit, new_scale):
    old, new = make_wcs((90, 80)), make_wcs((20, 25), scale=new_scale, angle=-71)
    flat = np.full((2, 90, 80), 7.0)
    image = SkyImage.from_array(flat, wcs=old, unit=unit)
    expected = 7.0 if unit == "MJy/sr" else 7.0 * (new_scale / 0.05) ** 2
    moved = resample(image, new, (20, 25))
    assert moved.valid.all()
    np.testing.assert_allclose(moved.data, expected, rtol=1e-4)


def test_distortions_change_the_size_of_pixels(make_wcs):
    """A flat flux per sky area is Ω a pixel; on an undistorted grid it must come out flat."""
    shape = (101, 101)
    old, new = make_wcs(shape, sip=True), make_wcs((61, 61), scale=0.05)
    y, x = np.mgrid[:101, :101] + 0.0
    u, v = x - 50, y - 50
    jacobian = (1 + 4e-4 * u) * (1 - 3e-4 * u)  # of x + 2e-4 x², y − 3e-4 xy; the rest is 0
    image = SkyImage.from_array(np.abs(jacobian) + 0 * v, wcs=old, unit="electron/s")
    moved = resample(image, new, (61, 61))
    assert moved.valid.all()
    np.testing.assert_allclose(moved.data, 1.0, rtol=2e-3)


@pytest.mark.parametrize("order", ["nearest", "bilinear", "bicubic", "biquintic"])
def test_the_same_grid_changes_little_and_holes_stay_holes(make_wcs, order):
    y, x = np.mgrid[:57, :43]
    data = 10 + np.sin(x / 6) * np.cos(y / 7)
    hole = (slice(20, 25), slice(10, 16))
    data[hole] = np.nan
    wcs = make_wcs(data.shape)
    moved = resample(SkyImage.from_array(data, wcs=wcs, unit="MJy/sr"), wcs, data.shape, order)
    assert np.isnan(moved.data[0][hole]).mean() > 0.5
    good = np.isfinite(data)
    assert np.isfinite(moved.data[0][good]).mean() > 0.98
    both = moved.valid & good
    np.testing.assert_allclose(moved.data[0][both], data[both], atol=1e-4)


@pytest.mark.parametrize("order", ["bilinear", "bicubic", "biquintic"])
def test_one_missing_pixel_does_not_spoil_its_neighbours(make_wcs, order):
    data = np.full((41, 41), 5.0)
    data[20, 20] = np.nan
    old, new = make_wcs((41, 41)), make_wcs((25, 25), angle=55)
    moved = resample(SkyImage.from_array(data, wcs=old, unit="MJy/sr"), new, (25, 25), order)
    assert (~moved.valid).sum() <= 2
    np.testing.assert_allclose(moved.data[0][moved.valid], 5.0, rtol=1e-4)


def test_outside_is_not_measured(make_wcs):
    old, new = make_wcs((30, 30)), make_wcs((60, 60))
    moved = resample(SkyImage.from_array(np.ones((30, 30)), wcs=old), new, (60, 60))
    assert moved.valid.sum() == 30 * 30
    assert moved.valid[15:45, 15:45].all()


def test_parts_of_the_grid_are_parts_of_the_whole(make_wcs, monkeypatch):
    rng = np.random.default_rng(1)
    old, new = make_wcs((80, 70)), make_wcs((50, 41), scale=0.083, angle=12)
    image = SkyImage.from_array(rng.normal(size=(2, 80, 70)), wcs=old, unit="nJy")
    whole = resample(image, new, (50, 41))
    monkeypatch.setattr("imgturbo.sky.resampling._BLOCK", 41 * 7)
    parts = resample(image, new, (50, 41))
    np.testing.assert_allclose(parts.data, whole.data, atol=1e-5)


@pytest.mark.parametrize("ra", [150.2, 330.1])
def test_no_common_sky_names_both_places(make_wcs, ra):
    image = SkyImage.from_array(np.ones((30, 30)), wcs=make_wcs((30, 30), dec=0.0))
    with pytest.raises(ImgturboError, match="no sky in common") as caught:
        resample(image, make_wcs((30, 30), ra=ra, dec=0.0), (30, 30))
    assert "150.1000" in str(caught.value)
    assert f"{ra:.4f}" in str(caught.value)


def test_coordinates_are_needed(make_wcs):
    image = SkyImage.from_array(np.ones((9, 9)))
    with pytest.raises(ImgturboError, match="without a celestial WCS"):
        resample(image, make_wcs((9, 9)), (9, 9))


@pytest.mark.parametrize("unit", ["furlong", "mag", ""])
def test_an_unknown_unit_is_asked_for_where_pixels_change_their_size(make_wcs, unit):
    image = SkyImage.from_array(np.ones((30, 30)), wcs=make_wcs((30, 30)), unit=unit)
    with pytest.raises(ImgturboError, match="set BUNIT to a flux per pixel"):
        resample(image, make_wcs((30, 30), scale=0.04), (30, 30))
    assert np.nanmedian(resample(image, make_wcs((30, 30), angle=50), (30, 30)).data) == 1
