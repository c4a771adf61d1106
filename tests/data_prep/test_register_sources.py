"""Sources of one image: where they are, how sure that is, and what is no source."""

from __future__ import annotations

import numpy as np
import pytest
from register_scenes import render, stars
from scipy.ndimage import gaussian_filter

from data_prep.register import sources as module
from data_prep.register.sources import (
    WINDOW,
    Sources,
    bands_passed,
    centroid,
    find_sources,
    luminance,
    measure,
)

SHAPE = (150, 170)
ALL = np.ones(SHAPE, bool)


# ------------------------------------------------------------------------------------ luminance


def band(middle, spread, shape=(14, 15)):
    """Every seventh pixel is one spread above or below the middle; the others a hundred above."""
    values = np.full(np.prod(shape), middle + 100.0)
    values[::7] = middle + spread * (-1.0) ** np.arange(len(values[::7]))
    return values.reshape(shape).astype(np.float32)


def test_luminance_is_the_mean_of_the_bands_in_units_of_their_noise():
    """The noise is 1.4826 times the median distance from the median, of every seventh pixel."""
    first, second = band(20.0, 2.0), band(-30.0, 0.5)
    total, mask = luminance(np.stack([first, second]))
    expected = ((first - 20) / (1.4826 * 2) + (second + 30) / (1.4826 * 0.5)) / 2
    assert mask.all()
    assert (total.shape, total.dtype) == ((14, 15), np.float32)
    assert np.allclose(total, expected, rtol=1e-5)


def test_black_frames_are_no_sky():
    data = np.concatenate([np.zeros((20, 15), np.float32), band(20.0, 2.0)])[None]
    total, mask = luminance(data)
    assert mask.all()
    assert np.allclose(total, (data[0] - 20) / (1.4826 * 2), rtol=1e-5)


def test_a_band_that_hardly_varies_has_its_standard_deviation_or_one_for_noise():
    rare = np.full((10, 7), 5.0, np.float32)
    rare[0, 0] = 9.0  # one in ten of those that are looked at: the median distance is 0
    assert np.allclose(luminance(rare[None])[0], (rare - 5) / 1.2, rtol=1e-5)
    flat = np.full((10, 7), 5.0, np.float32)
    flat[0, 3] = 8.0  # not looked at
    assert np.allclose(luminance(flat[None])[0], flat - 5)
    black = np.zeros((10, 7), np.float32)
    total, mask = luminance(np.stack([black, rare]))
    assert mask.all()
    assert np.allclose(total, (rare - 5) / 2.4, rtol=1e-5)


def test_bands_of_less_than_half_the_cover_are_left_out():
    wide, narrow = band(20.0, 2.0), band(10.0, 1.0)
    narrow[7:] = np.nan  # a half exactly
    total, mask = luminance(np.stack([wide, narrow]))
    assert np.array_equal(mask, np.isfinite(narrow))
    assert not total[7:].any()
    narrow[6, 0] = np.nan
    total, mask = luminance(np.stack([narrow, wide]))
    assert mask.all()
    assert np.allclose(total, (wide - 20) / (1.4826 * 2), rtol=1e-5)
    blank = np.full((2, 14, 15), np.nan, np.float32)
    total, mask = luminance(blank)
    assert not mask.any()
    assert not total.any()


# ------------------------------------------------------------------------------------- the filter


def test_the_filter_is_a_difference_of_gaussians():
    image = np.random.default_rng(0).normal(3, 1, SHAPE).astype(np.float32)
    filtered, inner = bands_passed(image, ALL)
    expected = gaussian_filter(image, WINDOW) - gaussian_filter(image, 2 * WINDOW)
    assert np.allclose(filtered, expected, atol=1e-6)
    assert inner.all()


def gaussian(sigma, reach):
    x = np.arange(-reach, reach + 1)
    weight = np.exp(-(x**2) / (2 * sigma**2))
    return weight / weight.sum()


def test_missing_pixels_are_left_out_of_the_means():
    """Σ g I / Σ g over what was measured; within the frame, its border is no hole."""
    mask = ALL[:40, :50].copy()
    mask[15:19, 20:23] = False
    image = np.random.default_rng(1).normal(3, 1, mask.shape).astype(np.float32)
    filtered, inner = bands_passed(np.where(mask, image, 0).astype(np.float32), mask)
    for y, x in [(0, 0), (39, 49), (17, 12), (13, 21), (24, 28), (3, 45), (20, 14), (20, 13)]:
        means, share = [], 0.0
        for sigma in (WINDOW, 2 * WINDOW):
            reach = int(4 * sigma + 0.5)
            rows, columns = np.arange(y - reach, y + reach + 1), np.arange(x - reach, x + reach + 1)
            inside = np.ix_(
                (rows >= 0) & (rows < mask.shape[0]), (columns >= 0) & (columns < mask.shape[1])
            )
            weight = np.outer(gaussian(sigma, reach), gaussian(sigma, reach))[inside]
            rows, columns = rows[inside[0].ravel()], columns[inside[1].ravel()]
            here = np.ix_(rows, columns)
            measured = weight * mask[here]
            means.append((measured * image[here]).sum() / measured.sum())
            share = measured.sum() / weight.sum()
        assert filtered[y, x] == pytest.approx(means[0] - means[1], abs=1e-5)
        assert inner[y, x] == (share > 0.95)
    # A level is no source, however the holes lie.
    level, _ = bands_passed(7.0 * mask.astype(np.float32), mask)
    assert np.abs(level[inner]).max() < 1e-5


# -------------------------------------------------------------------------------------- centroids


def star(place, shape=(41, 41), width=1.4, peak=100.0, level=0.0):
    return render(np.array([place]), np.array([peak]), shape, 0.0, width=width) - 10 + level


@pytest.mark.parametrize("level", [0.0, 25.0])
@pytest.mark.parametrize("sigma", [1.5, 2.2])
def test_a_centroid_is_where_the_star_is_wherever_it_began(sigma, level):
    rng = np.random.default_rng(2)
    for _ in range(6):
        place, start = 20 + rng.uniform(-0.5, 0.5, 2), 20 + rng.uniform(-1.2, 1.2, 2)
        found, _, good = centroid(star(place, level=level), start[None], sigma)
        assert good.all()
        assert np.allclose(found[0], place, atol=2e-3)


@pytest.mark.parametrize(
    ("width", "share"),
    [(1.4, None), (0.8, None), (4.5, 0.5)],  # as wide as three windows: the least response
)
def test_the_response_to_a_step_is_the_windowed_flux_less_what_the_window_takes(width, share):
    """F (1 − v/σ²) with v, F those of a product of Gaussians; v ≤ σ²/2."""
    sigma, peak = 1.5, 100.0
    v = 1 / (1 / sigma**2 + 1 / width**2)
    # Of wide stars the rim of the window is not sky: its median is taken away.
    image = star((20, 20), width=width, peak=peak)
    rim = np.array([r for r in np.ndindex(11, 11) if np.hypot(r[0] - 5, r[1] - 5) > 4]) - 5
    sky = np.median(peak * np.exp(-(rim**2).sum(1) / (2 * width**2)))
    flux = 2 * np.pi * (peak * v - sky * sigma**2)
    _, response, _ = centroid(image, np.array([[20.0, 20.0]]), sigma)
    rel = 0.01 if share is None else 0.06
    assert response[0] == pytest.approx(flux * (share or 1 - v / sigma**2), rel=rel)


def test_a_position_is_as_noisy_as_it_says():
    """White noise of s: Σ w I x scatters by s σ² √(π/2)."""
    sigma, noise, peak, width = 1.5, 0.5, 60.0, 1.4
    places = np.stack(np.meshgrid(np.arange(20.0, 150, 13), np.arange(20.0, 130, 13)), -1)
    places = places.reshape(-1, 2) + np.random.default_rng(4).uniform(-0.4, 0.4, (90, 2))
    image = render(places, np.full(90, peak), (240, 170), noise, 3, width)
    quiet = np.zeros(image.shape, bool)
    quiet[150:] = True
    sky = np.ones(90)
    sky[:5] = 3.0
    found = measure(image, Sources(np.rint(places), sky, 0 * sky, sky, quiet), sigma)
    v = 1 / (1 / sigma**2 + 1 / width**2)
    response = 2 * np.pi * v * peak * (1 - v / sigma**2)
    expected = noise * sigma**2 * np.sqrt(np.pi / 2) / response
    assert len(found) == 90
    assert np.median(found.noise[5:]) == pytest.approx(expected, rel=0.05)
    assert np.median(found.noise[:5]) == pytest.approx(3 * expected, rel=0.05)
    scatter = np.sqrt(np.mean((found.positions - places) ** 2))
    assert scatter == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(("pixels", "used"), [(99, False), (100, True)])
def test_the_noise_is_measured_on_the_sky_where_there_is_enough(pixels, used):
    rng = np.random.default_rng(5)
    image = rng.normal(0, 1, (60, 60)).astype(np.float32)
    image[:, 30:] *= 20
    image[15, 15] = 500.0
    quiet = np.zeros((60, 60), bool)
    quiet[40:50, 5:15] = True
    quiet.ravel()[np.flatnonzero(quiet)[pixels:]] = False
    one = np.ones(1)
    found = measure(image, Sources(np.array([[15.0, 15.0]]), one, one, one, quiet), 1.5)
    moment = gaussian_filter(image, 1.5, order=(0, 1)) * 2 * np.pi * 1.5**4
    sample = moment[quiet] if used else moment
    spread = 1.4826 * np.median(np.abs(sample - np.median(sample)))
    _, response, _ = centroid(image, np.array([[15.0, 15.0]]), 1.5)
    assert found.noise[0] == pytest.approx(spread / response[0], rel=1e-5)


def test_a_centroid_needs_its_window_inside_and_stays_near():
    image = star((20, 20))
    for start, good in [(20.0, True), (23.9, True), (24.0, False)]:
        for other in (start, 40 - start):
            for place in ([other, 20.0], [20.0, other]):
                assert centroid(image, np.array([place]), WINDOW)[2][0] == good
    # A window of five pixels either way: in 31 × 37 the last that has room are 5 and 25, 31.
    flat = 1 + np.random.default_rng(6).random((31, 37)).astype(np.float32)
    starts = np.array([[5, 5], [31, 25], [4, 15], [15, 4], [32, 15], [15, 26], [60, 15], [15, -9]])
    inside = centroid(flat, starts.astype(float), WINDOW)[2]
    moved = np.hypot(*(centroid(flat, starts.astype(float), WINDOW)[0] - starts).T)
    assert (moved[:2] < 3.75).all()
    assert inside.tolist() == [True, True] + 6 * [False]


def test_where_there_is_no_light_there_is_no_centroid():
    start = np.array([[20.0, 20.0], [20.3, 19.0]])
    found, response, good = centroid(np.zeros((41, 41), np.float32), start, WINDOW)
    assert np.array_equal(found, start)
    assert not response.any()
    assert not good.any()
    found, response, good = centroid(star((20, 20)), np.zeros((0, 2)), WINDOW)
    assert (len(found), len(response), len(good)) == (0, 0, 0)


# -------------------------------------------------------------------------------------- detection


def test_sources_are_found_with_the_most_significant_first():
    places, fluxes = stars(8, 40, SHAPE, margin=12)
    found = find_sources(render(places, fluxes, SHAPE, 0.5, 8), ALL)
    distance = np.hypot(*(found.positions[:, None] - places).transpose(2, 0, 1))
    assert distance.min(1).max() < 0.5
    bright = fluxes > 10
    assert (distance.min(0)[bright] < 0.3).all()
    assert (np.diff(found.significance) <= 0).all()
    assert np.argmax(fluxes) == np.argmin(distance[0])


def test_significance_is_the_peak_over_the_noise_after_the_filter():
    """White noise of s has s (∫(g₁ − g₂)²)^½ there, with (1/4π)(1/σ₁² + 1/σ₂² − 4/(σ₁² + σ₂²))."""
    one, two = WINDOW**2, 4 * WINDOW**2
    noise = 0.5 * np.sqrt((1 / one + 1 / two - 4 / (one + two)) / (4 * np.pi))
    place, peak = np.array([[80.0, 70.0]]), np.array([30.0])
    clean = render(place, peak, SHAPE, 0.0)
    expected = (gaussian_filter(clean, WINDOW) - gaussian_filter(clean, 2 * WINDOW)).max() / noise
    found = find_sources(render(place, peak, SHAPE, 0.5, 8), ALL)
    assert found.significance[0] == pytest.approx(expected, rel=0.1)


def test_the_threshold_is_five_and_the_limit_keeps_the_most_significant():
    places, _ = stars(9, 60, SHAPE, margin=12)
    image = render(places, np.linspace(0.4, 6.0, 60), SHAPE, 0.5, 9)
    every = find_sources(image, ALL, threshold=2.0)
    found = find_sources(image, ALL)
    assert 5 < len(found) < len(every) - 20
    assert np.array_equal(found.significance, every.significance[every.significance > 5])
    few = find_sources(image, ALL, limit=4)
    assert np.array_equal(few.significance, found.significance[:4])


def test_what_the_border_cuts_is_no_source():
    """Peaks within three windows of it are not looked at, of two within a window one is seen."""
    peaks = np.array([[3.0, 40.0], [60.0, 3.0], [30.0, 30.0], [60.0, 60.0]])
    found = find_sources(render(peaks, np.full(4, 60.0), (90, 90), 0.5), np.ones((90, 90), bool))
    seen = {tuple(np.rint(p).astype(int)) for p in found.positions}
    assert seen == {(30, 30), (60, 60)}
    inside = peaks + np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    found = find_sources(render(inside, np.full(4, 60.0), (90, 90), 0.5), np.ones((90, 90), bool))
    seen = {tuple(np.rint(p).astype(int)) for p in found.positions}
    assert seen == {(5, 40), (60, 5), (30, 30), (60, 60)}


def test_peaks_are_the_highest_within_two_pixels_and_four_thousand_at_most(monkeypatch):
    """Where they may lie: beyond three windows of the border."""
    asked = []
    monkeypatch.setattr(module, "find_peaks", lambda *_, **options: asked.append(options))
    image = np.random.default_rng(14).normal(0, 1, SHAPE).astype(np.float32)
    assert len(find_sources(image, ALL)) == 0
    assert not asked[0].pop("mask").any()
    assert asked == [{"box_size": 5, "n_peaks": 4000, "border_width": 4}]


def test_quiet_sky_is_what_shows_nothing():
    places = np.array([[40.0, 40.0], [100.0, 90.0]])
    mask = ALL.copy()
    mask[60:70, 60:70] = False
    image = np.where(mask, render(places, np.array([60.0, 90.0]), SHAPE, 0.5, 3), 0)
    found = find_sources(image.astype(np.float32), mask)
    filtered, inner = bands_passed(image.astype(np.float32), mask)
    assert not found.quiet[60:70, 60:70].any()
    assert not (found.quiet & ~inner).any()
    for x, y in places.astype(int):
        assert not found.quiet[y - 1 : y + 2, x - 1 : x + 2].any()
    # Two standard deviations are exceeded by one in 44 of Gaussian values.
    assert found.quiet[inner].mean() == pytest.approx(1 - 0.0228, abs=0.01)
    assert filtered[inner & ~found.quiet].min() > filtered[found.quiet].max() * 0.7


def test_each_region_has_its_own_noise():
    """The right half is four times as noisy: its sources are as much less significant."""
    shape = (192, 384)
    rng = np.random.default_rng(10)
    image = rng.normal(0, 0.5, shape)
    image[:, 192:] *= 4
    places = np.array([[60.0, 96.0], [324.0, 96.0]])
    image += render(places, np.array([80.0, 80.0]), shape, 0.0) - 10
    found = find_sources(image.astype(np.float32), np.ones(shape, bool))
    left, right = (np.argmin(np.hypot(*(found.positions - place).T)) for place in places)
    assert found.significance[left] / found.significance[right] == pytest.approx(4, rel=0.15)
    assert found.sky[right] / found.sky[left] == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("value", [0.0, 5.0, np.float32(0.1)])
def test_an_image_of_one_value_has_no_source(value):
    image = np.full(SHAPE, value, np.float32)
    one = np.indices(SHAPE).sum(0) == 0
    for mask in (ALL, ~ALL, one):
        found = find_sources(image, mask)
        assert found.positions.shape == (0, 2)
        for numbers in (found.significance, found.noise, found.sky):
            assert numbers.shape == (0,)
        assert np.array_equal(found.quiet, mask)


# ----------------------------------------------------------------------------------------- noise


def test_the_noise_map_is_local_and_never_far_below_its_median():
    rng = np.random.default_rng(11)
    plane = rng.normal(0, 1, (192, 512)).astype(np.float32)
    plane[:, :128] *= 0.01
    plane[:, 384:] *= 5
    noise = module._noise(plane, np.ones(plane.shape, bool))
    assert np.median(noise[:, 200:300]) == pytest.approx(1, rel=0.05)
    assert np.median(noise[:, 450:]) == pytest.approx(5, rel=0.05)
    middle = float(np.median(noise[noise > 0.3001]))
    assert noise.min() == pytest.approx(0.3 * middle, rel=0.1)
    assert module._noise(1e-4 * plane, np.ones(plane.shape, bool)).min() == pytest.approx(0.02)


def test_where_there_are_no_boxes_one_number_is_the_noise():
    """Boxes of which less than a tenth was measured say nothing."""
    plane = np.random.default_rng(12).normal(0, 2, (64, 64)).astype(np.float32)
    mask = np.zeros((64, 64), bool)
    mask[10:25, 10:25] = True
    expected = 1.4826 * np.median(np.abs(plane[mask]))
    assert module._noise(plane, mask) == pytest.approx(expected)
    assert module._noise(0 * plane, mask) is None
    assert module._noise(0 * plane, np.ones((64, 64), bool)) is None
    small = module._noise(plane[:31, :40], np.ones((31, 40), bool))
    assert small.shape == (31, 40)
    assert np.allclose(small, 2, rtol=0.1)


@pytest.mark.parametrize(("shape", "box"), [((100, 64), (64, 64)), ((63, 300), (63, 64))])
def test_a_box_of_the_noise_is_64_pixels_a_side_or_what_there_is(shape, box, monkeypatch):
    asked = []
    real = module.Background2D
    monkeypatch.setattr(
        module,
        "Background2D",
        lambda data, box, **rest: asked.append(box) or real(data, box, **rest),
    )
    module._noise(np.random.default_rng(13).normal(0, 1, shape), np.ones(shape, bool))
    assert asked == [box]
