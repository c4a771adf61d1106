"""What the perceptual networks are shown: patches, channels, ranges, by one that counts."""

from __future__ import annotations

import pytest
import torch

from imgturbo.metrics import perceptual
from imgturbo.metrics.perceptual import Unavailable, lpips_distance, st_lpips_distance
from imgturbo.nets.weights import MissingWeights

BOTH = [(lpips_distance, "load_lpips"), (st_lpips_distance, "load_st_lpips")]


@pytest.fixture
def seen(monkeypatch):
    """Stand-ins for both networks, whose distance is the mean difference; what they were shown."""
    shown = []

    def model(pred, target):
        shown.append((pred, target))
        return (pred - target).abs().mean((1, 2, 3))[:, None, None, None]

    for _, loader in BOTH:
        monkeypatch.setattr(perceptual, loader, lambda *net: model)
    return shown


@pytest.mark.parametrize("distance", [lpips_distance, st_lpips_distance])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_three_bands_are_one_picture_and_others_are_grey_ones(seen, distance, bands):
    torch.manual_seed(0)
    pred, target = 3 * torch.rand(2, 2, bands, 32, 41) - 1  # clipped as pictures are
    expected = 2 * (pred.clamp(0, 1) - target.clamp(0, 1)).abs().mean((1, 2, 3))
    torch.testing.assert_close(distance(pred, target), expected)
    assert len(seen) == 2
    for images in seen:
        for one in images:
            assert one.shape == (1 if bands == 3 else bands, 3, 32, 41)
            assert (one.min(), one.max()) == (-1, 1)
            if bands != 3:
                assert torch.equal(one[:, 0], one[:, 1])
                assert torch.equal(one[:, 0], one[:, 2])


@pytest.mark.parametrize(
    ("height", "width", "places"),
    [
        (256, 256, [(0, 0)]),
        (257, 100, [(0, 0), (1, 0)]),
        (512, 300, [(0, 0), (0, 44), (256, 0), (256, 44)]),
        (600, 256, [(0, 0), (256, 0), (344, 0)]),
    ],
)
def test_patches_of_256_pixels_cover_the_image(seen, height, width, places):
    target = torch.rand(1, 1, height, width)
    pred = torch.rand(1, 1, height, width)
    found = lpips_distance(pred, target)
    expected = []
    for (p, t), (y, x) in zip(seen, places, strict=True):
        for shown, image in ((p, pred), (t, target)):
            patch = image[0, 0, y : y + 256, x : x + 256]
            torch.testing.assert_close(shown[0, 0], 2 * patch - 1)
        expected.append((p - t).abs().mean())
    torch.testing.assert_close(found[0], torch.stack(expected).mean())


@pytest.mark.parametrize(("distance", "loader"), BOTH)
def test_missing_weights_skip_the_metric_by_name(monkeypatch, distance, loader):
    def missing(*net):
        raise MissingWeights("get them")

    monkeypatch.setattr(perceptual, loader, missing)
    name = "ST-LPIPS" if "st" in loader else "LPIPS"
    with pytest.raises(Unavailable, match=f"^{name} skipped: get them"):
        distance(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))


@pytest.mark.parametrize("distance", [lpips_distance, st_lpips_distance])
@pytest.mark.parametrize(("height", "width"), [(19, 19), (31, 256), (300, 31)])
def test_small_images_skip_the_metric_by_name(seen, distance, height, width):
    images = torch.rand(2, 1, height, width)
    with pytest.raises(Unavailable, match=rf"LPIPS skipped: images of {width} × {height} pixels"):
        distance(images, images)
    assert not seen
