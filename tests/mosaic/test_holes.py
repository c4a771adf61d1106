"""Holes: what is filled, with what, how little neighbours notice, and that no window matters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from astropy.convolution import Gaussian2DKernel, interpolate_replace_nans
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_opening, distance_transform_edt

from imgturbo.mosaic import holes, translate_array
from imgturbo.mosaic.holes import MARGIN, fill_small, influence, near, small_holes
from imgturbo.nets import Generator
from imgturbo.sky import Stretch


def holed(random, size, share):
    """A mask of single pixels, blobs and bars."""
    hole = random.random(size) < share
    for _ in range(3):
        y, x = (random.integers(0, n) for n in size)
        h, w = random.integers(1, 24, 2)
        hole[y : y + h, x : x + w] = True
    return hole


def test_what_is_filled_is_what_astropy_would_put_there():
    random = np.random.default_rng(0)
    values = random.normal(size=(2, 61, 47)).astype(np.float32)
    hole = random.random((61, 47)) < 0.15
    hole[20:24, 30:34], hole[:3, 5:9], hole[40, :] = True, True, True
    values[:, hole] = np.nan
    kernel = Gaussian2DKernel(1.0, x_size=17, y_size=17)
    around = np.pad(values.astype(float), ((0, 0), (8, 8), (8, 8)), constant_values=np.nan)
    filled = [interpolate_replace_nans(plane, kernel) for plane in around]
    expected = np.stack(filled)[:, 8:-8, 8:-8]
    fill_small(values, ~hole)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


def test_a_band_is_filled_where_it_has_no_value_of_its_own():
    values = np.random.default_rng(0).normal(size=(2, 31, 29)).astype(np.float32)
    whole = values.copy()
    values[0, 7:9, 11:14] = np.nan
    fill_small(values, np.isfinite(values).all(0))
    np.testing.assert_array_equal(values[1], whole[1])
    assert np.isfinite(values).all()
    assert (values[0, 7:9, 11:14] != 0).all()


@given(seed=st.integers(0, 2**31), share=st.sampled_from([0.0, 0.1, 0.6]))
def test_small_is_where_no_wide_square_fits(seed, share):
    hole = holed(np.random.default_rng(seed), (53, 47), share)
    small = small_holes(hole)
    wide = binary_opening(hole, np.ones((9, 9)))
    assert not (small & wide).any()
    assert not (small & ~hole).any()
    far = distance_transform_edt(~wide) > 6 if wide.any() else np.ones_like(hole)
    assert (small[hole & far]).all()
    # Every pixel that is filled has a measured one near.
    values = np.where(hole, np.nan, 1.0)[None].astype(np.float32)
    fill_small(values, ~hole)
    np.testing.assert_allclose(values[0, small], 1.0, rtol=1e-6)
    assert (values[0, hole & ~small] == 0).all()


@given(seed=st.integers(0, 2**31))
def test_the_margin_is_all_that_a_place_depends_on(seed):
    random = np.random.default_rng(seed)
    hole = holed(random, (71, 67), 0.1)
    values = random.normal(size=(1, 71, 67)).astype(np.float32)
    values[:, hole] = np.nan
    rows, cols = slice(20, 47), slice(17, 40)
    more = slice(20 - MARGIN, 47 + MARGIN), slice(17 - MARGIN, 40 + MARGIN)
    part = values[:, *more].copy()
    fill_small(values, ~hole)
    fill_small(part, ~hole[more])
    inner = part[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    np.testing.assert_array_equal(inner, values[:, rows, cols])


def test_neighbours_of_a_small_hole_change_little(bundle):
    """On a star and on sky: without the filling the same network is wrong by many times as much."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[:64, :64]
    star = np.exp(-((y - 30.2) ** 2 + (x - 33.1) ** 2) / 18)
    image = (random.normal(0.015, 0.03, (2, 64, 64)) + 3 * star).astype(np.float32)
    stretches = {"stretch": bundle.source.stretch, "target": bundle.target.stretch}
    whole = translate_array(bundle.decoder, image, **stretches).mean
    hole = np.zeros((64, 64), bool)
    hole[29:33, 32:36] = True
    masked, dark = image.copy(), image.copy()
    masked[:, hole] = np.nan
    dark[:, hole] = bundle.source.stretch.offset[:, None]
    found = translate_array(bundle.decoder, masked, **stretches)
    before = translate_array(bundle.decoder, dark, **stretches).mean
    y = bundle.target.stretch
    changes = [np.abs(y(u) - y(whole)).max(0) for u in (found.mean, before)]
    ring = ~hole & (distance_transform_edt(~hole) <= 5)
    assert changes[0][ring].max() < 0.2 * changes[1][ring].max()
    assert np.isnan(found.mean[:, hole]).all()
    outside = (found.flags & 1) == 0
    assert outside.any()
    noise = np.arcsinh(1 / 3) / y.scale[:, None]
    assert (changes[0][outside] < 0.2 * noise.min()).all()


class Box(Generator):
    """The mean of the (2 k + 1)² pixels around, a network that sees k pixels far."""

    def __init__(self, k):
        super().__init__(1, 1)
        self.k = k

    def forward(self, u, noise=None):
        return torch.nn.functional.avg_pool2d(u, 2 * self.k + 1, 1, self.k)


@pytest.mark.parametrize("k", [0, 1, 3])
def test_the_reach_of_a_hole_is_measured(k):
    stretch = Stretch(np.zeros(1), np.ones(1), np.full(1, 4.0))
    found = influence(Box(k), stretch, stretch, 3.0)
    assert max(1, k) <= found <= max(1, np.ceil(np.sqrt(2) * k))


class Moved(Generator):
    """What lies k pixels to the left, and nothing else."""

    def __init__(self, k):
        super().__init__(1, 1)
        self.k = k

    def forward(self, u, noise=None):
        return torch.roll(u, self.k, -1)


@pytest.mark.parametrize(("k", "reach"), [(20, 20), (60, 60), (64, 64), (66, 64)])
def test_a_hole_is_seen_as_far_as_the_network_looks_or_the_limit(k, reach):
    stretch = Stretch(np.zeros(1), np.ones(1), np.full(1, 4.0))
    assert influence(Moved(k), stretch, stretch, 3.0) == reach


def test_near_is_a_distance():
    hole = np.zeros((21, 21), bool)
    assert not near(hole, 3).any()
    hole[10, 10] = True
    y, x = np.mgrid[-10:11, -10:11]
    np.testing.assert_array_equal(near(hole, 3), np.hypot(y, x) <= 3)


def test_the_noise_of_a_stretched_sky_is_that_of_its_sigma():
    """Softenings are stated in σ of the sky; of a linear band there is no such statement."""
    offset, sigma, softening = np.array([0.2, 1.0, 0.0]), np.array([0.5, 2.0, np.nan]), 3.0
    softenings = np.array([*(softening * sigma[:2]), np.inf])
    stretch = Stretch(offset, softenings, np.array([4.0, 7.0, 2.0]))
    found = holes._noise(stretch, 3, softening)
    pixels = (offset + sigma)[:, None]
    np.testing.assert_allclose(found[:2], stretch(pixels)[:2, 0])
    assert found[2] == holes._noise(None, 1, softening)[0]
