"""Laws of Lab: there and back, grey is colourless, nothing leaves the screen's range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.sky.lab import COLOUR, LIGHTNESS, lab_to_rgb, rgb_to_lab
from imgturbo.sky.picture import resize, working_shape


def picture(shape=(7, 11), seed=0, channels=3):
    return np.random.default_rng(seed).random((channels, *shape), np.float32)


def test_there_and_back():
    rgb = picture()
    assert np.abs(lab_to_rgb(rgb_to_lab(rgb)) - rgb).max() < 1e-4


def test_grey_has_no_colour_and_white_is_100():
    lab = rgb_to_lab(np.repeat(np.linspace(0, 1, 12).reshape(1, 3, 4), 3, axis=0))
    assert np.abs(lab[1:]).max() < 0.02
    assert lab[0, 0, 0] == pytest.approx(0, abs=1e-3)
    assert lab[0, -1, -1] == pytest.approx(100, abs=1e-2)
    assert np.all(np.diff(lab[0].ravel()) > 0)


def test_impossible_colours_are_bounded_and_nan_stays():
    lab = np.random.default_rng(0).normal(0, 300, (3, 9, 5)).astype(np.float32)
    lab[1, 2, 3] = np.nan
    rgb = lab_to_rgb(lab)
    assert np.isnan(rgb[:, 2, 3]).all()
    assert np.isnan(rgb).sum() == 3
    assert np.nanmin(rgb) >= 0
    assert np.nanmax(rgb) <= 1
    assert np.isnan(rgb_to_lab(rgb)).sum() == 3


def test_the_published_stretch():
    assert LIGHTNESS(np.full((1, 1), 73.1))[0, 0] == pytest.approx(1)
    assert COLOUR(np.array([[13.6], [24.2]])).ravel() == pytest.approx([1, 1])


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    out=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([1, 2, 5]),
)
def test_resizing_keeps_the_range_and_constants(shape, out, channels):
    planes = picture(shape, channels=channels)
    small = resize(planes, *out)
    assert small.shape == (channels, *out)
    assert small.min() >= planes.min() - 1e-5
    assert small.max() <= planes.max() + 1e-5
    assert resize(np.full_like(planes, 0.3), *out) == pytest.approx(0.3, abs=1e-5)


def test_whole_ratios_are_means():
    planes = picture((12, 18))
    assert resize(planes, 4, 6) == pytest.approx(
        planes.reshape(3, 4, 3, 6, 3).mean((2, 4)), abs=1e-5
    )


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [((100, 200), 50, (50, 100)), ((301, 200), 100, (150, 100)), ((7, 9), None, (7, 9))],
)
def test_the_shorter_side_is_brought_to_size(shape, size, expected):
    assert working_shape(*shape, size) == expected
