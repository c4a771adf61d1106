"""Law 1: by windows or whole, the same pixels, for every generator offered."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from imgturbo.config import ResNetConfig, UNetConfig
from imgturbo.errors import ImgturboError
from imgturbo.mosaic.translate import translate_array
from imgturbo.nets import PositionalNoise, build_generator, receptive_field

GENERATORS = {
    "unet": (UNetConfig(width=8, depth=2, blocks=1), 2, 2),
    "unet-stem": (UNetConfig(width=8, depth=1, blocks=1, stem=2), 1, 1),
    "unet-stem-4": (UNetConfig(width=8, depth=1, blocks=1, stem=4, norm="none"), 1, 3),
    "unet-noise": (UNetConfig(width=8, depth=1, blocks=1, noise_channels=2), 1, 1),
    "resnet": (ResNetConfig(width=8, downs=1, blocks=2), 5, 2),
    "resnet-flat": (ResNetConfig(width=8, downs=0, blocks=1, residual=False), 3, 1),
    "resnet-noise": (ResNetConfig(width=8, downs=1, blocks=1, noise_channels=1), 1, 3),
}


def lively(config, inputs: int, outputs: int) -> nn.Module:
    """A fresh generator is nearly the identity; random weights make every path count."""
    torch.manual_seed(3)
    generator = build_generator(config, inputs, outputs)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.normal_(0, 0.15)
    return generator.eval()


@pytest.fixture(params=GENERATORS)
def generator(request):
    return lively(*GENERATORS[request.param])


def sky(channels: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(channels, height, width)).astype(np.float32)


def small_window(generator: nn.Module, extra: int = 0) -> int:
    """The smallest window that has a core, and some more."""
    halo = -(-receptive_field(generator) // generator.stride) * generator.stride
    return 2 * halo + generator.stride + extra


@pytest.mark.parametrize("extra", [3, 29, 64])
def test_windows_equal_the_whole(generator, extra):
    image = sky(generator.in_channels, 151, 181)
    samples = 1 if generator.stochastic else None
    window = small_window(generator, extra)
    with torch.inference_mode():
        noise = PositionalNoise(7, [[0, 0]]) if samples else None
        whole = generator(torch.from_numpy(image)[None], noise)[0].numpy()
    tiled = translate_array(generator, image, window=window, samples=samples, seed=7).mean
    assert tiled.shape == whole.shape
    scale = whole.max() - whole.min()
    assert np.abs(tiled - whole).max() < 1e-4 * scale
    assert whole.std() > 0.01


@pytest.mark.parametrize("group", ["mirror", "flips", "d4"])
def test_windows_equal_the_whole_for_ensembles_too(group):
    # Sides that are no multiples of the stride: mirrored windows must still find the same grid.
    generator = lively(*GENERATORS["unet"])
    image = sky(2, 93, 121)
    whole = translate_array(generator, image, ensemble=group).mean
    tiled = translate_array(
        generator, image, ensemble=group, window=small_window(generator, 13), batch=2
    ).mean
    assert np.abs(tiled - whole).max() < 1e-4 * (whole.max() - whole.min())
    alone = translate_array(generator, image).mean
    assert np.abs(alone - whole).max() > 1e-2 * (whole.max() - whole.min())


def test_ensembles_are_asked_for_rightly():
    generator = lively(*GENERATORS["unet-noise"])
    image = sky(1, 20, 24)
    with pytest.raises(ImgturboError, match="'d8' is unknown; choose one of none, mirror, flips"):
        translate_array(generator, image, ensemble="d8")
    with pytest.raises(ImgturboError, match="leave out --samples or --ensemble"):
        translate_array(generator, image, ensemble="d4", samples=2)
    mean = translate_array(generator, image, ensemble="d4").mean  # of ε = 0
    assert np.array_equal(mean, translate_array(generator, image, ensemble="d4").mean)


def test_too_little_overlap_would_show_seams(generator):
    """The law is not empty: cut without a halo, the same networks do differ."""
    image = sky(generator.in_channels, 101, 67)
    whole = translate_array(generator, image).mean
    cut = translate_array(generator, image, window=32, overlap=0).mean
    assert np.abs(cut - whole).max() > 1e-3 * (whole.max() - whole.min())


def test_short_overlaps_are_blended_without_a_step():
    generator = lively(*GENERATORS["unet"])
    image = sky(2, 131, 127)
    whole = translate_array(generator, image).mean
    seams = {
        overlap: np.abs(translate_array(generator, image, window=64, overlap=overlap).mean - whole)
        for overlap in (0, 24)
    }
    assert seams[24].max() < seams[0].max()
    assert seams[24].mean() < 0.5 * seams[0].mean()


@pytest.mark.parametrize("overlap", [None, 16])
def test_batches_change_nothing(generator, overlap):
    image = sky(generator.in_channels, 97, 139)
    window = small_window(generator, 9)
    one = translate_array(generator, image, window=window, overlap=overlap, batch=1).mean
    many = translate_array(generator, image, window=window, overlap=overlap, batch=5).mean
    np.testing.assert_allclose(one, many, atol=1e-4 * np.ptp(one))


@pytest.mark.parametrize("overlap", [None, 16])
def test_what_was_not_measured_stays_so(generator, overlap):
    image = sky(generator.in_channels, 90, 71)
    image[0, 20:30, 40:] = np.nan
    image[-1, :3] = np.nan
    image[:, 60:] = np.nan
    window = small_window(generator, 5)
    result = translate_array(generator, image, window=window, overlap=overlap).mean
    expected = np.isnan(image).any(0)
    for plane in result:
        np.testing.assert_array_equal(np.isnan(plane), expected)


def test_an_image_of_nothing_is_nothing(generator):
    image = np.full((generator.in_channels, 40, 50), np.nan, np.float32)
    assert np.isnan(translate_array(generator, image).mean).all()


def test_samples_have_a_mean_and_a_deviation():
    generator = lively(*GENERATORS["unet-noise"])
    image = sky(1, 61, 47)
    planes = translate_array(generator, image, samples=5, seed=4, keep_draws=True)
    draws = np.stack(planes.draws)
    alone = translate_array(generator, image, samples=1, seed=4).mean
    np.testing.assert_allclose(draws[0], alone, atol=1e-5 * np.ptp(draws))
    np.testing.assert_allclose(planes.mean, draws.mean(0), atol=1e-5 * np.ptp(draws))
    np.testing.assert_allclose(planes.std, draws.std(0, ddof=1), atol=1e-5 * np.ptp(draws))
    assert planes.std.mean() > 0


def test_without_samples_there_is_no_noise():
    generator = lively(*GENERATORS["unet-noise"])
    image = sky(1, 40, 30)
    with torch.inference_mode():
        plain = generator(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_allclose(translate_array(generator, image).mean, plain, atol=1e-5)


def test_samples_of_a_deterministic_network_are_refused():
    generator = lively(*GENERATORS["unet"])
    with pytest.raises(ImgturboError, match="noise_channels"):
        translate_array(generator, sky(2, 40, 40), samples=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, "0 samples"),
        ({"batch": 0}, "batches of 0"),
        ({"overlap": -1}, "overlap of -1"),
        ({"device": "cuda:77"}, "try cpu"),
        ({"device": "toaster"}, "try cpu"),
        ({"precision": "fp8"}, "fp8"),
        ({"window": 16}, "at least"),
    ],
)
def test_bad_settings_are_named(settings, message):
    generator = lively(*GENERATORS["unet-noise"])
    with pytest.raises(ImgturboError, match=message):
        translate_array(generator, sky(1, 40, 40), **settings)


def test_wrong_shapes_are_named():
    generator = lively(*GENERATORS["unet"])
    with pytest.raises(ImgturboError, match=r"\(2, H, W\); got \(1, 40, 40\)"):
        translate_array(generator, sky(1, 40, 40))


def test_bf16_is_close():
    generator = lively(*GENERATORS["unet"])
    image = sky(2, 64, 64)
    exact = translate_array(generator, image).mean
    rough = translate_array(generator, image, precision="bf16").mean
    assert 0 < np.abs(rough - exact).max() < 0.1 * np.ptp(exact)
