"""Bands that were never measured together are named, however the image is read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.sky.overlap import require_common, require_common_in


@given(
    seed=st.integers(0, 2**31),
    channels=st.integers(1, 4),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    share=st.sampled_from([0.05, 0.3, 0.9]),
)
def test_it_passes_just_where_one_pixel_has_all_bands(seed, channels, size, share):
    random = np.random.default_rng(seed)
    data = np.where(random.random((channels, *size)) < share, 1.0, np.nan)
    names = "ABCD"[:channels]
    measured = np.isfinite(data)
    if measured.all(0).any():
        require_common_in(lambda rows, cols: data[:, rows, cols], size, names, "x.fits")
        return
    with pytest.raises(ImgturboError, match=r"^x\.fits: ") as error:
        require_common_in(lambda rows, cols: data[:, rows, cols], size, names, "x.fits")
    empty = [name for name, plane in zip(names, measured, strict=True) if not plane.any()]
    if empty:
        assert ", ".join(empty) in str(error.value)
    else:
        assert f"all of {', '.join(names)}" in str(error.value)


def test_a_large_image_is_read_from_its_middle_and_no_further():
    read = []

    def window(rows, cols):
        read.append(rows)
        return np.zeros((2, rows.stop - rows.start, cols.stop), np.float32)

    require_common_in(window, (1 << 14, 1 << 12), "AB", "x.fits")
    (rows,) = read
    assert abs((rows.start + rows.stop) / 2 - (1 << 13)) <= rows.stop - rows.start


def test_the_two_that_do_not_meet_are_named():
    measured = np.ones((3, 4, 8), bool)
    measured[0, :, :4], measured[2, :, 4:] = False, False
    with pytest.raises(ImgturboError, match=r"in all of A, B, C \(A and C share none\); move"):
        require_common(iter(np.split(measured, 2, axis=1)), "ABC", "x.fits", "move")
