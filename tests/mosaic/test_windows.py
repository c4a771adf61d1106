"""Cores partition the image; every core sees its halo; origins sit on the generator's grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.mosaic.windows import batches, choose_windows, plan

sides = st.integers(1, 400)
halos = st.integers(0, 40)
strides = st.sampled_from([1, 2, 4, 8, 16])


def smallest_window(halo: int, stride: int) -> int:
    return 2 * (-(-halo // stride) * stride) + stride


@given(sides, sides, halos, strides, st.integers(0, 150))
def test_cores_partition_the_image(height, width, halo, stride, extra):
    windows = plan(height, width, smallest_window(halo, stride) + extra, halo, stride)
    count = np.zeros((height, width), int)
    for window in windows:
        count[window.core_rows, window.core_cols] += 1
    assert (count == 1).all()


@given(sides, sides, halos, strides, st.integers(0, 150))
def test_every_core_sees_its_halo_or_the_border(height, width, halo, stride, extra):
    limit = smallest_window(halo, stride) + extra
    for window in plan(height, width, limit, halo, stride):
        for seen, core, size in (
            (window.rows, window.core_rows, height),
            (window.cols, window.core_cols, width),
        ):
            assert seen.start % stride == 0
            assert 0 <= seen.start <= core.start < core.stop <= seen.stop <= size
            assert seen.start <= max(0, core.start - halo)
            assert seen.stop >= min(size, core.stop + halo)
            assert seen.stop - seen.start <= limit


@given(st.integers(200, 3000), halos, strides, st.integers(60, 200))
def test_extents_are_equal_but_for_the_stride(size, halo, stride, extra):
    windows = plan(size, 7, smallest_window(halo, stride) + extra, halo, stride)
    heights = {window.shape[0] for window in windows}
    assert len(heights) <= 2
    assert max(heights) - min(heights) < stride or len(heights) == 1


def test_no_slivers():
    """One pixel more than a window makes two halves, not a window and a sliver."""
    windows = plan(1025, 64, 1024, 16, 1)
    assert [window.core_rows.stop - window.core_rows.start for window in windows] == [512, 513]


def test_rows_and_columns_are_counted():
    windows = plan(100, 300, 100, 10, 2)
    assert [(window.row, window.col) for window in windows] == [(0, 0), (0, 1), (0, 2), (0, 3)]


def test_a_small_image_is_one_window():
    (window,) = plan(31, 17, 64, 30, 8)
    assert window.shape == (31, 17)
    assert window.crop == (slice(0, 31), slice(0, 17))


def test_too_small_a_window_is_refused_with_the_remedy():
    with pytest.raises(ImgturboError, match="at least 88"):
        plan(500, 500, 64, 40, 8)


def test_an_empty_image_is_refused():
    with pytest.raises(ImgturboError, match="0 x 5"):
        plan(0, 5, 64, 8, 1)


@given(sides, sides, st.integers(1, 9))
def test_batches_keep_order_and_shape(height, width, size):
    windows = plan(height, width, 40, 8, 2)
    groups = list(batches(windows, size))
    assert [window for group in groups for window in group] == windows
    for group in groups:
        assert len(group) <= size
        assert len({(window.row, window.shape) for window in group}) == 1


@given(
    st.integers(1, 5000), st.integers(1, 5000), halos, strides, st.floats(1, 1e5),
    st.floats(1e5, 1e10),
)  # fmt: skip
def test_chosen_windows_can_be_planned_within_their_memory(
    height, width, halo, stride, cost, budget
):
    down, across = choose_windows(height, width, halo, stride, cost, budget)
    shapes = {window.shape for window in plan(height, width, (down, across), halo, stride)}
    tall, wide = (max(shape[axis] for shape in shapes) for axis in (0, 1))
    assert tall <= down
    assert wide <= across
    smallest = max(256, 4 * -(-halo // stride) * stride + stride) + stride
    assert tall * wide * cost <= budget or (tall <= smallest and wide <= smallest)


@pytest.mark.parametrize("size", [(4096, 4096), (16384, 4096), (4096, 16384), (20011, 997)])
def test_chosen_windows_cost_less_than_squares_of_the_same_memory(size):
    def computed(windows):
        return sum(window.shape[0] * window.shape[1] for window in windows)

    chosen = plan(*size, choose_windows(*size, 52, 8, 156, 704 << 20), 52, 8)
    square = plan(*size, 2175, 52, 8)
    assert computed(chosen) <= 1.005 * computed(square)
    assert computed(chosen) < 1.09 * size[0] * size[1]


def test_tall_and_wide_images_cost_the_same():
    down, across = choose_windows(16384, 4096, 52, 8, 156, 704 << 20)
    assert choose_windows(4096, 16384, 52, 8, 156, 704 << 20) == (across, down)
