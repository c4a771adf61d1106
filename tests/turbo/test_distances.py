"""Distances: their formulas, and that nothing under a mask can be felt."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.turbo import distances
from imgturbo.turbo.distances import DISTANCES, Lpips, Mix

POINTWISE = ("l1", "l2", "charbonnier")
shapes = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(2, 13), st.integers(2, 11))


def draw(shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    u, v = torch.randn(2, *shape, generator=generator, dtype=dtype)
    valid = torch.rand(shape[0], 1, *shape[2:], generator=generator) < 0.6
    return u, v, valid


def value_and_gradient(distance, u, v, valid):
    u = u.clone().requires_grad_()
    found = distance(u, v, valid)
    (gradient,) = torch.autograd.grad(found.total.sum(), u)
    return found, gradient


@pytest.mark.parametrize("name", DISTANCES)
@given(shape=shapes, seed=st.integers(0, 99), junk=st.sampled_from([7.0, 1e30, float("nan")]))
def test_masked_pixels_are_not_felt(name, shape, seed, junk):
    u, v, valid = draw(shape, seed)
    found, gradient = value_and_gradient(DISTANCES[name], u, v, valid)
    for which in ("prediction", "target", "both"):
        dirty_u = u if which == "target" else torch.where(valid, u, junk)
        dirty_v = v if which == "prediction" else torch.where(valid, v, junk)
        again, gradient_again = value_and_gradient(DISTANCES[name], dirty_u, dirty_v, valid)
        assert torch.equal(again.total, found.total)
        assert torch.equal(gradient_again, gradient)
    assert torch.isfinite(gradient).all()
    assert (gradient.masked_select(~valid) == 0).all()
    assert torch.equal(found.entries, valid.flatten(1).sum(1).double() * shape[1])


@pytest.mark.parametrize("name", DISTANCES)
def test_nothing_valid_is_zero(name):
    u, v, valid = draw((2, 3, 7, 5))
    found, gradient = value_and_gradient(DISTANCES[name], u, v, torch.zeros_like(valid))
    assert (found.total == 0).all()
    assert (found.entries == 0).all()
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", DISTANCES)
def test_zero_and_minimal_at_the_truth(name):
    u, v, valid = draw((2, 2, 11, 13))
    same, away = (DISTANCES[name](p, v, valid).total for p in (v, u))
    assert (away > 100 * same).all()
    if name != "charbonnier":
        assert (same == 0).all()


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 7, 5)])
def test_pointwise_formulas(shape):
    u, v, valid = draw(shape)
    keep = valid.expand(shape)
    d = (u - v)[keep]
    expected = {"l1": d.abs(), "l2": d**2, "charbonnier": (d**2 + 1e-6).sqrt()}
    for name in POINTWISE:
        found = DISTANCES[name](u, v, valid)
        mean = found.total.sum() / found.entries.sum()
        torch.testing.assert_close(mean, expected[name].mean())


def test_fourier_obeys_parseval_up_to_the_window():
    """|F| summed in squares is the windowed difference summed in squares; the ℓ1 is of |F|."""
    u, v, _ = draw((1, 1, 12, 9))
    valid = torch.ones(1, 1, 12, 9, dtype=torch.bool)
    window = distances._hann(12, 9, u.dtype, u.device)
    modes = torch.fft.fft2((u - v) * window) / (12 * 9) ** 0.5
    torch.testing.assert_close(modes.abs().square().sum(), ((u - v) * window).square().sum())
    torch.testing.assert_close(distances.fourier(u, v, valid).total[0], modes.abs().sum())
    torch.testing.assert_close(window.square().mean(), torch.ones((), dtype=u.dtype))
    assert window.min() > 0


def test_spectrum_ignores_where_and_feels_how_much():
    generator = torch.Generator().manual_seed(1)
    u = torch.randn(1, 1, 64, 64, generator=generator)
    other = torch.randn(1, 1, 64, 64, generator=generator)
    valid = torch.ones(1, 1, 64, 64, dtype=torch.bool)

    def mean(p, t):
        found = distances.spectrum(p, t, valid)
        return found.total.sum() / found.entries.sum()

    shift, scale, texture = mean(u.roll((5, 9), (2, 3)), u), mean(3 * u, u), mean(other, u)
    assert shift < 0.5
    assert texture < 0.5
    torch.testing.assert_close(scale, torch.tensor(9.0).log(), atol=1e-3, rtol=0)


@given(height=st.integers(2, 17), width=st.integers(2, 17))
def test_rings_share_out_every_mode(height, width):
    index, modes = distances._rings(height, width, torch.device("cpu"))
    assert modes.sum() == height * width == len(index)
    assert (modes > 0).all()


def test_a_whole_is_the_sum_of_its_parts():
    """Joint mean = Σ totals / Σ counts of any split of the batch (law 8)."""
    u, v, valid = draw((5, 2, 9, 7))
    for distance in DISTANCES.values():
        whole = distance(u, v, valid)
        parts = [distance(u[s], v[s], valid[s]) for s in (slice(0, 2), slice(2, 5))]
        torch.testing.assert_close(torch.cat([p.total for p in parts]), whole.total)
        torch.testing.assert_close(torch.cat([p.entries for p in parts]), whole.entries)


@pytest.mark.parametrize("name", ["fourier", "spectrum"])
def test_tables_have_no_spectrum(name):
    u, v, valid = draw((3, 4))
    with pytest.raises(ImgturboError, match=f"'{name}' needs images"):
        DISTANCES[name](u, v, valid)


def test_mix_is_the_weighted_sum_and_refuses_nonsense():
    u, v, valid = draw((2, 3, 7, 5))
    mixed = Mix({"l1": 2.0, "l2": 0.5, "fourier": 0.0})(u, v, valid)
    one, two = DISTANCES["l1"](u, v, valid), DISTANCES["l2"](u, v, valid)
    torch.testing.assert_close(mixed.total, 2 * one.total + 0.5 * two.total)
    assert torch.equal(mixed.entries, one.entries)
    with pytest.raises(ImgturboError, match="no distance has a weight"):
        Mix({"l1": 0.0})
    with pytest.raises(ImgturboError, match="weights are ≥ 0"):
        Mix({"l1": -1.0})


# -------------------------------------------------------------------------------------- LPIPS


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lpips_masks_and_reaches_the_prediction(channels):
    torch.manual_seed(0)
    distance = Lpips("alex", random_backbone=True)
    u, v, valid = draw((2, channels, 37, 41), dtype=torch.float32)
    found, gradient = value_and_gradient(distance, u, v, valid)
    assert (found.total > 0).all()
    assert (gradient.masked_select(valid) != 0).float().mean() > 0.5
    assert (gradient.masked_select(~valid) == 0).all()
    nan = float("nan")
    dirty = (torch.where(valid, u, nan), torch.where(valid, v, nan))
    again, gradient_again = value_and_gradient(distance, *dirty, valid)
    torch.testing.assert_close(again.total, found.total)
    torch.testing.assert_close(gradient_again, gradient)


def test_lpips_is_the_packages_mean_over_samples():
    import lpips

    distance = Lpips("alex", random_backbone=True)
    u, v, _ = draw((3, 3, 40, 33), dtype=torch.float32)
    found = distance(u, v, torch.ones(3, 1, 40, 33, dtype=torch.bool))
    model = distances.load_lpips("alex", True, torch.device("cpu"))
    assert isinstance(model, lpips.LPIPS)
    expected = model(2 * u - 1, 2 * v - 1).mean()
    torch.testing.assert_close(found.total.sum() / found.entries.sum(), expected)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_lpips_without_weights_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ImgturboError, match=r"vgg16-397923af\.pth.*take lpips out"):
        Mix({"lpips": 1.0})


def test_lpips_refuses_tables_and_stamps():
    distance = Lpips("alex", random_backbone=True)
    for shape in ((2, 3), (2, 3, 31, 64)):
        with pytest.raises(ImgturboError, match="at least 32 pixels"):
            distance(*draw(shape))
