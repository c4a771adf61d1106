"""A diffusion model as a generator: exact on a normal distribution, repeatable, blended."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from diffusers.schedulers import scheduling_ddpm
from torch import nn

from imgturbo.bundle import load_bundle, save_bundle
from imgturbo.config import Config, DiffusionConfig
from imgturbo.diffusion import DiffusionDecoder, build_scheduler
from imgturbo.engines import build_network
from imgturbo.errors import ImgturboError
from imgturbo.mosaic import translate_array
from imgturbo.nets import FreshNoise, PositionalNoise, Tempered
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

SLOPE, DEVIATION = 0.8, 0.3


class ExactDenoiser(nn.Module):
    """What a perfect network makes of x_t where x₀|z ~ N(0.8 z, 0.3²) in every pixel."""

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__()
        self.prediction = config.prediction
        self.alphas = build_scheduler(config).alphas_cumprod

    def forward(self, u, t):
        z, x = u.chunk(2, dim=1)
        alpha = self.alphas[t].view(-1, 1, 1, 1)
        signal, noise = alpha.sqrt(), (1 - alpha).sqrt()
        mean, variance = SLOPE * z, DEVIATION**2
        x_0 = mean + variance * signal / (variance * alpha + 1 - alpha) * (x - signal * mean)
        if self.prediction == "sample":
            return x_0
        epsilon = (x - signal * x_0) / noise
        return epsilon if self.prediction == "epsilon" else signal * epsilon - noise * x_0


def exact(**settings) -> DiffusionDecoder:
    config = DiffusionConfig(width=1, depth=0, blocks=1, **settings)
    decoder = build_network(config, 1, 1)
    decoder.denoiser = ExactDenoiser(config)
    return decoder


def constant(value: float):
    return lambda layer, shape, stride, like: like.new_full(shape, value)


CASES = [
    {"schedule": schedule, "prediction": prediction, "center": 0.4, "spread": 0.25}
    for schedule, prediction in itertools.product(
        ("cosine", "linear"), ("epsilon", "v_prediction", "sample")
    )
]
for case in CASES:
    if (case["schedule"], case["prediction"]) == ("cosine", "epsilon"):
        case["clip"] = 100.0


@pytest.mark.parametrize("settings", CASES)
def test_ddim_maps_noise_onto_the_conditional_distribution(settings):
    """With a linear denoiser draws are a + b ε: a must be the mean, b the deviation."""
    decoder = exact(sampling_steps=200, **settings)
    z = torch.tensor([-0.9, 0.0, 0.7]).view(3, 1, 1, 1)
    low, high = decoder(z, constant(0.0)), decoder(z, constant(1.0))
    torch.testing.assert_close(low, 0.4 + 0.25 * SLOPE * z, rtol=0, atol=2e-3)
    found = ((high - low) / (0.25 * DEVIATION)).flatten()
    torch.testing.assert_close(found, torch.ones(3), rtol=0, atol=0.03)
    torch.testing.assert_close(decoder(z), low)


@pytest.mark.parametrize("settings", CASES)
def test_ddpm_draws_have_the_conditional_moments(settings):
    decoder = exact(sampling_steps=200, sampler="ddpm", **settings)
    torch.manual_seed(1)
    z = torch.tensor([-0.9, 0.7]).view(2, 1, 1, 1).expand(2, 1, 100, 100)
    draws = (decoder(z, FreshNoise()) - 0.4) / 0.25
    torch.testing.assert_close(
        draws.mean((1, 2, 3)), SLOPE * z[:, 0, 0, 0], rtol=0, atol=5 * DEVIATION / 100
    )
    torch.testing.assert_close(
        draws.std((1, 2, 3)), torch.full((2,), DEVIATION), rtol=0.03 + 5 / 141, atol=0
    )
    rows = draws[0, 0] - draws[0, 0].mean()
    assert abs((rows[1:] * rows[:-1]).mean()) < 5 * DEVIATION**2 / 100  # pixels are independent


@pytest.mark.parametrize("clip", [None, 0.5])
def test_ddpm_is_the_ancestral_sampler_of_diffusers(clip, monkeypatch):
    settings = {"steps": 20, "sampling_steps": 20, "schedule": "linear", "clip": clip}
    decoder = decoder_of(sampler="ddpm", **settings)
    z = torch.rand(1, 2, 4, 6)
    fixed = torch.randn(21, 1, 1, 4, 6)
    theirs = scheduling_ddpm.DDPMScheduler(
        num_train_timesteps=20, prediction_type="v_prediction",
        clip_sample=clip is not None, clip_sample_range=clip or 1.0,
    )  # fmt: skip
    x = fixed[0]
    for k, t in enumerate(range(19, -1, -1), start=1):
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, k=k, **__: fixed[k])
        x = theirs.step(decoder.predict(z, x, torch.tensor([t])), t, x).prev_sample
    found = decoder(z, lambda layer, *_: fixed[layer])
    torch.testing.assert_close(found, 0.5 + 0.5 * x, rtol=0, atol=1e-4)


def decoder_of(in_channels=2, out_channels=1, seed=0, **settings) -> DiffusionDecoder:
    """A small network, shaken."""
    torch.manual_seed(seed)
    sizes = {"width": 3, "depth": 1, "blocks": 1, "sampling_steps": 5}
    network = build_network(DiffusionConfig(**(sizes | settings)), in_channels, out_channels)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (13, 7), (1, 19)])
def test_draws_have_the_size_of_the_input_and_vanish_with_the_noise(sampler, height, width):
    network = decoder_of(3, 2, sampler=sampler)
    u = torch.randn(2, 3, height, width)
    quiet = network(u)
    assert quiet.shape == (2, 2, height, width)
    torch.testing.assert_close(network(u, Tempered(FreshNoise(), 0.0)), quiet)
    one, other = network.draws(u, [FreshNoise(), FreshNoise()])
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("sampling_steps", [1, 2, 4, 5, 8, 10, 1000])
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_any_number_of_steps_stays_finite(schedule, sampling_steps):
    """Single precision alone has roots of numbers below zero, as with five cosine steps."""
    network = decoder_of(1, 1, schedule=schedule, sampler="ddpm", sampling_steps=sampling_steps)
    assert network(torch.rand(1, 1, 2, 2), FreshNoise()).isfinite().all()


def test_every_step_has_noise_of_its_own():
    layers = []

    def noise(layer, shape, stride, like):
        layers.append((layer, tuple(shape), stride))
        return torch.zeros(tuple(shape))

    u = torch.rand(1, 2, 5, 4)
    decoder_of(sampler="ddim")(u, noise)
    assert layers == [(0, (1, 1, 6, 4), 1)]
    layers.clear()
    decoder_of(sampler="ddpm")(u, noise)
    assert layers == [(k, (1, 1, 6, 4), 1) for k in range(6)]


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_draws_repeat_with_their_seed_and_differ_across_seeds(sampler):
    network = decoder_of(sampler=sampler)
    array = np.random.default_rng(0).random((2, 11, 9), np.float32)

    def drawn(seed: int, **settings):
        return translate_array(network, array, samples=3, seed=seed, window=11, **settings)

    one, again, other = drawn(4, keep_draws=True), drawn(4), drawn(99)
    assert (len(one.draws), dict(one.quantiles)) == (3, {})
    np.testing.assert_array_equal(one.mean, again.mean)
    assert np.abs(one.mean - other.mean).max() > 1e-3
    np.testing.assert_allclose(one.mean, np.mean(one.draws, axis=0), atol=1e-6)
    assert one.std.min() > 0
    drawn = translate_array(network, array, samples=5, window=11, quantiles=(0.25, 0.75))
    assert (drawn.quantiles[0.25] < drawn.quantiles[0.75]).all()


def test_clipping_bounds_what_is_drawn():
    u = torch.randn(2, 2, 8, 8)
    free, bound = decoder_of(), decoder_of(clip=0.25, center=0.1, spread=2.0)
    assert (free(u, FreshNoise()) - 0.5).abs().max() > 0.25 * 0.5
    assert (bound(u, FreshNoise()) - 0.1).abs().max() <= 0.25 * 2 + 1e-5


def test_windows_must_be_blended_and_start_from_the_same_noise():
    network = decoder_of(sampler="ddpm")
    array = np.random.default_rng(1).random((2, 61, 70), np.float32)
    for settings in ({}, {"window": 32}):
        with pytest.raises(ImgturboError, match=r"denoising steps.*--window 256 --overlap 64"):
            translate_array(network, array, samples=1, **settings)
    whole = translate_array(network, array, samples=1, window=70).mean
    parts = translate_array(network, array, samples=1, window=32, overlap=12).mean
    others = translate_array(network, array, samples=1, window=70, seed=1).mean
    # Not the same pixels, but the same draw: much nearer than two draws are.
    assert 0 < np.abs(parts - whole).mean() < 0.05 * np.abs(others - whole).mean()


def test_windows_agree_to_the_pixel_where_the_network_sees_no_further():
    array = np.random.default_rng(2).random((1, 45, 52), np.float32)
    network = exact(sampler="ddpm", sampling_steps=10)
    whole = translate_array(network, array, samples=2, window=52)
    parts = translate_array(network, array, samples=2, window=20, overlap=8)
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-5)
    np.testing.assert_allclose(parts.std, whole.std, atol=1e-5)


def test_positional_noise_makes_a_window_a_part_of_the_sky():
    decoder = exact(sampling_steps=5, sampler="ddpm")
    z = torch.rand(1, 1, 12, 16)
    whole = decoder(z, PositionalNoise(3, [(0, 0)]))
    part = decoder(z[..., 4:, 6:], PositionalNoise(3, [(4, 6)]))
    torch.testing.assert_close(part, whole[..., 4:, 6:])


def test_compiling_is_of_the_network_alone():
    network = decoder_of()
    network.compile(backend="eager")
    assert network.denoiser._compiled_call_impl is not None
    assert network._compiled_call_impl is None


def test_a_bundle_gives_back_the_same_draws(tmp_path):
    settings = Config.model_validate(
        {"model": {"decoder": {"kind": "diffusion", "width": 3, "depth": 1, "blocks": 1,
                               "sampling_steps": 4}}}
    )  # fmt: skip
    network = build_network(settings.model.decoder, 2, 1).eval()
    sides = {
        "source": Side(("A", "B"), "MJy/sr", Stretch.linear(2), pixel_scale=0.04),
        "target": Side(("C",), "MJy/sr", Stretch.linear(1), pixel_scale=0.04),
    }
    save_bundle(tmp_path / "b", decoder=network, encoder=None, config=settings, sides=sides,
                record={"step": 1})  # fmt: skip
    bundle = load_bundle(tmp_path / "b")
    assert isinstance(bundle.decoder, DiffusionDecoder)
    card = (tmp_path / "b" / "README.md").read_text()
    assert "preset `diffusion`" in card
    assert "sampling_steps 4" in card
    u = torch.rand(1, 2, 7, 9)
    noise = PositionalNoise(0, [(0, 0)])
    torch.testing.assert_close(bundle.decoder(u, noise), network(u, noise), rtol=0, atol=0)
    image = np.random.default_rng(0).random((2, 7, 9), np.float32)
    found = bundle.translate(image, samples=3, window=9)
    assert found.mean.shape == found.std.shape == (1, 7, 9)
    assert found.std.min() > 0


def test_bad_input_is_named():
    network = decoder_of(2)
    with pytest.raises(ImgturboError, match="reads 2 bands"):
        network(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ImgturboError, match="kind: mlp"):
        network(torch.zeros(4, 2))
    with pytest.raises(ImgturboError, match="zero or more"):
        Tempered(FreshNoise(), math.nan)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_few_steps_make_draws_that_are_too_narrow_and_it_is_said(sampler):
    widths = []
    for steps in (10, 50, 1000):
        decoder = exact(sampler=sampler, sampling_steps=steps)
        torch.manual_seed(0)
        with torch.no_grad():
            drawn = decoder.translate(torch.zeros(1, 1, 80, 80), FreshNoise())
        widths.append(drawn.std().item())
        assert f"{steps} steps of {sampler}" in decoder.doubt
    exactly = DEVIATION * decoder.config.spread
    assert widths[0] < 0.9 * exactly
    assert widths[0] < widths[1] < widths[2] == pytest.approx(exactly, rel=0.03)
