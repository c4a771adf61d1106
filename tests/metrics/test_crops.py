"""Crops of one image: where they lie, and what the distance of two sets of them can tell."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.metrics import crops
from imgturbo.metrics.crops import LEAST, MOST, SIZE, CropFrechet, crop_places
from imgturbo.metrics.frechet import frechet_distance
from imgturbo.metrics.perceptual import Unavailable


def picture(height=457, width=1201, seed=0):
    return np.random.default_rng(seed).random((3, height, width), dtype=np.float32)


def means(images):
    """Features that need no weights: mean and deviation of every band."""
    return torch.cat([images.mean((2, 3)), images.std((2, 3))], 1)


@given(st.integers(1, 900), st.integers(1, 900))
def test_places_are_inside_and_cover_the_image(height, width):
    places = crop_places(np.ones((height, width), bool))
    if min(height, width) < SIZE:
        assert not places
        return
    seen = np.zeros((height, width), bool)
    for y, x in places:
        assert 0 <= y <= height - SIZE
        assert 0 <= x <= width - SIZE
        seen[y : y + SIZE, x : x + SIZE] = True
    assert seen.all()
    assert len(set(places)) == len(places)


def test_large_images_have_no_more_crops_and_still_cover():
    places = crop_places(np.ones((3001, 5003), bool))
    assert MOST / 2 < len(places) <= MOST
    rows, cols = (np.unique(axis) for axis in zip(*places, strict=True))
    assert (rows[-1], cols[-1]) == (3001 - SIZE, 5003 - SIZE)


def test_crops_of_unmeasured_sky_are_left_out():
    valid = np.ones((457, 1201), bool)
    valid[:, :600] = False
    assert {x >= 600 - SIZE * 0.11 for _, x in crop_places(valid)} == {True}


def test_equal_images_are_at_no_distance_and_others_further_the_more_they_differ(monkeypatch):
    monkeypatch.setattr(crops, "frechet_features", means)
    target, valid = picture(), np.ones((457, 1201), bool)
    distance = CropFrechet(target, valid)
    assert distance.crops == len(crop_places(valid)) >= LEAST
    near, far = distance(0.9 * target), distance(0.5 * target)
    assert distance(target) == pytest.approx(0, abs=1e-12)
    assert 1e-6 < near < far


def test_too_few_crops_are_named():
    target = picture(300, 301)
    with pytest.raises(Unavailable, match="16 crops of 128 pixels are too few, 100 are needed"):
        CropFrechet(target, np.ones((300, 301), bool))


def test_places_by_hand():
    """128 pixels every 64, the last at the border; further apart where there were more than 1024.

    (At 64, 80 and 100 pixels there are 3588, 2268 and 1470 of the large one's, at 125 fewer.)
    """
    assert crop_places(np.ones((128, 300), bool)) == [(0, 0), (0, 64), (0, 128), (0, 172)]
    assert crop_places(np.ones((256, 128), bool)) == [(0, 0), (64, 0), (128, 0)]
    assert crop_places(np.ones((127, 300), bool)) == []
    places = crop_places(np.ones((3001, 5003), bool))
    assert places[:2] == [(0, 0), (0, 125)]
    assert len(places) == (22 + 2) * (38 + 2)
    # As many as there may be: 32 x 32 places of 64 pixels, and a row more.
    assert len(crop_places(np.ones((31 * 64 + 128, 31 * 64 + 128), bool))) == 1024
    assert len(crop_places(np.ones((31 * 64 + 129, 31 * 64 + 128), bool))) < 1024


@pytest.mark.parametrize(("holes", "counts"), [(1638, True), (1639, False)])
def test_nine_tenths_of_a_crop_must_be_measured(holes, counts):
    valid = np.ones((128, 128), bool)
    valid.flat[:holes] = False  # of 16384
    assert bool(crop_places(valid)) == counts


def test_the_distance_is_that_of_all_crops_at_once(monkeypatch):
    monkeypatch.setattr(crops, "frechet_features", means)
    target, pred, valid = picture(), picture(seed=1) ** 2, np.ones((457, 1201), bool)
    found = CropFrechet(target, valid)(pred)
    moments = []
    for image in (pred, target):
        cut = [image[:, y : y + 128, x : x + 128] for y, x in crop_places(valid)]
        features = np.array([[*c.mean((1, 2)), *c.std((1, 2), ddof=1)] for c in cut])
        moments += [torch.from_numpy(features.mean(0)), torch.from_numpy(np.cov(features.T))]
    assert found == pytest.approx(frechet_distance(*moments), rel=1e-3)


@pytest.mark.parametrize("width", [128 + 64 * 98, 128 + 64 * 99])
def test_a_hundred_crops_are_enough(monkeypatch, width):
    monkeypatch.setattr(crops, "frechet_features", means)
    image, valid = np.zeros((1, 128, width), np.float32), np.ones((128, width), bool)
    if width < 128 + 64 * 99:
        with pytest.raises(Unavailable, match="99 crops"):
            CropFrechet(image, valid)
    else:
        assert CropFrechet(image, valid).crops == 100
