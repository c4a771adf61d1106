"""Networks with statistics over the image: refused by windows, unless blending is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imgturbo.config import CycleGANResNetConfig, Pix2PixUNetConfig
from imgturbo.errors import ImgturboError
from imgturbo.mosaic.translate import translate_array
from imgturbo.mosaic.windows import plan
from imgturbo.nets import build_generator

FROZEN = {
    "unet": Pix2PixUNetConfig(width=3, depth=3),
    "resnet": CycleGANResNetConfig(width=4, downs=1, blocks=1, norm="batch"),
}
WHOLE = {
    "unet": Pix2PixUNetConfig(width=3, depth=3, norm="instance"),
    "resnet": CycleGANResNetConfig(width=4, downs=1, blocks=1),
}


def lively(config) -> torch.nn.Module:
    torch.manual_seed(2)
    generator = build_generator(config, 2, 1)
    with torch.no_grad():
        for name, tensor in generator.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif tensor.ndim > 1:
                tensor.copy_(torch.randn_like(tensor) / tensor[0].numel() ** 0.5)
            elif tensor.is_floating_point():
                tensor.add_(0.2 * torch.randn_like(tensor))
    return generator


def sky(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(5).random((2, height, width), np.float32)


@pytest.mark.parametrize("name", FROZEN)
@pytest.mark.parametrize("window", [180, 203])
def test_with_frozen_batch_norm_windows_equal_the_whole(name, window):
    generator = lively(FROZEN[name])
    image = sky(211, 263)
    whole = translate_array(generator, image, window=300).mean
    parts = translate_array(generator, image, window=window).mean
    assert whole.std() > 0.01
    assert np.abs(parts - whole).max() < 1e-4 * np.ptp(whole)


def test_a_network_in_training_is_frozen_before_it_is_used():
    generator = lively(FROZEN["unet"]).train()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    translate_array(generator, sky(40, 50))
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


@pytest.mark.parametrize("settings", [{}, {"window": 64}])
@pytest.mark.parametrize("name", WHOLE)
def test_with_instance_norm_windows_are_refused(name, settings):
    with pytest.raises(ImgturboError, match=r"windows of a mosaic cannot agree; blend them"):
        translate_array(lively(WHOLE[name]), sky(80, 97), **settings)


@pytest.mark.parametrize("name", WHOLE)
def test_one_window_around_the_image_is_the_whole(name):
    generator = lively(WHOLE[name])
    image = sky(61, 83)
    with torch.inference_mode():
        whole = generator.eval()(torch.from_numpy(image)[None])[0].numpy()
    found = translate_array(generator, image, window=83).mean
    np.testing.assert_allclose(found, whole, atol=1e-5)


@pytest.mark.parametrize("name", WHOLE)
def test_windows_are_blended_where_an_overlap_is_asked_for(name):
    generator = lively(WHOLE[name])
    image = sky(150, 170)
    image[:, :75] *= 0.3  # statistics differ from window to window
    whole = translate_array(generator, image, window=170).mean
    windows = plan(150, 170, window=64, halo=0, stride=generator.stride)
    cuts = sorted({window.cols.start for window in windows} - {0})
    assert len(cuts) == 2

    def seam(overlap: int) -> float:
        """Mean jump across the places where windows of no overlap meet, beside the whole's."""
        plane = translate_array(generator, image, window=64, overlap=overlap).mean
        assert np.isfinite(plane).all()
        jumps, smooth = (
            np.diff(u[0], axis=1)[:, [cut - 1 for cut in cuts]] for u in (plane, whole)
        )
        return float(np.abs(jumps - smooth).mean())

    assert seam(32) < 0.8 * seam(0)
