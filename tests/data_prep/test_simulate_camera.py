"""Laws of the cameras: geometry, noise and its correlation, footprints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.simulate.camera import HUBBLE_CHANNELS, WEBB_CHANNELS, Camera, hubble, webb
from imgturbo.errors import ImgturboError

SKY = (110.83, -73.45)


def cameras() -> list[Camera]:
    return [hubble(["F606W", "F814W"], 10.24), webb(["F150W", "F444W"], 256)]


@pytest.mark.parametrize("camera", cameras(), ids=["hst", "jwst"])
@given(xi=st.floats(-9, 9), eta=st.floats(-9, 9))
def test_pixels_and_wcs_agree(camera, xi, eta):
    """A point of the tangent plane, deprojected by hand, falls on the same pixel by the WCS."""
    ra0, dec0 = np.radians(SKY)
    east, north = np.radians(xi / 3600), np.radians(eta / 3600)
    ra = ra0 + np.arctan2(east, np.cos(dec0) - north * np.sin(dec0))
    dec = np.arctan2(
        np.sin(dec0) + north * np.cos(dec0), np.hypot(east, np.cos(dec0) - north * np.sin(dec0))
    )
    by_wcs = camera.wcs(SKY, true=True).world_to_pixel_values(np.degrees(ra), np.degrees(dec))
    np.testing.assert_allclose(by_wcs, camera.to_pixel(xi, eta), atol=1e-5)


@given(east=st.floats(-0.5, 0.5), north=st.floats(-0.5, 0.5))
def test_pointing_error_moves_the_headers_sky(east, north):
    camera = cameras()[1].moved((east, north))
    ra, dec = camera.wcs(SKY).pixel_to_world_values(*camera.centre)
    assert (ra - SKY[0]) * np.cos(np.radians(SKY[1])) * 3600 == pytest.approx(east, abs=1e-4)
    assert (dec - SKY[1]) * 3600 == pytest.approx(north, abs=1e-4)


def test_north_is_up_for_hubble_and_turned_for_webb():
    hst, jwst = cameras()
    x, y = hst.to_pixel(0.0, 1.0)
    assert (x - hst.centre[0], y - hst.centre[1]) == pytest.approx((0, 20))
    x, y = jwst.to_pixel(0.0, 1.0)
    turn = np.degrees(np.arctan2(x - jwst.centre[0], y - jwst.centre[1]))
    assert abs(turn) == pytest.approx(7.3)
    east = hst.to_pixel(1.0, 0.0)
    assert east[0] < hst.centre[0]


@pytest.mark.parametrize("channel", [*HUBBLE_CHANNELS.values(), *WEBB_CHANNELS.values()])
def test_noise_has_the_kernels_correlation_and_unit_rms(channel):
    bands = [channel.band]
    camera = hubble(bands, 20.0) if channel.band in HUBBLE_CHANNELS else webb(bands, 512)
    noise = camera.unit_noise(channel, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1, abs=0.02)
    expected = camera.noise_correlation(channel)
    assert expected[0] == 1
    assert expected[1] > 0.1
    for axis in (0, 1):
        for lag in (1, 2, 3):
            seen = float((noise * np.roll(noise, lag, axis)).mean())
            wanted = expected[lag] if lag < len(expected) else 0.0
            assert seen == pytest.approx(wanted, abs=0.02)


def test_correlation_is_that_of_drizzled_drops():
    """Drops of random phase laid on pixels one by one, along one axis."""
    channel = WEBB_CHANNELS["F277W"]
    camera = webb(["F277W"], 64)
    side = camera.pixfrac * channel.native / camera.pixel_scale
    rng = np.random.default_rng(5)
    centre, value = rng.uniform(0, 64, 20_000), rng.standard_normal((20_000, 40))
    pixel = np.arange(64)[:, None]
    overlap = np.minimum(centre + side / 2, pixel + 0.5) - np.maximum(
        centre - side / 2, pixel - 0.5
    )
    image = (np.maximum(overlap, 0) @ value)[4:-4]
    for lag, wanted in enumerate(camera.noise_correlation(channel)):
        pairs = image[lag:] * image[: len(image) - lag]
        assert pairs.mean() / (image**2).mean() == pytest.approx(wanted, abs=0.06)


def test_depth_is_the_noise_in_an_aperture():
    """5 σ of many apertures of 0.16″ is the flux of the quoted depth, before edge effects."""
    channel = WEBB_CHANNELS["F277W"]
    camera = webb(["F277W"], 512)
    noise = camera.sky_noise(channel) * camera.unit_noise(channel, np.random.default_rng(1))
    # Sums over large boxes measure the white level that correlation hides from single pixels.
    side = 16
    sums = noise.reshape(512 // side, side, 512 // side, side).sum((1, 3))
    pixels = np.pi * 0.16**2 / camera.pixel_scale**2
    white = sums.std() / side * np.sqrt(pixels)
    assert 31.4 - 2.5 * np.log10(5 * white) == pytest.approx(channel.depth, abs=0.12)


def test_single_pixels_are_quieter_than_white_noise_would_be():
    for camera in cameras():
        for channel in camera.channels:
            pixels = np.pi * 0.16**2 / camera.pixel_scale**2
            white = 10 ** (-0.4 * (channel.depth - 31.4)) / 5 / np.sqrt(pixels)
            assert camera.sky_noise(channel) < white


def test_rms_grows_with_light_and_with_missing_exposures():
    camera = cameras()[1]
    channel = camera.channels[0]
    weight = camera.weight()
    dark = camera.noise_rms(np.zeros(camera.shape), channel)
    lit = camera.noise_rms(np.full(camera.shape, 50.0), channel)
    seen = weight > 0
    assert (lit[seen] > dark[seen]).all()
    assert np.isinf(dark[~seen]).all()
    full = dark[weight == 1]
    half = dark[weight == 0.5]
    assert half.size
    np.testing.assert_allclose(half, full[0] * np.sqrt(2), rtol=1e-6)


def test_footprints_are_tilted_stepped_and_leave_borders():
    for camera in cameras():
        weight = camera.weight()
        assert set(np.unique(weight)) >= {0.0, 0.25, 0.5, 1.0}
        # Tilted: the first row that is seen differs from one side to the other.
        first = (weight > 0).argmax(axis=0)
        seen = np.flatnonzero((weight > 0).any(axis=0))
        left, right = seen[len(seen) // 4], seen[3 * len(seen) // 4]
        assert first[left] != first[right]


def test_hubble_covers_webbs_field():
    hst, jwst = hubble(["F606W"], 40.96), webb(["F150W"], 1024)
    rows, cols = np.nonzero(jwst.weight() > 0)
    offset = np.stack([cols - jwst.centre[0], rows - jwst.centre[1]])[:, ::97]
    x, y = hst.to_pixel(*(jwst.cd @ offset))
    x, y = np.rint(x).astype(int), np.rint(y).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < hst.shape[1]) & (y < hst.shape[0])
    covered = hst.weight()[y[inside], x[inside]] > 0
    assert covered.sum() > 0.97 * len(x)


@pytest.mark.parametrize("bands", [["F160W"], [], ["F606W", "F606W"]])
def test_wrong_bands_are_named(bands):
    with pytest.raises(ImgturboError, match="Hubble"):
        hubble(bands, 10.0)


def test_a_camera_may_be_sharpened_by_hand():
    """The dataclass is the interface: any number may be replaced."""
    camera = replace(cameras()[0], jitter=0.0, pixfrac=0.5)
    assert camera.psf(camera.channels[0]).max() > cameras()[0].psf(camera.channels[0]).max()
