"""Weights are a smooth partition of unity, and the streamed sum equals the sum on a full canvas."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.mosaic.blending import Blender, axis_weights
from imgturbo.mosaic.windows import plan

layout = st.tuples(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(0, 12),
    st.sampled_from([1, 2, 4]),
    st.integers(0, 30),
)


def windows_of(drawn):
    height, width, halo, stride, extra = drawn
    least = 2 * (-(-halo // stride) * stride) + stride
    return plan(height, width, least + extra, halo, stride)


@given(layout)
def test_weights_sum_to_one(drawn):
    windows = windows_of(drawn)
    extents = [window.rows for window in windows if window.col == 0]
    total = np.zeros(drawn[0])
    for extent, weight in zip(extents, axis_weights(extents), strict=True):
        assert weight.min() >= 0
        total[extent] += weight
    np.testing.assert_allclose(total, 1, atol=1e-12)


def test_weights_are_smooth_over_the_overlap():
    first, second = axis_weights([slice(0, 60), slice(40, 100)])
    assert np.abs(np.diff(first)).max() < np.pi / 2 / 20 + 1e-9  # the steepest cosine
    np.testing.assert_array_equal(first[:40], 1)
    np.testing.assert_allclose(first[40:] + second[:20], 1)


@given(layout, st.integers(1, 3))
def test_streamed_blend_equals_the_blend_on_a_full_canvas(drawn, channels):
    windows = windows_of(drawn)
    shape = (channels, drawn[0], drawn[1])
    random = np.random.default_rng(1)
    planes = [random.normal(size=(channels, *window.shape)) for window in windows]
    extents_y = [window.rows for window in windows if window.col == 0]
    extents_x = [window.cols for window in windows if window.row == 0]
    weights_y, weights_x = axis_weights(extents_y), axis_weights(extents_x)
    expected = np.zeros(shape)
    for window, plane in zip(windows, planes, strict=True):
        weight = weights_y[window.row][:, None] * weights_x[window.col]
        expected[:, window.rows, window.cols] += weight * plane

    blender = Blender(windows, channels)
    streamed = np.full(shape, np.nan)
    for window, plane in zip(windows, planes, strict=True):
        for block, rows, cols in blender.add(window, plane):
            assert np.isnan(streamed[:, rows, cols]).all(), "a pixel was handed out twice"
            streamed[:, rows, cols] = block
    np.testing.assert_allclose(streamed, expected, atol=1e-10)


@given(layout, st.data())
def test_a_sweep_may_begin_at_any_row(drawn, data):
    windows = windows_of(drawn)
    row = data.draw(st.integers(0, windows[-1].row))
    random = np.random.default_rng(2)
    planes = [random.normal(size=(1, *window.shape)) for window in windows]
    whole, part = Blender(windows, 1), Blender(windows, 1)
    pairs = list(zip(windows, planes, strict=True))
    blocks = [(w.row, *b) for w, p in pairs for b in whole.add(w, p)]
    rest = [
        (w.row, *block)
        for w, p in pairs
        if w.row >= row or w.row in part.reaching(row)
        for block in part.add(w, p, quiet=w.row < row)
    ]
    kept = [block for block in blocks if block[0] >= row]
    assert len(kept) == len(rest)
    for (_, a, *where_a), (_, b, *where_b) in zip(kept, rest, strict=True):
        assert where_a == where_b
        np.testing.assert_allclose(a, b, atol=1e-10)
