"""Noise at the input and in an orthogonal basis: formulas, ε = 0, data untouched, rows alike."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.bundle import load_bundle, save_bundle
from imgturbo.config import CodeToImageConfig, Config, InputNoiseConfig, MLPConfig, UNetConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets import FreshNoise, PositionalNoise, build_generator
from imgturbo.nets.noise import NoiseLayer
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

MODES = ("additive", "concatenated", "multiplied")
EPSILON = 1 << 20


class Fixed:
    """The ε that a test knows, whoever asks."""

    def __call__(self, layer, shape, stride, like):
        generator = torch.Generator().manual_seed(layer)
        return torch.randn(tuple(shape), generator=generator)


def network(mode, rows=False, **keys):
    torch.manual_seed(0)
    noise = InputNoiseConfig(mode=mode, channels=3)
    if rows:
        config = MLPConfig(hidden=[8], input_noise=noise, **keys)
    else:
        config = UNetConfig(width=4, depth=1, blocks=1, residual=False, input_noise=noise, **keys)
    return build_generator(config, 2, 2).eval()


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_each_way_is_its_formula_and_without_noise_its_middle(mode, rows):
    made = network(mode, rows)
    u = torch.randn(3, 2) if rows else torch.randn(3, 2, 7, 9)
    before = u.clone()
    shape = (3, 3 if mode == "concatenated" else 2, *u.shape[2:])
    epsilon = Fixed()(EPSILON, shape, 1, u)
    zeros = torch.zeros(shape)
    if mode == "concatenated":
        read, middle = torch.cat([u, epsilon], 1), torch.cat([u, zeros], 1)
    else:
        with torch.no_grad():
            made.sigma.copy_(torch.tensor([0.3, 0.7]))
        sigma = made.sigma.detach().view(-1, *[1] * (u.ndim - 2))
        read = u + sigma * epsilon if mode == "additive" else u * (1 + sigma * epsilon)
        middle = u
    with torch.no_grad():
        assert torch.allclose(made(u, Fixed()), made.network(read), atol=1e-6)
        assert torch.equal(made(u), made.network(middle))
        assert (made(u, Fixed()) - made(u)).abs().max() > 1e-4
    assert torch.equal(u, before)
    assert made.stochastic


@pytest.mark.parametrize("mode", MODES)
def test_the_spread_is_learnt_and_data_stay_as_they_are(mode):
    made = network(mode)
    u = torch.randn(2, 2, 8, 8)
    kept = u.clone()
    made(u, FreshNoise()).square().mean().backward()
    assert torch.equal(u, kept)
    for name, weight in made.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


@given(
    features=st.integers(1, 9), seed=st.integers(0, 99), scale=st.sampled_from([1e-3, 1.0, 50.0])
)
def test_directions_are_orthonormal_times_their_lengths(features, seed, scale):
    torch.manual_seed(seed)
    numbers = 1 + seed % features
    layer = NoiseLayer(features, numbers, 0, 1, "orthogonal").double()
    with torch.no_grad():
        layer.weight.mul_(scale)
        layer.lengths.copy_(torch.linspace(0.5, 2, numbers))
        gram = layer.directions().T @ layer.directions()
    assert torch.allclose(gram, torch.diag(layer.lengths.detach() ** 2), atol=1e-9)


def test_the_basis_moves_smoothly_and_stays_orthonormal_in_training():
    torch.manual_seed(0)
    layer = NoiseLayer(6, 3, 0, 1, "orthogonal")
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
    wanted = torch.linalg.qr(torch.randn(6, 3))[0] * torch.tensor([2.0, 1.0, 0.5])
    losses = []
    for _ in range(400):
        loss = (layer.directions() @ layer.directions().T - wanted @ wanted.T).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 100
    unit = layer.directions().detach() / layer.lengths.detach()
    assert torch.allclose(unit.T @ unit, torch.eye(3), atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 5, 3)])
def test_a_layer_adds_its_directions_and_its_mean(shape):
    layer = NoiseLayer(6, 2, 3, 1, "orthogonal")
    with torch.no_grad():
        layer.mean.normal_()
        h = torch.randn(shape)
        epsilon = Fixed()(3, (4, 2, *shape[2:]), 1, h)
        mean = layer.mean.view(-1, *[1] * (len(shape) - 2))
        moved = torch.einsum("cn,bn...->bc...", layer.directions(), epsilon)
        assert torch.allclose(layer(h, Fixed()), h + moved + mean, atol=1e-5)
        assert torch.allclose(layer(h, None), h + mean)


def test_more_directions_than_features_are_refused():
    for config, channels in ((MLPConfig(hidden=[3], noise_channels=4), 2),
                             (UNetConfig(width=2, depth=0, noise_channels=3), 1)):  # fmt: skip
        wide = config.model_copy(update={"noise_basis": "orthogonal"})
        with pytest.raises(ImgturboError, match="cannot be so many and orthogonal"):
            build_generator(wide, channels, channels)


def test_positional_noise_of_the_input_is_of_the_place():
    made = network("multiplied", noise_channels=2, noise_basis="orthogonal")
    u = torch.randn(1, 2, 40, 40)
    with torch.no_grad():
        whole = made(u, PositionalNoise(3, [[0, 0]]))
        part = made(u[..., 16:, 8:], PositionalNoise(3, [[16, 8]]))
    assert torch.allclose(whole[..., 34:, 26:], part[..., 18:, 18:], atol=1e-5)


def test_bundles_bring_noise_back(tmp_path):
    keys = {"kind": "code_to_image", "size": 6, "width": 4, "depth": 1, "noise_channels": 2,
            "noise_basis": "orthogonal", "input_noise": {"mode": "additive"}}  # fmt: skip
    config = Config.model_validate({"model": {"decoder": keys}})
    decoder = build_generator(config.model.decoder, 3, 1).eval()
    assert isinstance(config.model.decoder, CodeToImageConfig)
    sides = {
        "source": Side(tuple("abc"), "", Stretch.linear(3), kind="latent"),
        "target": Side(("F1",), "", Stretch.linear(1)),
    }
    save_bundle(
        tmp_path / "b", decoder=decoder, encoder=None, config=config, sides=sides, record={}
    )
    loaded = load_bundle(tmp_path / "b")
    z, noise = torch.randn(2, 3), PositionalNoise(1, [[0, 0], [64, 0]])
    with torch.no_grad():
        assert torch.equal(loaded.decoder(z, noise), decoder(z, noise))
    drawn = loaded.sample(3, seed=1)
    assert drawn.shape == (3, 1, 6, 6)
