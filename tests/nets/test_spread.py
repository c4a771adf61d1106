"""Wide kernels: transforms equal sums, light moves as the kernel says, and none of it is lost."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from imgturbo.nets.spread import Spread, fast_size


def spread(channels: int, maps: int, side: int, seed: int = 0) -> Spread:
    """A layer in double precision with kernels that no symmetry helps."""
    torch.manual_seed(seed)
    layer = Spread(channels, maps, side).double()
    torch.nn.init.normal_(layer.kernels)
    return layer


@given(
    height=st.integers(1, 23), width=st.integers(1, 23), maps=st.integers(1, 3),
    side=st.sampled_from([1, 3, 7, 31]), seed=st.integers(0, 2**16),
)  # fmt: skip
def test_by_transforms_it_is_the_convolution(height, width, maps, side, seed):
    layer = spread(2, maps, side, seed)
    h = torch.randn(2, 2, height, width, dtype=torch.float64, requires_grad=True)
    results = []
    for layer.direct in (False, True):
        out = layer(h)
        results.append((out, *torch.autograd.grad(out.square().sum(), [h, layer.kernels])))
    for transformed, summed in zip(*results, strict=True):
        torch.testing.assert_close(transformed, summed, rtol=1e-10, atol=1e-10)


def test_a_fresh_layer_spreads_faintly_and_alike_in_all_directions():
    torch.manual_seed(0)
    layer = Spread(4, 3, 9)
    kernels = layer.kernels.detach()
    assert torch.equal(kernels, kernels.flip(1))
    assert torch.equal(kernels, kernels.transpose(1, 2))
    light = torch.rand(1, 3, 21, 17)
    assert layer.convolved(light).abs().max() < 0.1 * light.max()


def test_a_point_is_spread_by_the_kernel_turned_as_correlations_turn_it():
    layer = spread(1, 1, 5)
    light = torch.zeros(1, 1, 11, 9, dtype=torch.float64)
    light[..., 6, 4] = 3.0
    expected = F.pad(3.0 / 5 * layer.kernels.flip(1, 2)[None], (2, 2, 4, 2))
    torch.testing.assert_close(layer.convolved(light), expected)


def test_light_of_a_point_far_from_the_border_is_conserved():
    layer = spread(1, 2, 7)
    light = torch.zeros(1, 2, 17, 19, dtype=torch.float64)
    light[:, :, 8, 9] = 1.0
    total = layer.kernels.sum((1, 2)) / 7
    torch.testing.assert_close(layer.convolved(light).sum((2, 3))[0], total)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_at_the_ends_alone(dtype):
    layer = spread(3, 2, 9).float()
    h = torch.rand(1, 3, 16, 12)
    exact = layer(h)
    with torch.autocast("cpu", dtype=dtype):
        rough = layer(h)
    assert (rough - exact).abs().max() < 0.05 * exact.abs().max()


def test_an_even_kernel_has_no_middle():
    with pytest.raises(ValueError, match="side 8 is even"):
        Spread(1, 1, 8)


@given(st.integers(1, 5000))
def test_fast_sizes_are_the_next_products_of_small_primes(size):
    fast = fast_size(size)
    assert fast >= size
    assert 30**13 % fast == 0  # 2, 3 and 5 alone
    assert all(30**13 % between for between in range(size, fast))
