"""Networks between pixel grids: windows, cubic convolution, cells, masks, and unlike ratios."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from imgturbo.config import CoarsenConfig, SRResNetConfig, UNetConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets import Ensemble, FreshNoise, PositionalNoise, build_generator, receptive_field
from imgturbo.nets.generator import on_grid
from imgturbo.nets.super_resolution import bicubic, bicubic_weights

SMALL = {"width": 6, "blocks": 2}
KINDS = {"srresnet": SRResNetConfig, "coarsen": CoarsenConfig}
every_kind = pytest.mark.parametrize("kind", KINDS)


def network(kind, factor=2, bands=(2, 2), **keys):
    """With weights far from their gentle start."""
    torch.manual_seed(0)
    made = build_generator(KINDS[kind](factor=factor, **{**SMALL, **keys}), *bands).eval()
    with torch.no_grad():
        made.last.weight.normal_(0, 1 / made.last.weight[0].numel() ** 0.5)
    return made


@every_kind
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_windows_equal_the_whole(kind, factor):
    made = network(kind, factor, noise_channels=2)
    stride, zoom = made.stride, made.zoom
    u = torch.randn(1, 2, 67, 59)
    halo = -(-receptive_field(made) // stride) * stride
    core = 6 * stride
    with torch.no_grad():
        whole = made(u, PositionalNoise(4, [[0, 0]]))
        assert whole.shape == (1, 2, made.written(67), made.written(59))
        out = torch.full_like(whole, torch.nan)
        for y, x in itertools.product(range(0, 67, core), range(0, 59, core)):
            top, left = max(y - halo, 0), max(x - halo, 0)
            window = u[:, :, top : y + core + halo, left : x + core + halo]
            got = made(window, PositionalNoise(4, [[top, left]]))
            to, wide = int(y * zoom), int(x * zoom)
            rows, cols = int((y - top) * zoom), int((x - left) * zoom)
            size = int(core * zoom)
            part = got[:, :, rows : rows + size, cols : cols + size]
            out[:, :, to : to + size, wide : wide + size] = part
    assert whole.std() > 0.1
    assert (out - whole).abs().max() < 1e-5


@every_kind
@given(height=st.integers(1, 23), width=st.integers(1, 23), factor=st.sampled_from([2, 3, 4]))
def test_any_shape_gives_its_multiple_or_its_share(kind, height, width, factor):
    made = network(kind, factor, bands=(1, 3))
    output = made(torch.randn(2, 1, height, width), FreshNoise())
    sides = [
        side * factor if kind == "srresnet" else -(-side // factor) for side in (height, width)
    ]
    assert output.shape == (2, 3, *sides)
    assert output.isfinite().all()


@every_kind
def test_gradients_reach_every_weight(kind):
    made = network(kind, noise_channels=2)
    made(torch.randn(1, 2, 9, 7), FreshNoise()).square().sum().backward()
    for name, weight in made.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_cubic_convolution_is_that_of_an_independent_library(factor):
    """Torch's, which with antialias takes the published a = −1/2, where no border is seen."""
    u = torch.randn(2, 3, 14, 11, dtype=torch.float64)
    theirs = F.interpolate(u, scale_factor=factor, mode="bicubic", antialias=True)
    inner = (..., slice(2 * factor, -2 * factor), slice(2 * factor, -2 * factor))
    assert torch.allclose(bicubic(u, factor)[inner], theirs[inner], atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_cubic_convolution_keeps_flux_polynomials_and_constants(factor):
    weights = bicubic_weights(factor)
    assert torch.allclose(weights.sum(1), torch.ones(factor, dtype=torch.float64))
    star = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    star[..., 4, 4] = 1
    assert bicubic(star, factor).sum() == pytest.approx(factor**2, abs=1e-9)
    # Quadratics are met exactly (Keys 1981), at the middles of the fine pixels.
    x = torch.arange(12, dtype=torch.float64)
    fine = (torch.arange(12 * factor, dtype=torch.float64) + 0.5) / factor - 0.5
    plane = (x**2 - 3 * x).expand(1, 1, 5, 12)
    inner = slice(2 * factor, -2 * factor)
    assert torch.allclose(bicubic(plane, factor)[0, 0, 3, inner], (fine**2 - 3 * fine)[inner])
    assert torch.allclose(bicubic(torch.ones_like(plane), factor), torch.ones(()).double())


def test_they_start_at_cubic_convolution_and_at_the_mean_of_cells():
    u = torch.randn(1, 2, 12, 8)
    for kind, start in (("srresnet", bicubic(u, 2)), ("coarsen", F.avg_pool2d(u, 2))):
        torch.manual_seed(1)
        made = build_generator(KINDS[kind](factor=2, **SMALL), 2, 2)
        assert (made(u) - start).abs().max() < 0.1 * start.abs().max()


def test_masks_go_to_the_pixels_in_them_and_from_all_of_them():
    valid = torch.rand(2, 1, 5, 7) < 0.7
    fine = on_grid(valid, Fraction(3))
    assert fine.shape == (2, 1, 15, 21)
    for y, x in itertools.product(range(15), range(21)):
        assert torch.equal(fine[..., y, x], valid[..., y // 3, x // 3])
    assert torch.equal(on_grid(fine, Fraction(1, 3)), valid)
    coarse = on_grid(valid, Fraction(1, 2))
    assert coarse.shape == (2, 1, 3, 4)
    for y, x in itertools.product(range(3), range(4)):
        cell = valid[..., 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        assert torch.equal(coarse[..., y, x], cell.flatten(2).all(2))
    made = network("srresnet", 3)
    assert torch.equal(made.carry(valid, made(torch.zeros(2, 2, 5, 7))), fine)


def test_the_mean_over_symmetries_is_on_the_fine_grid_too():
    u = torch.randn(1, 2, 7, 10)
    for kind in KINDS:
        mean = Ensemble(network(kind), "d4")
        assert mean.zoom == network(kind).zoom
        turned = mean(torch.rot90(u, 1, (2, 3)))
        square = mean(u)
        if kind == "srresnet":  # odd sides are grown at one end only before they are coarsened
            assert torch.allclose(torch.rot90(square, 1, (2, 3)), turned, atol=1e-5)
        assert square.shape[2:] == tuple(map(mean.written, u.shape[2:]))


@pytest.mark.parametrize(
    ("config", "given", "wanted", "words"),
    [
        (SRResNetConfig(factor=2, **SMALL), 16, 64, "makes images of 32 pixels.*factor: 4"),
        (SRResNetConfig(factor=2, **SMALL), 16, 16, "keeps the grid"),
        (SRResNetConfig(factor=2, **SMALL), 16, 24, "multiples of each other"),
        (SRResNetConfig(factor=2, **SMALL), 32, 16, "model.encoder a kind coarsen with factor: 2"),
        (CoarsenConfig(factor=4, **SMALL), 32, 16, "makes images of 8 pixels.*factor: 2"),
        (UNetConfig(width=4), 16, 32, "model.decoder a kind srresnet with factor: 2"),
        (UNetConfig(width=4), 32, 16, "model.encoder a kind coarsen with factor: 2"),
    ],
)
def test_unlike_ratios_are_refused_in_a_line(config, given, wanted, words):
    with pytest.raises(ImgturboError, match=words) as caught:
        build_generator(config, 2, 2).check(given, wanted)
    assert "\n" not in str(caught.value)
    build_generator(SRResNetConfig(factor=2, **SMALL), 2, 2).check(16, 32)
    build_generator(CoarsenConfig(factor=2, **SMALL), 2, 2).check(32, 16)
