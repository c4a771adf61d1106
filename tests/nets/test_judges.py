"""Networks that judge are frozen, say what weights they miss, and are right where it is known."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from imgturbo.metrics.perceptual import Unavailable, lpips_distance, st_lpips_distance
from imgturbo.nets import efficientnet_lite, lpips, st_lpips, weights
from imgturbo.nets.weights import Judge, MissingWeights

LOADERS = [efficientnet_lite.load_efficientnet_lite0, st_lpips.load_st_lpips]


def test_weights_keep_the_names_of_their_file_and_are_not_trained():
    judge = Judge({"net.1.weight": torch.ones(2), "shift": torch.zeros(3)})
    assert torch.equal(judge.weight("net.1.weight"), torch.ones(2))
    assert not list(judge.parameters())
    assert judge.double().weight("shift").dtype == torch.float64  # it moves with the network


@pytest.mark.parametrize("load", LOADERS)
def test_a_missing_package_names_the_extra(monkeypatch, load):
    load.cache_clear()
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(MissingWeights, match=r"pip install 'imgturbo\[perceptual\]'"):
        load()


def test_a_score_says_why_it_is_left_out(monkeypatch, tmp_path):
    image = torch.rand(1, 3, 64, 64)
    st_lpips.load_st_lpips.cache_clear()
    lpips.load_lpips.cache_clear()
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(Unavailable, match=r"^ST-LPIPS skipped: stlpips_pytorch is not installed"):
        st_lpips_distance(image, image)
    with pytest.raises(Unavailable, match=r"^LPIPS skipped: LPIPS needs alexnet.*ImageNet"):
        lpips_distance(image, image)


def test_a_package_without_the_file_is_one_line():
    with pytest.raises(MissingWeights, match=r"^this torch has no models/absent\.pth;"):
        weights.packaged_weights("torch", "models", "absent.pth")


@pytest.mark.skipif(
    importlib.util.find_spec("stlpips_pytorch") is None,
    reason="the extra 'perceptual' is not installed",
)
def test_st_lpips_is_zero_at_itself_and_forgives_a_shift_of_one_pixel():
    torch.manual_seed(0)
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 24, 24), (96, 96), mode="bicubic")
    image = image.clamp(0, 1)
    moved = image.roll(1, dims=3)
    other = image.flip(2)
    assert st_lpips_distance(image, image) == 0
    near, far = st_lpips_distance(moved, image), st_lpips_distance(other, image)
    assert 0 < near < far / 5
    torch.testing.assert_close(near, st_lpips_distance(image, moved))
