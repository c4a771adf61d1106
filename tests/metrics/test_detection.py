"""Laws of source detection: what counts as found, as missed, and as invented."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.metrics import detection
from imgturbo.metrics.detection import RADIUS, compare_sources, count_peaks, local_background
from imgturbo.metrics.luminance import luminance

HEIGHT, WIDTH = 131, 157
POSITIONS = [(y, x) for y in (20, 50, 80, 110) for x in (25, 55, 85, 130)]


def sky(positions=POSITIONS, noise=0.01, seed=0, peak=0.5, height=HEIGHT, width=WIDTH):
    """Stars of 3 pixels FWHM on noise and a slope."""
    y, x = np.mgrid[:height, :width]
    image = noise * np.random.default_rng(seed).standard_normal((height, width))
    image += 0.05 * x / width
    for row, col in positions:
        image += peak * np.exp(-((y - row) ** 2 + (x - col) ** 2) / (2 * 1.3**2))
    return image.astype(np.float32)


def test_another_noise_over_the_same_sky_finds_the_same_stars():
    found = compare_sources(sky(seed=1), sky(seed=2))
    assert found[:3] == (1.0, 1.0, 1.0)
    assert found.matched == found.predicted == found.true == len(POSITIONS)


def test_missing_and_invented_stars_are_told_apart():
    truth = sky()
    fewer = compare_sources(sky(POSITIONS[:12], seed=1), truth)
    assert (fewer.precision, fewer.recall) == (1.0, pytest.approx(12 / 16))
    more = compare_sources(sky([*POSITIONS, (35, 40), (95, 105)], seed=1), truth)
    assert (more.precision, more.recall) == (pytest.approx(16 / 18), 1.0)
    assert more.f1 == pytest.approx(2 * 16 / (16 + 18))


@given(st.floats(0, 2 * np.pi))
def test_two_pixels_are_the_limit(angle):
    step = np.array([np.sin(angle), np.cos(angle)])
    truth = sky(noise=1e-4)
    near = sky([np.add(p, 0.8 * RADIUS * step) for p in POSITIONS], noise=1e-4, seed=1)
    far = sky([np.add(p, 1.2 * RADIUS * step) for p in POSITIONS], noise=1e-4, seed=1)
    assert compare_sources(near, truth).matched == len(POSITIONS)
    assert compare_sources(far, truth).matched == 0


def test_one_star_matches_one_star():
    """Two stars beside one of the truth: only one of them is right."""
    truth = sky([(60, 70)], noise=1e-4, peak=0.5)
    pair = sky([(60, 66), (60, 71)], noise=1e-4, peak=0.5, seed=1)
    found = compare_sources(pair, truth)
    assert (found.predicted, found.matched) == (2, 1)


def test_the_threshold_is_the_targets():
    """Smoothing noise away finds nothing that is fainter than the target's own limit."""
    truth = sky(noise=0.05, peak=0.5)
    faint = sky(noise=1e-5, peak=0.05, seed=1)
    found = compare_sources(faint, truth)
    assert found.predicted == 0
    assert np.isnan(found.precision)
    assert found.recall == found.f1 == 0
    assert found.threshold == compare_sources(truth, truth).threshold


@given(st.integers(0, 2**31), st.sampled_from([np.nan, np.inf, 1e6]))
def test_masked_pixels_do_not_matter(seed, garbage):
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[:65, 40:100] = False
    valid &= np.random.default_rng(seed).random(valid.shape) > 0.001
    pred, truth = sky(seed=1), sky(seed=2)
    spoiled = np.where(valid, pred, np.float32(garbage))
    found = compare_sources(spoiled, truth, valid)
    assert found == compare_sources(pred, np.where(valid, truth, 0), valid)
    assert found.true <= len(POSITIONS) - 4
    assert found.f1 > 0.8


def spiked(angles, peak=3.0):
    """A bright star with thin spikes in these directions (degrees), and a galaxy as long as one."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    image = peak * np.exp(-((y - 60) ** 2 + (x - 60) ** 2) / (2 * 1.3**2))
    for angle in np.radians(angles):
        along = (x - 60) * np.cos(angle) + (y - 60) * np.sin(angle)
        across = -(x - 60) * np.sin(angle) + (y - 60) * np.cos(angle)
        # Interrupted, as spikes of real apertures are.
        beads = 0.5 + 0.5 * np.cos(along / 3.5)
        image += 0.08 * beads * np.exp(-(across**2) / 2 - (along / 30) ** 2) * (along > 8)
    across, along = (x - 120) / np.sqrt(2) - (y - 60) / np.sqrt(2), (x + y - 180) / np.sqrt(2)
    image += 0.3 * np.exp(-(across**2) / 4 - along**2 / 50)
    return image.astype(np.float32)


def test_spikes_are_no_sources_and_galaxies_beside_stars_are():
    noise = 0.004 * np.random.default_rng(3).standard_normal((2, HEIGHT, WIDTH)).astype(np.float32)
    plain, star = spiked([]) + noise[0], spiked([10, 75, 130, 200, 255, 310]) + noise[1]
    found = compare_sources(star, plain)
    assert found.true == found.matched == 2
    assert found.predicted <= 4  # hardly one of some thirty beads


def test_a_bright_source_stands_where_it_is_brightest():
    """Not at the centroid of its light, which a faint neighbour in its wings draws away."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    galaxy = 2 / (1 + ((y - 60.3) ** 2 + (x - 70.2) ** 2) / 9) ** 1.2
    neighbour = 0.25 * np.exp(-((y - 60) ** 2 + (x - 84) ** 2) / 40)
    truth = (galaxy + 1e-3 * sky([], noise=1)).astype(np.float32)
    blended = (galaxy + neighbour + 1e-3 * sky([], noise=1, seed=1)).astype(np.float32)
    assert compare_sources(blended, truth).matched == 1


@given(shape=st.tuples(st.integers(3, 30), st.integers(3, 30)), seed=st.integers(0, 1000))
def test_peaks_are_groups_of_three_above_five_sigma(shape, seed):
    image = np.zeros(shape, np.float32)
    image[0, :2] = 9.0  # two pixels are no group
    assert count_peaks(image, 1.0) == 0
    image[1, 2] = 5.1  # touches by a corner
    assert count_peaks(image, 1.0) == 1
    assert count_peaks(image, 1.03) == 0
    assert count_peaks(image, 1.0, np.zeros(shape, bool)) == 0
    noise = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    assert count_peaks(noise, 1.0) == 0


@given(st.integers(1, 40), st.integers(1, 40))
def test_any_shape_has_an_answer(height, width):
    found = compare_sources(*(sky(seed=s, height=height, width=width) for s in (1, 2)))
    assert found.matched <= min(found.predicted, found.true)


def test_nothing_there_is_not_a_number():
    empty = np.zeros((40, 41), np.float32)
    assert compare_sources(empty, empty)[3:6] == (0, 0, 0)
    nowhere = compare_sources(sky(), sky(), np.zeros((HEIGHT, WIDTH), bool))
    assert np.isnan([nowhere.precision, nowhere.recall, nowhere.f1]).all()


def test_luminance_weighs_pictures_by_the_eye_and_skies_alike():
    image = np.random.default_rng(0).random((3, 5, 7)).astype(np.float32)
    eye = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    np.testing.assert_allclose(luminance(image, ("R", "G", "B")), eye, rtol=1e-6)
    np.testing.assert_allclose(luminance(image[::-1], ("B", "G", "R")), eye, rtol=1e-6)
    bands = ("F150W", "F277W", "F444W")
    np.testing.assert_allclose(luminance(image, bands), image.mean(0), rtol=1e-6)
    np.testing.assert_allclose(luminance(image[:1], ("L",)), image[0])


@given(seed=st.integers(0, 99), x=st.integers(0, 6), y=st.integers(0, 4))
def test_a_place_is_refined_to_the_centroid_of_what_stands_out_about_it(seed, x, y):
    """By all nine pixels, those beyond the edge dark; the least of them counts for nothing."""
    smooth = np.random.default_rng(seed).random((5, 7))
    (found,) = detection._refined(smooth, np.array([[x, y]], float))
    padded = np.pad(smooth, 1)[y : y + 3, x : x + 3]
    light = padded - padded.min()
    dy, dx = np.mgrid[-1:2, -1:2]
    expected = (x + (light * dx).sum() / light.sum(), y + (light * dy).sum() / light.sum())
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_an_image_of_which_little_is_valid_has_one_level_of_sky():
    """Each box is nearly empty, so that none has a level of its own."""
    random = np.random.default_rng(0)
    image = random.normal(3.0, 0.1, (96, 96))
    valid = random.random(image.shape) < 0.05
    level = local_background(np.where(valid, image, 0.0), valid, 48, 80.0)
    np.testing.assert_array_equal(level, np.full((96, 96), np.median(image[valid])))
    compare_sources(image.astype(np.float32), image.astype(np.float32), valid)
