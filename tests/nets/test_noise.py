"""Positional noise: a standard Gaussian, independent everywhere, the same however it is asked."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from imgturbo.errors import ImgturboError
from imgturbo.nets import FreshNoise, PositionalNoise
from imgturbo.nets.noise import NoiseLayer, Tempered, _mix

LIKE = torch.zeros(1)


def sky(seed=0, layer=0, shape=(1, 2, 200, 300), stride=1, origin=(0, 0)):
    origins = [origin] * shape[0]
    return PositionalNoise(seed, origins)(layer, shape, stride, LIKE)


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 + 11, 123456789])
@pytest.mark.parametrize("layer", [0, 7])
def test_it_is_standard_normal(seed, layer):
    sample = sky(seed, layer).double().flatten()
    n = len(sample)
    # Five standard errors of each moment.
    assert abs(sample.mean()) < 5 / n**0.5
    assert abs(sample.var() - 1) < 5 * (2 / n) ** 0.5
    assert abs((sample**3).mean()) < 5 * (15 / n) ** 0.5
    assert abs((sample**4).mean() - 3) < 5 * (96 / n) ** 0.5
    assert stats.kstest(sample.numpy(), "norm").pvalue > 1e-4


def correlation(a, b):
    a, b = a.double().flatten(), b.double().flatten()
    return float((a * b).mean()) * len(a) ** 0.5  # in standard errors


def test_neighbours_channels_layers_and_seeds_are_independent():
    e = sky(3)
    assert abs(correlation(e[..., 1:], e[..., :-1])) < 5
    assert abs(correlation(e[..., 1:, :], e[..., :-1, :])) < 5
    assert abs(correlation(e[..., 1:, 1:], e[..., :-1, :-1])) < 5
    assert abs(correlation(e[:, 0], e[:, 1])) < 5
    for other in (sky(4), sky(3, layer=1)):
        assert abs(correlation(e, other)) < 5
        assert abs(correlation(e[..., 1:], other[..., :-1])) < 5
        # Box–Muller's cosine could hide a dependence that only squares show.
        assert abs(correlation(e**2 - 1, other**2 - 1)) / 2 < 5
    assert abs(correlation(e, sky(3, shape=(1, 2, 300, 200)).transpose(2, 3))) < 5 + 200**0.5
    assert not torch.equal(e[0, 0, 1], e[0, 0, :, 1][:300])


def test_spectrum_is_white():
    power = torch.fft.rfft2(sky(9, shape=(1, 1, 256, 256))[0, 0].double()).abs().square() / 256**2
    rows = power[1:, 1:-1]
    for axis in (0, 1):
        profile = rows.mean(axis)
        assert (profile - 1).abs().max() < 6 / rows.shape[axis] ** 0.5


@given(
    y=st.integers(-50, 50),
    x=st.integers(-50, 50),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    stride=st.sampled_from([1, 2, 4, 8]),
)
def test_windows_agree_on_the_pixels_they_share(y, x, height, width, stride):
    whole = sky(1, 2, (1, 3, 140, 140), stride, (-60 * stride, -60 * stride))
    window = sky(1, 2, (1, 3, height, width), stride, (y * stride, x * stride))
    y, x = y + 60, x + 60
    assert torch.equal(window, whole[:, :, y : y + height, x : x + width])


def test_a_batch_is_its_windows():
    origins = [[0, 0], [8, 4], [1000, 40000]]
    batch = PositionalNoise(2, origins)(0, (3, 2, 9, 11), 4, LIKE)
    for one, origin in zip(batch, origins, strict=True):
        assert torch.equal(one[None], sky(2, 0, (1, 2, 9, 11), 4, origin))


def test_seed_zero_is_a_seed_like_others():
    # Zero is the fixed point of the mixing; there the first pixel would be 6.8 standard deviations.
    assert sky(0, 0, (1, 1, 1, 1)).abs() < 4


GAMMA = 0x9E3779B97F4A7C15
PI = 0x243F6A8885A308D3


def by_the_page(seed, layer, channel, y, x):
    """One number by the formula of the module's page, in Python's own unbounded integers."""

    def h(k):
        k %= 2**64
        k = (k ^ (k >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        k = (k ^ (k >> 27)) * 0x94D049BB133111EB % 2**64
        return k ^ (k >> 31)

    key = h(h(h(seed % 2**64 ^ PI) + layer * GAMMA) + channel * GAMMA)
    bits = h(h(key + y * GAMMA) + x * GAMMA)
    first, second = (bits // 2**32 + 0.5) / 2**32, bits % 2**32 / 2**32
    return math.sqrt(-2 * math.log(first)) * math.cos(2 * math.pi * second)


@given(
    st.integers(-(2**63), 2**63), st.integers(0, 9), st.integers(0, 5),
    st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6),
)  # fmt: skip
def test_every_number_is_the_pages(seed, layer, channel, y, x):
    like = LIKE.double()
    noise = PositionalNoise(seed, [[2 * y, 2 * x]])
    found = noise(layer, (1, channel + 1, 3, 4), 2, like)[0, channel, 2, 3]
    expected = by_the_page(seed, layer, channel, y + 2, x + 3)
    assert found.item() == pytest.approx(expected, abs=1e-12)
    row = noise(layer, (1, channel + 1), 2, like)  # of a table: one number a column
    assert row.shape == (1, channel + 1)
    assert row[0, channel].item() == pytest.approx(
        by_the_page(seed, layer, channel, y, x), abs=1e-12
    )


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 2.5])
def test_a_temperature_is_a_factor(temperature):
    noise = PositionalNoise(0, [[0, 0]])
    plain, hot = (n(1, (1, 2, 5, 6), 1, LIKE) for n in (noise, Tempered(noise, temperature)))
    torch.testing.assert_close(hot, temperature * plain)


@pytest.mark.parametrize("temperature", [-1e-9, -1.0, float("nan")])
def test_temperatures_below_zero_are_named(temperature):
    with pytest.raises(ImgturboError, match="temperature must be zero or more"):
        Tempered(FreshNoise(), temperature)


def test_layers_begin_near_no_noise():
    torch.manual_seed(0)
    weight = NoiseLayer(60, 50, 0, 1).weight
    assert weight.shape == (60, 50)
    assert weight.std().item() == pytest.approx(0.1, rel=0.1)
    table = NoiseLayer(4, 3, layer=2, stride=1)
    noise = PositionalNoise(0, [[0, 0], [2, 2]])
    h = torch.randn(2, 4)
    epsilon = noise(2, (2, 3), 1, h)
    torch.testing.assert_close(table(h, noise), h + epsilon @ table.weight.T)


def test_far_positions_do_not_repeat():
    near = sky(0, shape=(1, 1, 8, 8))
    far = sky(0, shape=(1, 1, 8, 8), origin=(2**32, 2**32))
    assert not torch.equal(near, far)


def test_draws_of_neighbouring_seeds_share_nothing():
    """Had draw n the seed + n, all but one of the draws of seed 1 would be those of seed 2."""
    draws = {
        (seed, n): PositionalNoise(seed, [[0, 0]], n)(0, (1, 1, 4, 4), 1, LIKE)
        for seed in (-1, 0, 1, 2, 2**32)
        for n in range(6)
    }
    assert len({tuple(draw.flatten().tolist()) for draw in draws.values()}) == len(draws)
    assert torch.equal(draws[2, 3], PositionalNoise(2, [[0, 0]], 3)(0, (1, 1, 4, 4), 1, LIKE))
    assert torch.equal(draws[2, 0], PositionalNoise(2, [[0, 0]])(0, (1, 1, 4, 4), 1, LIKE))


def test_dtype_follows_the_features():
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        assert PositionalNoise(0, [[0, 0]])(0, (1, 1, 2, 2), 1, LIKE.to(dtype)).dtype == dtype
        assert FreshNoise()(0, (1, 1, 2, 2), 1, LIKE.to(dtype)).dtype == dtype


def test_splitmix_reference():
    # First outputs of SplitMix64 seeded with 1234567, as published with the algorithm.
    gamma, seed = 0x9E3779B97F4A7C15, 1234567
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    for step, value in enumerate(expected, start=1):
        word = (seed + step * gamma) % 2**64
        signed = word - 2**64 if word >= 2**63 else word
        assert int(_mix(torch.tensor(signed))) % 2**64 == value


def test_values_are_bounded_by_the_grid_of_uniforms():
    assert sky(0, shape=(1, 4, 512, 512)).abs().max() < math.sqrt(2 * math.log(2**33))


def test_wrong_origins_are_named():
    with pytest.raises(ValueError, match=r"\(B, 2\)"):
        PositionalNoise(0, [0, 0])
    with pytest.raises(ValueError, match="batch of 2"):
        PositionalNoise(0, [[0, 0]])(0, (2, 1, 4, 4), 1, LIKE)
    with pytest.raises(ValueError, match="multiples of 4"):
        PositionalNoise(0, [[4, 2]])(0, (1, 1, 4, 4), 4, LIKE)


def test_fresh_noise_obeys_torchs_seed():
    torch.manual_seed(1)
    first = FreshNoise()(0, (2, 3, 4, 5), 1, LIKE)
    torch.manual_seed(1)
    assert torch.equal(first, FreshNoise()(0, (2, 3, 4, 5), 1, LIKE))
    assert not torch.equal(first, FreshNoise()(0, (2, 3, 4, 5), 1, LIKE))


def test_layer_adds_its_linear_map_of_the_noise():
    layer = NoiseLayer(4, 3, layer=2, stride=2)
    noise = PositionalNoise(0, [[0, 0], [2, 2]])
    h = torch.randn(2, 4, 5, 6)
    epsilon = noise(2, (2, 3, 5, 6), 2, h)
    expected = h + torch.einsum("cn,bnhw->bchw", layer.weight, epsilon)
    torch.testing.assert_close(layer(h, noise), expected)
    assert torch.equal(layer(h, None), h)
