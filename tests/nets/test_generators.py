"""Every generator: law 1, any shape, any channel counts, gradients, near-identity, round trips."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from imgturbo.config import InputNoiseConfig, MLPConfig, NAFNetConfig, ResNetConfig, UNetConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets import (
    FreshNoise,
    Generator,
    PositionalNoise,
    build_generator,
    count_parameters,
    receptive_field,
)

CONFIGS = {
    "unet": UNetConfig(width=6, depth=1, blocks=1),
    "unet-stem2": UNetConfig(width=6, depth=2, blocks=1, stem=2),
    "unet-stem4": UNetConfig(width=6, depth=1, blocks=1, stem=4),
    "unet-stem3": UNetConfig(width=6, depth=1, blocks=1, stem=3),
    "unet-flat": UNetConfig(width=6, depth=0, blocks=2, norm="none", residual=False),
    "unet-noise": UNetConfig(width=6, depth=2, blocks=1, stem=2, noise_channels=3),
    "unet-gaussian": UNetConfig(width=6, depth=1, blocks=1, head="gaussian"),
    "nafnet": NAFNetConfig(width=6, depth=2, blocks=1, middle=1),
    "nafnet-depthwise": NAFNetConfig(
        width=6, depth=1, blocks=1, middle=2, stem=3, mixing="depthwise"
    ),
    "nafnet-spread": NAFNetConfig(width=6, depth=1, blocks=1, middle=1, spread=21, spread_maps=3),
    "resnet": ResNetConfig(width=6, downs=2, blocks=2),
    "resnet-flat": ResNetConfig(width=6, downs=0, blocks=1, norm="none"),
    "resnet-noise": ResNetConfig(width=6, downs=1, blocks=2, noise_channels=2),
    "resnet-both": ResNetConfig(width=6, downs=1, blocks=1, noise_channels=2, head="gaussian"),
    "unet-basis": UNetConfig(
        width=6, depth=1, blocks=1, noise_channels=3, noise_basis="orthogonal"
    ),
    **{
        f"resnet-{mode}": ResNetConfig(
            width=6, downs=1, blocks=1, input_noise=InputNoiseConfig(mode=mode, channels=2)
        )
        for mode in ("additive", "concatenated", "multiplied")
    },
}
BANDS = [(1, 1), (1, 3), (5, 2), (3, 3)]
every_config = pytest.mark.parametrize("name", CONFIGS)


def randomised(name: str, bands: tuple[int, int] = (2, 2), seed: int = 0) -> Generator:
    """A network whose weights, the last layer's too, are far from their gentle start."""
    torch.manual_seed(seed)
    network = build_generator(CONFIGS[name], *bands).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn_like(parameter) / fan_in**0.5)
            else:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def by_windows(network: Generator, u: torch.Tensor, core: int, seed: int) -> torch.Tensor:
    """Translate window by window: aligned, a halo of the receptive field each side, cropped."""
    stride = network.stride
    halo = -(-receptive_field(network) // stride) * stride
    core = -(-core // stride) * stride
    height, width = u.shape[2:]
    out = u.new_full((u.shape[0], network.out_channels, height, width), torch.nan)
    for y, x in itertools.product(range(0, height, core), range(0, width, core)):
        top, left = max(y - halo, 0), max(x - halo, 0)
        window = u[:, :, top : y + core + halo, left : x + core + halo]
        noise = PositionalNoise(seed, [[top, left]] * len(u)) if network.stochastic else None
        with torch.no_grad():
            got = network(window, noise)
        out[:, :, y : y + core, x : x + core] = got[
            :, :, y - top : y - top + core, x - left : x - left + core
        ]
    return out


@pytest.mark.parametrize("core", [16, 40, 72])
@every_config
def test_windows_equal_the_whole(name, core):
    network = randomised(name)
    u = torch.randn(1, 2, 139, 167)
    noise = PositionalNoise(5, [[0, 0]]) if network.stochastic else None
    with torch.no_grad():
        whole = network(u, noise)
    parts = by_windows(network, u, core, seed=5)
    assert whole.std() > 0.1
    assert (parts - whole).abs().max() < 1e-4 * max(1.0, float(whole.abs().max()))


@every_config
def test_half_the_halo_leaves_seams(name):
    # What makes windows agree is the measured halo: with half of it they do not.
    network = randomised(name).double()
    u = torch.randn(1, 2, 139, 167, dtype=torch.float64)
    noise = PositionalNoise(5, [[0, 0]]) if network.stochastic else None
    with torch.no_grad():
        whole = network(u, noise)
    exact = (by_windows(network, u, 40, seed=5) - whole).abs().max()
    network.__dict__["_receptive_field"] = receptive_field(network) // 2 - network.stride
    short = (by_windows(network, u, 40, seed=5) - whole).abs().max()
    assert exact < 1e-11
    assert short > 1e-9


@every_config
@given(height=st.integers(1, 40), width=st.integers(1, 40), bands=st.sampled_from(BANDS))
def test_any_shape_and_channel_count(name, height, width, bands):
    network = build_generator(CONFIGS[name], *bands)
    output = network(torch.randn(2, bands[0], height, width), FreshNoise())
    assert output.shape == (2, bands[1], height, width)
    assert output.isfinite().all()


@pytest.mark.parametrize("bands", BANDS)
@every_config
def test_gradient_reaches_every_parameter(name, bands):
    network = build_generator(CONFIGS[name], *bands)
    network(torch.randn(2, bands[0], 23, 29), FreshNoise()).square().mean().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key


WIDENED = "resnet-concatenated"  # whose input has other channels than its output


@pytest.mark.parametrize(
    "name", [name for name in CONFIGS if "nafnet" not in name and name != WIDENED]
)
def test_a_fresh_residual_network_is_nearly_the_identity(name):
    torch.manual_seed(0)
    config = CONFIGS[name].model_copy(update={"residual": True})
    u = torch.randn(2, 3, 31, 37)
    assert (build_generator(config, 3, 3)(u) - u).abs().max() < 0.1
    free = build_generator(config.model_copy(update={"residual": False}), 3, 3)
    assert (free(u) - u).abs().max() > 0.1


@pytest.mark.parametrize("bands", BANDS)
@pytest.mark.parametrize("name", ["nafnet", "nafnet-depthwise"])
def test_a_fresh_nafnet_is_nearly_the_affine_map_that_it_was_given(name, bands):
    torch.manual_seed(0)
    network = build_generator(CONFIGS[name], *bands)
    matrix, offset = torch.randn(bands[1], bands[0]), torch.randn(bands[1])
    u = torch.randn(500, bands[0])
    valid = torch.arange(500) % 3 > 0
    target = torch.where(valid[:, None], u @ matrix.T + offset, torch.nan)
    image = torch.randn(2, bands[0], 17, 22)
    start = image if bands[0] == bands[1] else image.mean(1, keepdim=True)
    assert (network(image) - start).abs().max() < 0.1

    network.fit_colours(u, target, torch.zeros(500, dtype=torch.bool))  # nothing is known
    assert (network(image) - start).abs().max() < 0.1

    network.fit_colours(u, target, valid)
    truth = torch.einsum("oc,bchw->bohw", matrix, image) + offset[:, None, None]
    assert (network(image) - truth).abs().max() < 0.1
    torch.testing.assert_close(network.colours.weight[..., 0, 0], matrix)


def test_bands_that_are_copies_leave_a_map_that_fits():
    network = build_generator(CONFIGS["nafnet"], 2, 1)
    u = torch.randn(100, 1).expand(-1, 2)
    network.fit_colours(u, 3 * u[:, :1] + 1, torch.ones(100, dtype=torch.bool))
    weight, offset = network.colours.weight.flatten(), network.colours.bias
    torch.testing.assert_close(weight.sum(), torch.tensor(3.0))
    torch.testing.assert_close(offset, torch.ones(1))


def test_residual_only_where_the_counts_agree():
    network = build_generator(UNetConfig(width=4, depth=1), 1, 3)
    assert not network.residual
    assert build_generator(UNetConfig(width=4, depth=1), 3, 3).residual


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != WIDENED])
def test_a_sky_brighter_by_any_factor_is_not_clipped(name):
    network = build_generator(CONFIGS[name].model_copy(update={"residual": True}), 1, 1).eval()
    u = torch.full((1, 1, 16, 16), 1e4)
    assert (network(u) / u - 1).abs().max() < 0.5


@every_config
def test_a_fresh_network_draws_no_checkerboard(name):
    torch.manual_seed(1)
    config = CONFIGS[name].model_copy(update={"residual": False})
    network = build_generator(config, 1, 2).eval()
    halo = receptive_field(network)
    with torch.no_grad():
        output = network(torch.full((1, 1, 2 * halo + 25, 2 * halo + 25), 0.7))
    inside = output[:, :, halo:-halo, halo:-halo]
    assert (inside.amax((2, 3)) - inside.amin((2, 3))).max() < 1e-5


@every_config
def test_no_statistics_over_image_or_batch(name):
    network = randomised(name)
    offenders = (
        nn.modules.batchnorm._NormBase,
        nn.GroupNorm,
        nn.LocalResponseNorm,
        nn.AdaptiveAvgPool2d,
    )
    assert not any(isinstance(part, offenders) for part in network.modules())
    u = torch.randn(3, 2, 24, 24)
    with torch.no_grad():
        together = network(u)
        alone = torch.cat([network(one[None]) for one in u])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@every_config
def test_state_dict_round_trip(name, tmp_path):
    network = randomised(name, seed=1)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    other = build_generator(CONFIGS[name], 2, 2).eval()
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    u = torch.randn(1, 2, 19, 23)
    with torch.no_grad():
        assert torch.equal(network(u), other(u))


@every_config
def test_the_same_seed_builds_and_answers_the_same(name):
    u = torch.randn(1, 2, 19, 23)
    with torch.no_grad():
        first, second = (randomised(name, seed=3)(u) for _ in range(2))
    assert torch.equal(first, second)


@every_config
def test_caller_may_use_either_memory_order(name):
    network = randomised(name)
    u = torch.randn(2, 2, 24, 24)
    with torch.no_grad():
        plain = network(u)
        channels_last = network.to(memory_format=torch.channels_last)(
            u.contiguous(memory_format=torch.channels_last)
        )
    torch.testing.assert_close(plain, channels_last, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["unet-noise", "resnet-noise"])
def test_noise_makes_outputs_differ_and_none_is_repeatable(name):
    network = randomised(name)
    u = torch.randn(1, 2, 24, 24)
    with torch.no_grad():
        draws = [network(u, PositionalNoise(seed, [[0, 0]])) for seed in (1, 2)]
        again = network(u, PositionalNoise(1, [[0, 0]]))
        assert torch.equal(network(u), network(u))
    assert network.stochastic
    assert (draws[0] - draws[1]).abs().max() > 0.01
    assert torch.equal(draws[0], again)


def test_every_noisy_layer_has_its_own_number():
    for name in ("unet-noise", "resnet-noise"):
        network = build_generator(CONFIGS[name], 1, 1)
        seen: list[tuple[int, int]] = []

        def record(layer, shape, stride, like, seen=seen):
            seen.append((layer, stride))
            assert shape[2] * stride == 24
            return torch.zeros(tuple(shape))

        network(torch.randn(1, 1, 24, 24), record)
        assert len({layer for layer, _ in seen}) == len(seen) >= 2


def test_a_deterministic_network_ignores_noise():
    network = randomised("unet")
    u = torch.randn(1, 2, 12, 12)
    with torch.no_grad():
        assert torch.equal(network(u), network(u, FreshNoise()))


def test_dropout_acts_in_training_only():
    network = build_generator(UNetConfig(width=8, depth=1, dropout=0.5, residual=False), 1, 1)
    u = torch.randn(1, 1, 16, 16)
    assert not torch.equal(network(u), network(u))
    network.eval()
    assert torch.equal(network(u), network(u))


def test_wrong_input_is_named():
    network = build_generator(UNetConfig(width=4, depth=1), 3, 1)
    with pytest.raises(ImgturboError, match="reads 3 bands but the image has 2"):
        network(torch.zeros(1, 2, 8, 8))
    with pytest.raises(ImgturboError, match="kind: mlp"):
        network(torch.zeros(4, 3))


def test_published_sizes_are_in_reach():
    # CycleGAN's resnet_9blocks has 11.4 million parameters; the same layout here.
    assert 10e6 < count_parameters(build_generator(ResNetConfig(), 3, 3)) < 12e6


class TestMLP:
    config = MLPConfig(hidden=[16, 8])

    @pytest.mark.parametrize("bands", [*BANDS, (24, 24)])
    def test_shapes_and_gradients(self, bands):
        network = build_generator(self.config.model_copy(update={"noise_channels": 2}), *bands)
        output = network(torch.randn(7, bands[0]), FreshNoise())
        assert output.shape == (7, bands[1])
        output.square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())

    def test_rows_are_independent(self):
        network = build_generator(self.config, 5, 5).eval()
        u = torch.randn(6, 5)
        torch.testing.assert_close(network(u)[2:3], network(u[2:3]))

    def test_residual_starts_near_the_identity(self):
        network = build_generator(self.config.model_copy(update={"residual": True}), 5, 5)
        u = torch.randn(6, 5)
        assert (network(u) - u).abs().max() < 0.1

    def test_no_hidden_layer_is_a_linear_map(self):
        network = build_generator(MLPConfig(hidden=[]), 3, 2)
        assert count_parameters(network) == 3 * 2 + 2

    def test_positional_noise_tells_rows_apart(self):
        config = self.config.model_copy(update={"noise_channels": 2})
        network = build_generator(config, 3, 3).eval()
        rows = torch.ones(2, 3)
        output = network(rows, PositionalNoise(0, [[0, 0], [1, 0]]))
        assert not torch.equal(output[0], output[1])

    def test_images_are_refused(self):
        with pytest.raises(ImgturboError, match="kind: unet"):
            build_generator(self.config, 3, 3)(torch.zeros(1, 3, 8, 8))


def test_features_beside_the_input_stay_of_order_one_however_the_stages_grow():
    """Unbounded features once drove their activation to where it has no gradient, for good."""
    torch.manual_seed(0)
    net = build_generator(UNetConfig(width=8, depth=1, blocks=1, stem=2), 3, 3)
    with torch.no_grad():
        for parameter in net.bottom.parameters():
            parameter.mul_(100)
    features = []
    net.head.register_forward_hook(lambda module, given, made: features.append(made))
    net(torch.randn(1, 3, 32, 40)).square().mean().backward()
    assert 0.01 < features[0].std() < 10
    assert net.stem.weight.grad.abs().max() > 0
