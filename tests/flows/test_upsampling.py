"""Laws of joint bilateral upsampling: convex, edge-aware, equivariant, of finite reach."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.flows.upsampling import joint_bilateral_upsample

SHAPES = [((5, 7), (10, 14)), ((3, 5), (12, 20)), ((4, 3), (12, 9)), ((7, 5), (23, 31))]
every_ratio = pytest.mark.parametrize(("coarse", "fine"), SHAPES)


def pair(coarse, fine, channels=2, guides=1, seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    x = torch.randn(1, channels, *coarse, dtype=dtype)
    return x, torch.randn(1, guides, *fine, dtype=dtype)


@settings(deadline=None, max_examples=25)
@given(
    h=st.integers(1, 6),
    w=st.integers(1, 6),
    more=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    channels=st.sampled_from([1, 2, 7]),
    guides=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
def test_a_convex_combination_of_any_shape(h, w, more, channels, guides, seed):
    fine = (h + more[0], w + more[1])
    x, guide = pair((h, w), fine, channels, guides, seed)
    y = joint_bilateral_upsample(x, guide)
    assert y.shape == (1, channels, *fine)
    assert y.dtype == x.dtype
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    assert ((y >= low - 1e-9) & (y <= high + 1e-9)).all()
    flat = torch.full_like(x, 3.25)
    assert torch.allclose(joint_bilateral_upsample(flat, guide), torch.tensor(3.25).double())


@every_ratio
@pytest.mark.parametrize("axes", [(2,), (3,), (2, 3)])
def test_flips_commute(coarse, fine, axes):
    x, guide = pair(coarse, fine)
    there = joint_bilateral_upsample(x.flip(axes), guide.flip(axes))
    assert torch.allclose(there, joint_bilateral_upsample(x, guide).flip(axes), atol=1e-9)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_windows_agree_and_translations_commute(scale):
    """What a window sees is what the whole has there, away from the window's edges."""
    x, guide = pair((16, 13), (16 * scale, 13 * scale))
    whole = joint_bilateral_upsample(x, guide)
    part = joint_bilateral_upsample(x[..., 3:, 2:], guide[..., 3 * scale :, 2 * scale :])
    halo = 5 * scale
    inner = whole[..., 3 * scale + halo :, 2 * scale + halo :]
    assert inner.numel() > 0
    assert torch.allclose(part[..., halo:, halo:], inner, atol=1e-9)


def test_an_edge_of_the_guide_keeps_colours_apart():
    """The edge lies inside a coarse pixel, whose own side the plain interpolation cannot know."""
    guide = torch.zeros(1, 1, 32, 32)
    guide[..., 18:] = 1.0
    x = torch.zeros(1, 1, 8, 8)
    x[..., 4] = 0.5  # the edge runs through the middle of this one
    x[..., 5:] = 1.0
    y = joint_bilateral_upsample(x, guide)[0, 0, 16]
    plain = torch.nn.functional.interpolate(x, (32, 32), mode="bilinear")[0, 0, 16]
    assert y[18] - y[17] > 4 * (plain[18] - plain[17])
    assert y[:12].max() < 0.05
    assert y[24:].min() > 0.95


def test_a_smooth_guide_gives_a_smooth_picture():
    x = torch.arange(8.0).expand(1, 1, 8, 8)
    y = joint_bilateral_upsample(x, torch.zeros(1, 1, 32, 32))[0, 0, 16]
    steps = y.diff()[8:-8]
    assert steps.min() > 0.1
    assert steps.max() < 0.4


@pytest.mark.parametrize("side", ["x", "guide"])
def test_nan_reaches_a_finite_distance(side):
    x, guide = pair((16, 16), (64, 64))
    (x if side == "x" else guide)[..., 0, 0] = float("nan")
    y = joint_bilateral_upsample(x, guide)
    assert y[..., 0, 0].isnan().all()
    assert y[..., 24:, :].isfinite().all()
    assert y[..., :, 24:].isfinite().all()


def test_the_same_size_is_left_as_it_is():
    x, guide = pair((5, 7), (5, 7))
    assert torch.equal(joint_bilateral_upsample(x, guide), x)


@pytest.mark.parametrize(("coarse", "fine"), [((5, 7), (4, 14)), ((5, 7), (10, 6))])
def test_a_smaller_guide_is_refused(coarse, fine):
    x, guide = pair(coarse, fine)
    with pytest.raises(ImgturboError, match="guide"):
        joint_bilateral_upsample(x, guide)
    with pytest.raises(ImgturboError, match="guide"):
        joint_bilateral_upsample(x, guide.expand(2, -1, -1, -1))


@pytest.mark.parametrize("strip", [1, 5, 16])
def test_strips_of_rows_are_the_whole(monkeypatch, strip):
    x, guide = pair((9, 7), (37, 28))
    whole = joint_bilateral_upsample(x, guide)
    monkeypatch.setattr("imgturbo.flows.upsampling._STRIP", strip)
    assert torch.allclose(joint_bilateral_upsample(x, guide), whole, atol=1e-12)
