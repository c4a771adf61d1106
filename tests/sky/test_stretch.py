"""Law 2: a stretch is undone by its inverse, at any flux, and is never clipped."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import mad_std, median_absolute_deviation, sigma_clip
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.sky.stretch import Stretch, clipped_sky, middle_of


def finite(low: float, high: float):
    return st.floats(low, high, allow_nan=False, allow_subnormal=False)


@given(
    offset=finite(-1e3, 1e3),
    softening=st.one_of(finite(1e-6, 1e4), st.just(np.inf)),
    scale=finite(1e-2, 1e2),
    flux=st.lists(finite(-1e7, 1e7), min_size=1, max_size=7),
)
def test_inverse_undoes_the_stretch(offset, softening, scale, flux):
    stretch = Stretch(np.array([offset]), np.array([softening]), np.array([scale]))
    f = np.array([flux])
    back = stretch.inverse(stretch(f))
    # relative to the distance from the sky level: that is the number the asinh is taken of
    np.testing.assert_allclose(back - offset, f - offset, rtol=1e-6, atol=1e-9 * (1 + abs(offset)))


@given(st.integers(0, 1000))
def test_float32_images_come_back_to_a_millionth_of_their_brightness(seed):
    rng = np.random.default_rng(seed)
    f = rng.normal(0.1, 0.01, (2, 13, 7))
    f[:, 5, 3] = 4000.0
    stretch = Stretch.fit(f, np.ones((13, 7), bool))
    back = stretch.inverse(stretch(f))
    np.testing.assert_allclose(back, f, rtol=1e-6)
    single = stretch.inverse(stretch(f.astype(np.float32)))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, f, rtol=2e-5, atol=2e-5)


def test_nothing_is_clipped_and_nan_stays():
    f = np.array([[[-1e9, np.nan, 0.0, 1e9]]], dtype=">f4")
    stretch = Stretch.fit(np.random.default_rng(0).normal(size=(1, 50, 50)))
    y = stretch(f)
    assert y.dtype == np.float32
    assert y.dtype.isnative
    assert np.isnan(y[0, 0, 1])
    assert y[0, 0, 0] < -1 < 1 < y[0, 0, 3]
    assert np.all(np.diff(y[0, 0, [0, 2, 3]]) > 0)


def test_infinite_softening_is_the_limit_of_large_ones():
    f = np.random.default_rng(1).normal(size=(1, 9, 5))
    linear = Stretch(np.array([0.5]), np.array([np.inf]), np.array([3.0]))(f)
    np.testing.assert_allclose(linear, (f - 0.5) / 3)
    wide = Stretch(np.array([0.5]), np.array([1e9]), np.array([3e-9]))(f)
    np.testing.assert_allclose(wide, linear, atol=1e-9)
    np.testing.assert_array_equal(Stretch.linear(1)(f), f)


def test_fit_finds_the_sky_under_sources_and_puts_the_percentile_at_one():
    rng = np.random.default_rng(2)
    f = rng.normal(7.0, 0.5, (1, 101, 97))
    f[0, ::7, ::5] += rng.exponential(300, f[0, ::7, ::5].shape)
    valid = np.ones(f.shape[1:], bool)
    valid[:20] = False
    f[0, :20] = 1e6
    stretch = Stretch.fit(f, valid, softening=3.0, percentile=99.5)
    assert stretch.offset[0] == pytest.approx(7.0, abs=0.05)
    assert stretch.softening[0] == pytest.approx(1.5, rel=0.1)
    bright = np.percentile(f[0][valid], 99.5)
    assert stretch(np.array([[bright]]))[0, 0] == pytest.approx(1.0)


def _spread(values, axis=None):
    """σ with as many digits of 1.4826 as ours; with more, some pixel is clipped by one alone."""
    return 1.4826 * median_absolute_deviation(values, axis)


@given(seed=st.integers(0, 10**6), bright=st.floats(0, 0.4), level=st.floats(-20, 20))
def test_the_sky_is_astropys_clipped_median_and_mad(seed, bright, level):
    """Its own clipping at 3 σ, ten rounds at most, of the spread that the MAD stands for."""
    rng = np.random.default_rng(seed)
    f = level + rng.normal(0, 2.0, (1, 41, 37))
    f += np.where(rng.random(f.shape) < bright, rng.exponential(40, f.shape), 0)
    kept = sigma_clip(f, sigma=3, maxiters=10, cenfunc="median", stdfunc=_spread).compressed()
    stretch = Stretch.fit(f)
    assert stretch.offset[0] == pytest.approx(np.median(kept), rel=1e-12, abs=1e-12)
    # (astropy has more digits of 1.4826)
    assert stretch.softening[0] == pytest.approx(3 * mad_std(kept), rel=1e-5)
    top = np.percentile(f, 99.9)
    if top - stretch.offset[0] > mad_std(kept):
        assert stretch(np.array([[top]]))[0, 0] == pytest.approx(1, rel=1e-12)
    assert Stretch.fit(f, None, 3.0, 99.9) == stretch


def test_bands_are_fitted_each_and_by_their_known_pixels():
    rng = np.random.default_rng(5)
    f = rng.normal([[[1.0]], [[50.0]]], [[[0.1]], [[9.0]]], (2, 31, 29))
    f[1, 3] = np.nan
    both = Stretch.fit(f)
    for band in range(2):
        one = Stretch.fit(f[band : band + 1].reshape(1, -1))
        assert (one.offset, one.softening, one.scale) == (
            both.offset[band], both.softening[band], both.scale[band],
        )  # fmt: skip
    assert len(both) == 2


def test_large_images_are_thinned_evenly(monkeypatch):
    monkeypatch.setattr("imgturbo.sky.stretch._SAMPLE", 1000)
    pixels = np.random.default_rng(1).exponential(size=(1, 3500))
    assert Stretch.fit(pixels) == Stretch.fit(pixels[:, ::3])
    assert Stretch.fit(pixels[:, :1999]) != Stretch.fit(pixels[:, :1999:2])
    assert Stretch.fit(pixels[:, :2000]) == Stretch.fit(pixels[:, :2000:2])


def test_bands_without_a_spread_by_hand():
    """Most pixels equal: the spread is the deviation of all; none differ: 0 whatever the scale."""
    mostly = np.where(np.arange(100) < 4, 10.0, 2.0)[None]  # deviation 8 √(0.04 · 0.96)
    found = Stretch.fit(mostly, softening=2.0, percentile=99)
    assert found.offset[0] == 2
    assert found.softening[0] == pytest.approx(2 * 8 * np.sqrt(0.04 * 0.96))
    assert found(np.array([[10.0]]))[0, 0] == pytest.approx(1)
    # The bright end is at least one deviation above the sky.
    low = Stretch.fit(-mostly, softening=2.0, percentile=50)
    assert low.scale[0] == pytest.approx(np.arcsinh(0.5))
    for constant in (0.0, 7.0):
        plain = Stretch.fit(np.full((1, 9), constant))
        assert (plain.offset[0], plain.softening[0], plain.scale[0]) == (constant, 1, 1)
    nothing = Stretch.fit(np.full((1, 9), np.nan))
    assert (nothing.offset[0], nothing.softening[0], nothing.scale[0]) == (0, 1, 1)


@given(factor=finite(1e-3, 1e3), seed=st.integers(0, 99))
def test_in_another_unit_it_is_the_same_stretch(factor, seed):
    f = np.random.default_rng(seed).normal(size=(2, 7))
    stretch = Stretch(np.array([0.3, -2.0]), np.array([0.7, np.inf]), np.array([1.7, 2.5]))
    np.testing.assert_allclose(stretch.scaled(factor)(factor * f), stretch(f), atol=1e-9)
    each = np.array([factor, 2.0])
    np.testing.assert_allclose(stretch.scaled(each)(each[:, None] * f), stretch(f), atol=1e-9)


def test_values_by_hand():
    """asinh(3/4) = ln 2, asinh(−4/3) = −ln 3: about a sky of 5, in units of 4 and of 3."""
    stretch = Stretch(np.array([5.0, 5.0]), np.array([4.0, 3.0]), np.array([2.0, 0.5]))
    y = stretch(np.array([[8.0, 5.0], [1.0, 5.0]]))
    np.testing.assert_allclose(y, [[np.log(2) / 2, 0], [-2 * np.log(3), 0]], atol=1e-15)
    assert stretch.to_dict()["kind"] == "asinh"
    assert Stretch.linear(2).to_dict() == {
        "kind": "linear", "offset": [0, 0], "softening": ["inf", "inf"], "scale": [1, 1],
    }  # fmt: skip
    cards = {keyword: value for keyword, value, _ in stretch.header_cards(("A", "B"))}
    assert cards["STRNB"] == 2
    assert (cards["STRB1"], cards["STRO1"], cards["STRS2"], cards["STRC2"]) == ("A", 5, 3, 0.5)
    whole = Stretch.linear(1)(np.array([[1, 2, 3]]))  # of integers, in double precision
    assert whole.dtype == np.float64
    assert whole.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    "plane",
    [
        np.full((5, 7), 3.0),
        np.zeros((5, 7)),
        np.full((5, 7), np.nan),
        np.where(np.arange(35).reshape(5, 7) == 0, 9.0, 0.0),
        -np.arange(35.0).reshape(5, 7),
    ],
    ids=["constant", "zero", "nan", "one bright pixel", "negative"],
)
def test_degenerate_bands_get_a_stretch_that_can_be_undone(plane):
    stretch = Stretch.fit(plane[None], np.ones(plane.shape, bool))
    y = stretch(plane[None])
    assert np.array_equal(np.isnan(y[0]), np.isnan(plane))
    np.testing.assert_allclose(stretch.inverse(y)[0], plane, rtol=1e-6, atol=1e-9)


def test_survives_json_and_headers():
    stretch = Stretch(np.array([0.1, -3e-17, 2.0]), np.array([1e-9, 4.5, np.inf]), np.ones(3) / 3)
    assert Stretch.from_dict(json.loads(json.dumps(stretch.to_dict()))) == stretch
    bands = ("F606W", "F814W", "L")
    header = fits.Header()
    for card in stretch.header_cards(bands):
        assert len(card[0]) <= 8
        header.append(card)
    header = fits.Header.fromstring(header.tostring())
    assert Stretch.from_header(header, bands) == stretch
    swapped = Stretch.from_header(header, ("L", "F606W"))
    assert swapped is not None
    assert swapped.offset.tolist() == [2.0, 0.1]
    assert Stretch.from_header(header, ("F444W",)) is None
    assert Stretch.from_header(fits.Header(), bands) is None


@pytest.mark.parametrize(
    ("offset", "softening", "scale"),
    [([0.0], [0.0], [1.0]), ([0.0], [1.0], [-1.0]), ([np.nan], [1.0], [1.0]), ([0, 0], [1], [1])],
)
def test_refuses_what_has_no_inverse(offset, softening, scale):
    with pytest.raises(ValueError, match="must"):
        Stretch(np.array(offset), np.array(softening), np.array(scale))


def test_channels_must_agree():
    with pytest.raises(ValueError, match="channels"):
        Stretch.linear(3)(np.zeros((2, 4, 4)))


def test_needs_numpy_only():
    code = (
        "import sys, imgturbo.sky.stretch;"
        "print([m for m in ('astropy', 'torch', 'reproject', 'PIL') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 7.0, 1e3, -2.0]), min_size=1, max_size=60),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_the_sky_found_by_places_is_that_of_medians(steps, seed, noisy):
    """`clipped_sky` bisects in sorted pixels; medians of medians give the very same numbers."""
    pixels = np.array(steps)
    if noisy:
        pixels = pixels + np.random.default_rng(seed).normal(size=len(pixels))
    sky = pixels
    for _ in range(10):
        middle = np.median(sky)
        sigma = 1.4826 * np.median(np.abs(sky - middle))
        kept = sky[np.abs(sky - middle) <= 3 * sigma]
        if sigma == 0 or len(kept) == len(sky):
            break
        sky = kept
    level = np.median(sky)
    assert clipped_sky(pixels) == (level, 1.4826 * np.median(np.abs(sky - level)))
    first = np.median(pixels)
    assert middle_of(pixels) == (first, 1.4826 * np.median(np.abs(pixels - first)))
