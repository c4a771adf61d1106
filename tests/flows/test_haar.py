"""Haar wavelets and pixel unshuffling: orthonormal, named right, undone."""

from __future__ import annotations

import pytest
import torch
from flow_layers import zeros
from hypothesis import given
from hypothesis import strategies as st
from refusals import one_line

from imgturbo.flows import Flatten, HaarDownsampling, HaarUpsampling, PixelUnshuffle


@given(
    channels=st.integers(1, 5),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    order=st.sampled_from(["channel", "band"]),
)
def test_haar_is_orthonormal(channels, height, width, order):
    size = channels * 4 * height * width
    basis = torch.eye(size, dtype=torch.float64).view(size, channels, 2 * height, 2 * width)
    z, log_det = HaarDownsampling(order)(basis)
    matrix = z.flatten(1)
    assert torch.allclose(matrix @ matrix.T, torch.eye(size, dtype=torch.float64), atol=1e-12)
    assert torch.equal(log_det, torch.zeros(size, dtype=torch.float64))


def test_haar_bands_are_named_right():
    block = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    x = torch.stack([block, 10 * block])[None]
    bands = torch.tensor([7.5, -2.5, -4.5, 1.5])  # a, left − right, top − bottom, diagonal
    by_channel = HaarDownsampling("channel")(x)[0].flatten()
    assert torch.allclose(by_channel, torch.cat([bands, 10 * bands]))
    by_band = HaarDownsampling("band")(x)[0].flatten()
    assert torch.allclose(by_band, torch.stack([bands, 10 * bands], 1).flatten())


@pytest.mark.parametrize("order", ["channel", "band"])
def test_upsampling_undoes_downsampling(order):
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    z, down = HaarDownsampling(order, 0.5)(x)
    back, up = HaarUpsampling(order, 2.0)(z)
    assert torch.allclose(back, x, atol=1e-12)
    assert torch.allclose(down + up, torch.zeros(2, dtype=torch.float64), atol=1e-12)


def test_sizes_that_do_not_fit_are_named_in_one_line():
    one_line(lambda: HaarDownsampling()(zeros(1, 3, 4, 5)), "even", "(1, 3, 4, 5)")
    one_line(lambda: HaarDownsampling().inverse(zeros(1, 3, 4, 4)), "fours")
    one_line(lambda: PixelUnshuffle()(zeros(1, 3, 3, 4)), "even")
    one_line(lambda: PixelUnshuffle().inverse(zeros(1, 3, 3, 4)), "fours")
    one_line(lambda: HaarDownsampling(rebalance=0), "rebalance")
    one_line(lambda: Flatten((3, 2, 2))(zeros(1, 3, 2, 4)), "(3, 2, 4)")
    one_line(lambda: Flatten((3, 2, 2)).inverse(zeros(1, 11)), "(1, 11)", "12")
