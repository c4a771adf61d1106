"""Laws of the pupils' images: normalised, of width λ/D, with the telescopes' own symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from data_prep.simulate.camera import HUBBLE_CHANNELS, WEBB_CHANNELS, hubble, webb
from data_prep.simulate.psf import ARCSEC, HUBBLE_PUPIL, WEBB_PUPIL, Pupil, blur, image_of_pupil


def half_maximum_width(image: np.ndarray, scale: float) -> float:
    """FWHM in arcsec from the area above half the maximum."""
    return 2 * np.sqrt((image > image.max() / 2).sum() / np.pi) * scale


def second_moment(image: np.ndarray) -> float:
    axis = np.arange(image.shape[0]) - image.shape[0] // 2
    return float((image.sum(0) * axis**2).sum() / image.sum())


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """The image turned anticlockwise about its centre pixel."""
    size = image.shape[0]
    y, x = np.mgrid[:size, :size] - size // 2
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return map_coordinates(image, [c * y - s * x + size // 2, c * x + s * y + size // 2], order=1)


def ring_correlation(image: np.ndarray, degrees: float, inner: float, outer: float) -> float:
    """Correlation of log intensity in a ring with itself turned; its radial mean is taken out."""
    size = image.shape[0]
    r = np.hypot(*(np.mgrid[:size, :size] - size // 2))
    ring = (r > inner) & (r < outer)
    pair = []
    for picture in (image, turned(image, degrees)):
        value, bins = np.log(np.maximum(picture[ring], 1e-12)), r[ring].astype(int)
        mean = np.bincount(bins, value) / np.maximum(np.bincount(bins), 1)
        pair.append(value - mean[bins])
    return float(np.corrcoef(*pair)[0, 1])


@pytest.mark.parametrize("pupil", [HUBBLE_PUPIL, WEBB_PUPIL])
@given(wavelength=st.floats(1.2e-6, 4.5e-6), size=st.sampled_from([128, 150, 256]))
def test_sum_is_one_and_nothing_is_negative(pupil, wavelength, size):
    image = image_of_pupil(pupil, [wavelength], 0.015, size)
    assert image.shape == (size, size)
    assert image.sum() == pytest.approx(1, abs=1e-12)
    assert image.min() >= 0
    peak = np.unravel_index(image.argmax(), image.shape)
    assert np.abs(np.array(peak) - size // 2).max() <= 1


def test_width_follows_wavelength_over_diameter():
    widths = {
        wavelength: half_maximum_width(
            image_of_pupil(HUBBLE_PUPIL, [wavelength], wavelength / 1e-6 * 0.008, 256), 1
        )
        for wavelength in (0.6e-6, 1.2e-6)
    }
    # On a grid that grows with the wavelength the image is the same in samples.
    assert widths[0.6e-6] == pytest.approx(widths[1.2e-6], rel=0.02)


@pytest.mark.parametrize(
    ("pupil", "diameter", "wavelength"), [(HUBBLE_PUPIL, 2.4, 0.8e-6), (WEBB_PUPIL, 6.3, 2.0e-6)]
)
def test_width_is_about_one_resolution_element(pupil, diameter, wavelength):
    scale = wavelength / diameter / ARCSEC / 12
    width = half_maximum_width(image_of_pupil(pupil, [wavelength], scale, 256), scale)
    assert width == pytest.approx(1.0 * wavelength / diameter / ARCSEC, rel=0.08)


def test_a_clear_round_pupil_gives_the_airy_ring():
    """First zero of a filled circle at 1.22 λ/D."""
    radius = 1.2

    def disk(x, y, step):
        return np.clip(0.5 + (radius - np.hypot(x, y)) / step, 0, 1), np.zeros_like(x)

    scale = 0.6e-6 / 2.4 / ARCSEC / 20
    image = image_of_pupil(Pupil(radius, disk), [0.6e-6], scale, 512)
    profile = image[256, 256:]
    first_zero = np.argmax(np.diff(profile) > 0)
    assert first_zero == pytest.approx(1.22 * 20, abs=1)


def test_hubble_has_four_spikes_and_webb_six():
    """Hubble's image repeats after 90° and not after 60°; Webb's after 60° and not after 90°."""
    hst = image_of_pupil(HUBBLE_PUPIL, np.linspace(0.7e-6, 0.9e-6, 9).tolist(), 0.02, 512)
    jwst = image_of_pupil(WEBB_PUPIL, np.linspace(1.8e-6, 2.2e-6, 9).tolist(), 0.02, 512)
    assert ring_correlation(hst, 90, 60, 200) > 0.8
    assert ring_correlation(hst, 60, 60, 200) < 0.4
    assert ring_correlation(jwst, 60, 60, 200) > 0.5
    assert ring_correlation(jwst, 30, 60, 200) < 0.2
    assert ring_correlation(jwst, 60, 60, 200) > ring_correlation(jwst, 90, 60, 200) + 0.2


@given(angle=st.sampled_from([13.0, 25.0, 60.0]))
def test_roll_turns_the_image_anticlockwise(angle):
    wavelengths = np.linspace(0.7e-6, 0.9e-6, 5).tolist()
    still = image_of_pupil(HUBBLE_PUPIL, wavelengths, 0.02, 256)
    rolled = image_of_pupil(HUBBLE_PUPIL, wavelengths, 0.02, 256, roll=angle)
    # Blurred a little, for turning the picture interpolates it.
    still, rolled = blur(still, [], 2.0), blur(rolled, [], 2.0)
    right, wrong = (np.abs(turned(still, t) - rolled).sum() for t in (angle, -angle))
    assert right < 0.5 * wrong


@given(box=st.floats(0, 7), sigma=st.floats(0, 4))
def test_blur_keeps_the_sum_and_adds_the_variances(box, sigma):
    axis = np.arange(128) - 64.0
    image = np.exp(-(axis**2 + axis[:, None] ** 2) / 18)
    image /= image.sum()
    blurred = blur(image, [box], sigma)
    assert blurred.sum() == pytest.approx(1, abs=1e-9)
    added = second_moment(blurred) - second_moment(image)
    assert added == pytest.approx(box**2 / 12 + sigma**2, abs=1e-3)


def test_too_coarse_a_grid_and_an_odd_size_are_refused():
    with pytest.raises(ValueError, match="too coarse"):
        image_of_pupil(WEBB_PUPIL, [0.9e-6], 0.05, 128)
    with pytest.raises(ValueError, match="even"):
        image_of_pupil(WEBB_PUPIL, [2e-6], 0.02, 127)


def test_every_band_of_both_cameras_has_a_psf():
    """The oversampling adapts to the shortest wavelength, so that none is refused."""
    for camera in (hubble(["F435W", "F814W"], 10.0), webb(["F090W", "F444W"], 128)):
        for channel in camera.channels:
            psf = camera.psf(channel)
            assert psf.sum() == pytest.approx(1)
            assert psf.min() > -1e-6


def test_webb_is_sharper_in_its_short_band_and_hubbles_width_lies_between():
    def width(camera, band):
        channel = next(c for c in camera.channels if c.band == band)
        return half_maximum_width(camera.psf(channel), camera.pixel_scale / camera.oversample)

    hst, jwst = hubble(["F814W"], 10.0), webb(["F150W", "F444W"], 128)
    assert width(jwst, "F150W") < 0.8 * width(hst, "F814W")
    assert width(hst, "F814W") < width(jwst, "F444W")


def windowed_centroid(image: np.ndarray, scale: float, sigma: float) -> np.ndarray:
    """Centroid under a Gaussian window that follows it, from the centre pixel, mas."""
    axis = (np.arange(image.shape[0]) - image.shape[0] // 2) * scale
    x, y = np.meshgrid(axis, axis)
    place = np.zeros(2)
    for _ in range(40):
        w = image * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * sigma**2))
        offset = np.array([(w * (x - place[0])).sum(), (w * (y - place[1])).sum()]) / w.sum()
        place += 2 * offset
    return 1e3 * place


# FWHM in mas of stars in drizzled mosaics, and how well it is known. ACS: 100-140 in F606W, with
# the diffusion of charge. NIRCam: the empirical PSFs of JWST-NIRCam-Data-Product (measured in their
# pixels, taken for 15 mas: the files do not state it).
PUBLISHED = {
    "F606W": (120.0, 0.17),
    "F115W": (57.8, 0.10),
    "F150W": (60.3, 0.10),
    "F200W": (76.7, 0.10),
    "F277W": (105.0, 0.10),
    "F356W": (140.0, 0.10),
    "F444W": (168.0, 0.10),
}


@pytest.mark.parametrize(
    "camera", [hubble(list(HUBBLE_CHANNELS), 10.0), webb(list(WEBB_CHANNELS), 128)]
)
def test_every_band_is_centred_and_as_wide_as_published(camera):
    """Centres to 0.05 mas by any window, widths as far as they are known, with the output pixel."""
    scale = camera.pixel_scale / camera.oversample
    for channel in camera.channels:
        seen = blur(camera.psf(channel), [camera.oversample], 0.0)
        core = seen[tuple(slice(n // 2 - 60, n // 2 + 60) for n in seen.shape)]
        for sigma in (0.04, 0.1, 0.2):
            assert np.abs(windowed_centroid(core, scale, sigma)).max() < 0.05
        if channel.band in PUBLISHED:
            core = core[36:85, 36:85]
            fine = map_coordinates(core, np.mgrid[0:48:385j, 0:48:385j], order=3)
            width = 1e3 * half_maximum_width(fine, scale / 8)
            published, known = PUBLISHED[channel.band]
            assert width == pytest.approx(published, rel=known)
