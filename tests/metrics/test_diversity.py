"""Laws of best-of-N, variance and distances: agreement with plain loops, and masks."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.metrics.diversity import (
    best_of_n_per_image,
    best_of_n_pixelwise,
    bootstrap_error,
    mean_distance,
    pairwise_rms,
    variance,
)

shapes = st.tuples(
    st.integers(1, 3), st.integers(2, 6), st.integers(1, 4), st.integers(1, 7), st.integers(1, 11)
)


def drawn(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    samples = torch.rand(*shape, generator=generator)
    target = torch.rand(shape[0], *shape[2:], generator=generator)
    valid = torch.rand(shape[0], 1, *shape[3:], generator=generator) > 0.3
    valid[:, :, 0, 0] = True
    return samples, target, valid


@given(shapes, st.integers(0, 99))
def test_equal_the_published_formulas(shape, seed):
    """Image by image in NumPy, as the scripts of arXiv:1907.02392 write them."""
    samples, target, _ = drawn(shape, seed)
    for image in range(shape[0]):
        drawn_images, truth = samples[image].double().numpy(), target[image].double().numpy()
        squares = (drawn_images - truth[None]) ** 2
        expected = {
            best_of_n_pixelwise(samples, target): np.sqrt(np.mean(np.min(squares, axis=0))),
            best_of_n_per_image(samples, target): np.sqrt(np.min(squares.mean((1, 2, 3)))),
            variance(samples): np.mean(np.var(drawn_images, axis=0)),
        }
        for score, value in expected.items():
            assert score[image].item() == pytest.approx(value, rel=1e-5, abs=1e-7)


@given(shapes, st.integers(0, 99))
def test_mean_distance_is_the_mean_over_pairs(shape, seed):
    samples, _, valid = drawn(shape, seed)
    expected = []
    for images, mask in zip(samples.double(), valid, strict=True):
        kept = images[:, :, mask[0]].flatten(1)
        pairs = [
            (kept[a] - kept[b]).square().mean().sqrt()
            for a in range(len(kept))
            for b in range(a)
        ]  # fmt: skip
        expected.append(sum(pairs) / len(pairs))
    torch.testing.assert_close(
        mean_distance(samples, valid), torch.stack(expected), rtol=1e-6, atol=1e-9
    )
    everywhere = torch.ones_like(valid)
    torch.testing.assert_close(mean_distance(samples), mean_distance(samples, everywhere))


@given(shapes, st.sampled_from([0.0, 1e6, math.nan, math.inf]))
def test_masked_pixels_do_not_matter(shape, garbage):
    samples, target, valid = drawn(shape)
    hole = ~valid
    spoiled = samples.masked_fill(hole[:, None], garbage), target.masked_fill(hole, -garbage)
    for score in (best_of_n_pixelwise, best_of_n_per_image):
        assert torch.equal(score(*spoiled, valid), score(samples, target, valid))
    for score in (variance, mean_distance):
        assert torch.equal(score(spoiled[0], valid), score(samples, valid))


@given(shapes)
def test_order_of_the_scores(shape):
    """A pixel may choose more freely than an image, and an image than no choice at all."""
    samples, target, valid = drawn(shape)
    pixelwise = best_of_n_pixelwise(samples, target, valid)
    per_image = best_of_n_per_image(samples, target, valid)
    one = best_of_n_per_image(samples[:, :1], target, valid)
    assert (pixelwise <= per_image + 1e-6).all()
    assert (per_image <= one + 1e-6).all()
    torch.testing.assert_close(one, best_of_n_pixelwise(samples[:, :1], target, valid))


@given(shapes, st.floats(-100, 100))
def test_equal_samples_have_no_distance(shape, level):
    one = torch.full((shape[0], 1, *shape[2:]), level) + drawn(shape)[0][:, :1]
    samples = one.expand(shape).contiguous()
    assert mean_distance(samples).max() == 0
    assert variance(samples).max() < 1e-7


def test_bootstrap_error_is_that_of_a_mean():
    scores = torch.randn(400, generator=torch.Generator().manual_seed(0))
    error = bootstrap_error(scores)
    assert error == pytest.approx(scores.std().item() / 20, rel=0.15)
    assert bootstrap_error(scores) == error
    holed = torch.cat([scores, torch.full((7,), math.nan)])
    assert bootstrap_error(holed) == error
    assert math.isnan(bootstrap_error(scores[:1]))


def test_bootstrap_by_hand():
    """One draw has no spread; of two images a draw's mean is one of three values."""
    assert bootstrap_error(torch.tensor([1.0, 5.0, 9.0]), resamples=1) == 0
    # Means 0, ½, 1 with odds ¼, ½, ¼: a deviation of √⅛.
    assert bootstrap_error(torch.tensor([0.0, 1.0]), resamples=40000) == pytest.approx(
        math.sqrt(1 / 8), rel=0.01
    )
    scores = torch.randn(50)
    assert bootstrap_error(scores) == bootstrap_error(scores, 256, seed=0)  # as published
    assert bootstrap_error(scores) != bootstrap_error(scores, 256, seed=1)


def test_distances_by_hand():
    """Samples 0, 3 and 3 on one pixel of two bands: RMS distances 3, 3 and 0."""
    samples = torch.tensor([0.0, 3.0, 3.0]).view(1, 3, 1, 1, 1).expand(1, 3, 2, 1, 1)
    expected = torch.tensor([[[0.0, 3, 3], [3, 0, 0], [3, 0, 0]]]).double()
    torch.testing.assert_close(pairwise_rms(samples), expected)
    assert mean_distance(samples).item() == 2


def test_misuse_is_named():
    samples, target, _ = drawn((2, 3, 2, 5, 5))
    with pytest.raises(ImgturboError, match="2 samples or more"):
        mean_distance(samples[:, :1])
    message = r"samples of \(2, 5, 5\) for images of \(1, 5, 5\); compare like with like"
    with pytest.raises(ImgturboError, match=message):
        best_of_n_pixelwise(samples, target[:, :1])
    with pytest.raises(ImgturboError, match="1 samples or more"):
        best_of_n_pixelwise(samples[:, :0], target)
    with pytest.raises(ImgturboError, match="samples of shape"):
        best_of_n_per_image(samples[0], target)
