"""Laws of HaarPSI, against the published formula written out and another program's values."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import convolve2d

from imgturbo.metrics.haarpsi import haarpsi

shapes = st.tuples(st.integers(1, 3), st.sampled_from([16, 31, 47]), st.sampled_from([17, 40, 53]))


def scene(shape, seed=0):
    """Smooth random structure in 0…1, (2, *shape)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, shape[0], 7, 7, generator=generator, dtype=torch.float64)
    fine = torch.nn.functional.interpolate(coarse, shape[1:], mode="bicubic")
    return fine.clamp(0, 1)


def noisy(image, noise, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return image + noise * torch.randn(image.shape, generator=generator, dtype=torch.float64)


def by_the_paper(f1, f2, c=30.0, alpha=4.2):
    """One channel (H, W) of the range 0…255, eqs. (5)–(11), with direct convolutions."""

    def same(u, kernel):  # the part of the full convolution that the authors' program keeps
        full = convolve2d(u, kernel)
        start = kernel.shape[0] // 2
        return full[start : start + u.shape[0], start : start + u.shape[1]]

    halves = [same(f, np.ones((2, 2)) / 4)[::2, ::2] for f in (f1, f2)]
    above = below = 0.0
    for turn in (False, True):
        magnitudes = []
        for f in halves:
            row = []
            for scale in (1, 2, 3):
                side = 2**scale
                kernel = np.ones((side, side)) / side
                kernel[: side // 2] *= -1
                row.append(np.abs(same(f, kernel.T if turn else kernel)))
            magnitudes.append(row)
        (a1, a2, a3), (b1, b2, b3) = magnitudes
        local = sum((2 * a * b + c) / (a**2 + b**2 + c) for a, b in ((a1, b1), (a2, b2))) / 2
        weight = np.maximum(a3, b3)
        above += (weight / (1 + np.exp(-alpha * local))).sum()
        below += weight.sum()
    mean = above / below
    return (np.log(mean / (1 - mean)) / alpha) ** 2


@given(shapes, st.floats(0.01, 0.5), st.integers(0, 99))
def test_is_the_published_formula(shape, noise, seed):
    target = scene((1, *shape[1:]), seed)
    pred = noisy(target, noise, seed)
    expected = [
        by_the_paper(255 * p[0].numpy(), 255 * t[0].numpy())
        for p, t in zip(pred, target, strict=True)
    ]
    np.testing.assert_allclose(haarpsi(pred, target).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("height", "width", "value"),
    [(64, 64, 0.8298404807125619), (97, 131, 0.8476299421541684), (128, 75, 0.8263228645118802)],
)
def test_agrees_with_piq(height, width, value):
    """Values of piq 0.8.0, ``haarpsi(pred, target, data_range=1.0)``, in float64."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64),
        torch.arange(width, dtype=torch.float64),
        indexing="ij",
    )
    target = 0.5 + 0.4 * torch.sin(x / 5) * torch.cos(y / 7)
    pred = 0.5 + 0.35 * torch.sin((x + 0.8) / 5) * torch.cos(y / 7) + 0.05 * torch.sin(x * y)
    assert haarpsi(pred[None, None], target[None, None]).item() == pytest.approx(value, abs=1e-9)


@given(shapes, st.integers(0, 99))
def test_equal_images_are_one_and_the_order_does_not_matter(shape, seed):
    target = scene(shape, seed)
    pred = noisy(target, 0.1, seed)
    torch.testing.assert_close(haarpsi(target, target), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(haarpsi(pred, target), haarpsi(target, pred))


@pytest.mark.parametrize("shape", [(1, 17, 20), (2, 20, 17), (3, 21, 23)])
def test_bands_and_bytes_are_pooled(shape):
    """Several bands are the weighted mean of each; of bytes it is what it is of 0…1."""
    target = scene(shape)
    pred = noisy(target, 0.2)
    bytes_ = haarpsi(255 * pred, 255 * target, data_range=255.0)
    torch.testing.assert_close(bytes_, haarpsi(pred, target, None, 1.0))
    torch.testing.assert_close(bytes_, haarpsi(pred, target))
    twice = [torch.cat([u, u], 1) for u in (pred, target)]
    torch.testing.assert_close(haarpsi(*twice), haarpsi(pred, target))


@pytest.mark.parametrize(("row", "col"), [(9, 20), (33, 2), (30, 41)])
def test_a_wavelet_that_touches_a_hole_does_not_count(row, col):
    """The widest reach 3 halved pixels before and 4 after: what lies there may be anything."""
    target = scene((1, 47, 53))
    pred = noisy(target, 0.1)
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[:, :, row, col] = False
    expected = haarpsi(pred, target, valid)
    there = torch.zeros_like(target, dtype=torch.bool)
    there[:, :, row, col] = True
    assert torch.equal(haarpsi(pred.masked_fill(there, 1e3), target, valid), expected)
    assert not torch.equal(haarpsi(pred, target), expected)


def test_falls_with_noise_and_with_blur():
    target = scene((1, 61, 83))
    falling = [haarpsi(noisy(target, n), target)[0].item() for n in (0.02, 0.1, 0.4)]
    assert 1 > falling[0] > falling[1] > falling[2] > 0
    edges = (target > 0.5).double()
    blurred = torch.nn.functional.avg_pool2d(edges, 9, 1, 4)
    assert haarpsi(blurred, edges)[0] < 0.7


@given(shapes, st.sampled_from([1e6, float("nan"), float("inf")]))
def test_masked_pixels_do_not_matter(shape, garbage):
    target = scene(shape)
    pred = noisy(target, 0.1)
    valid = torch.ones(2, 1, *shape[1:], dtype=torch.bool)
    valid[..., : shape[1] // 3, : shape[2] // 4] = False
    spoiled = torch.where(valid, pred, torch.tensor(garbage, dtype=pred.dtype))
    other = torch.where(valid, target, torch.tensor(0.3, dtype=pred.dtype))
    torch.testing.assert_close(haarpsi(spoiled, other, valid), haarpsi(pred, target, valid))


def test_the_rim_of_a_hole_is_no_structure():
    """A hole where nothing is to be seen: its rim, the same in both images, must not count."""
    target = torch.full((1, 1, 96, 96), 0.8, dtype=torch.float64)
    target[..., 64:, :] = 0.2
    pred = target.clone()
    pred[..., 64:, :] = 0.6
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[..., 28:36, 40:57] = False
    torch.testing.assert_close(haarpsi(pred, target, valid), haarpsi(pred, target))


def test_nothing_to_compare_is_nan():
    target = scene((1, 31, 33))
    assert haarpsi(target, target, torch.zeros(2, 1, 31, 33, dtype=torch.bool)).isnan().all()
    assert haarpsi(target * 0, target * 0).isnan().all()


@given(st.sampled_from([1.0, 2.0, 255.0]))
def test_the_data_range_is_a_unit(data_range):
    target = scene((1, 40, 41))
    pred = noisy(target, 0.1)
    torch.testing.assert_close(
        haarpsi(pred * data_range, target * data_range, data_range=data_range),
        haarpsi(pred, target),
    )
