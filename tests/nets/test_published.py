"""The published networks: sizes and layers, any image size, and what their norms depend on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from imgturbo.config import Config, CriticConfig, CycleGANResNetConfig, Pix2PixUNetConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets import build_critic, build_generator, count_parameters, receptive_field
from imgturbo.nets.published import image_norm

CONFIGS = {
    "unet-batch": Pix2PixUNetConfig(width=3, depth=3),
    "unet-instance": Pix2PixUNetConfig(width=3, depth=2, norm="instance", output="linear"),
    "unet-deep": Pix2PixUNetConfig(width=2, depth=6),
    "resnet-instance": CycleGANResNetConfig(width=3, blocks=2),
    "resnet-batch": CycleGANResNetConfig(width=3, downs=1, blocks=1, norm="batch", dropout=0.5),
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def randomised(name: str, bands: tuple[int, int] = (2, 2)) -> nn.Module:
    """A network in evaluation with lively weights and statistics that are not those of a start."""
    torch.manual_seed(0)
    network = build_generator(CONFIGS[name], *bands)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) / parameter[0].numel() ** 0.5)
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.3)
                part.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (Pix2PixUNetConfig(), 54_413_955),  # unet_256
        (Pix2PixUNetConfig(depth=7), 41_828_995),  # unet_128
        (CycleGANResNetConfig(), 11_378_179),  # resnet_9blocks
        (CycleGANResNetConfig(blocks=6), 7_837_699),  # resnet_6blocks
    ],
)
def test_generators_have_the_published_number_of_parameters(config, parameters):
    with torch.device("meta"):
        network = build_generator(config, 3, 3)
    assert count_parameters(network) == parameters


@pytest.mark.parametrize(
    ("norm", "condition", "parameters"),
    [("instance", 0, 2_764_737), ("batch", 0, 2_765_633), ("batch", 3, 2_768_705)],
)
def test_critics_have_the_published_number_of_parameters(norm, condition, parameters):
    critic = build_critic(CriticConfig(norm=norm), 3, condition)
    assert count_parameters(critic) == parameters
    u = torch.zeros(1, 3, 256, 256)
    assert critic(u, u if condition else None)[0].shape == (1, 1, 30, 30)


def test_the_published_unet_in_its_layers():
    network = build_generator(Pix2PixUNetConfig(width=2), 3, 1)
    downs = [down[0].out_channels for down in network.downs]
    assert downs == [2, 4, 8, 16, 16, 16, 16, 16]
    assert [up[0].in_channels for up in network.ups] == [4, 8, 16, 32, 32, 32, 32, 16]
    dropped = [any(isinstance(part, nn.Dropout) for part in up) for up in network.ups]
    assert dropped == [False] * 4 + [True] * 3 + [False]  # of the eight ways up, from outside
    normed = [any(isinstance(part, nn.BatchNorm2d) for part in down) for down in network.downs]
    assert normed == [False] + [True] * 6 + [False]
    biased = [up[0].bias is not None for up in network.ups]
    assert biased == [True] + [False] * 7


@every_config
def test_weights_start_as_published(name):
    torch.manual_seed(1)
    config = CONFIGS[name].model_copy(update={"width": 16})
    network = build_generator(config, 3, 3)
    kernels = torch.cat([p.detach().flatten() for p in network.parameters() if p.ndim == 4])
    assert kernels.std() == pytest.approx(0.02, rel=0.02)
    assert kernels.mean().abs() < 1e-3
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert (part.weight - 1).abs().max() < 0.1


@every_config
@settings(deadline=None, max_examples=15)
@given(
    height=st.integers(1, 37),
    width=st.integers(1, 37),
    bands=st.sampled_from([(1, 1), (1, 3), (5, 2)]),
    training=st.booleans(),
)
def test_any_shape_and_channel_count(name, height, width, bands, training):
    network = build_generator(CONFIGS[name], *bands).train(training)
    output = network(torch.rand(1, bands[0], height, width))
    assert output.shape == (1, bands[1], height, width)
    assert output.isfinite().all()


@every_config
def test_gradient_reaches_every_parameter(name):
    network = build_generator(CONFIGS[name], 2, 3)
    network(torch.rand(2, 2, 23, 29)).square().mean().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key


def test_tanh_keeps_stretched_values_within_0_and_1_and_linear_does_not():
    u = 100 * torch.randn(1, 2, 32, 32)
    bounded = randomised("unet-batch")(u)
    assert bounded.min() >= 0
    assert bounded.max() <= 1
    assert bounded.std() > 0.1
    free = randomised("unet-instance")
    free.ups[0][0].weight.data.mul_(100)
    assert free(u).abs().max() > 10


def test_the_network_itself_works_from_minus_1_to_1():
    # Of nothing but its last kernel, zero, the output is 0 there, the middle of the range here.
    network = randomised("resnet-instance")
    nn.init.zeros_(network.layers[-1].weight)
    nn.init.zeros_(network.layers[-1].bias)
    assert torch.equal(network(torch.rand(1, 2, 8, 8)), torch.full((1, 2, 8, 8), 0.5))
    first = []
    network.layers[0].register_forward_hook(lambda module, given, made: first.append(given[0]))
    network(torch.tensor([0.0, 1.0]).expand(1, 2, 8, 2))
    assert first[0].unique().tolist() == [-1.0, 1.0]


def test_reflection_equals_torchs():
    network = build_generator(CycleGANResNetConfig(width=2, blocks=1), 3, 3)
    u = torch.randn(2, 3, 9, 7)
    expected = nn.functional.pad(u, (3, 3, 3, 3), mode="reflect")
    assert torch.equal(network.layers[0](u), expected)


@pytest.mark.parametrize("name", ["unet-batch", "resnet-batch"])
def test_frozen_statistics_reach_no_further_than_the_layers(name):
    network = randomised(name).double()
    assert not network.whole_image
    reach, stride = receptive_field(network), network.stride
    u = torch.rand(1, 2, 20 * stride, 20 * stride, dtype=torch.float64)
    other, at = u.clone(), 10 * stride + stride // 2
    other[:, :, at, at] += 1.0
    changed = (network(u) != network(other)).any(1)[0].nonzero()
    farthest = (changed - at).abs().max()
    assert reach - stride < farthest <= reach


@pytest.mark.parametrize("name", ["unet-instance", "resnet-instance"])
def test_instance_norm_depends_on_the_whole_image_and_says_so(name):
    network = randomised(name)
    assert network.whole_image
    with pytest.raises(ImgturboError, match=r"instance norm.*--window 256 --overlap 64"):
        receptive_field(network)
    u = torch.rand(1, 2, 160, 160)
    other = u.clone()
    other[:, :, :8, :8] += 5
    assert (network(u) - network(other))[:, :, -8:, -8:].abs().max() > 1e-4


@every_config
def test_state_dict_round_trip_with_buffers(name, tmp_path):
    network = randomised(name)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    other = build_generator(CONFIGS[name], 2, 2).eval()
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    u = torch.rand(1, 2, 19, 23)
    with torch.no_grad():
        assert torch.equal(network(u), other(u))


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("size", [(1, 1), (24, 31), (7, 53)])
def test_normed_critics_score_images_of_any_size(norm, size):
    critic = build_critic(CriticConfig(norm=norm, width=2, scales=2), 2, 1)
    scores = critic(torch.rand(1, 2, *size), torch.rand(1, 1, *size))
    assert len(scores) == 2
    sum(score.square().mean() for score in scores).backward()
    assert all(score.isfinite().all() for score in scores)
    assert all(parameter.grad is not None for parameter in critic.parameters())


def test_only_batch_norm_makes_a_critic_mix_samples():
    u = torch.rand(3, 2, 48, 48)
    for norm, mixes in (("none", False), ("spectral", False), ("instance", False), ("batch", True)):
        critic = build_critic(CriticConfig(norm=norm, width=4), 2)
        with torch.no_grad():
            together, alone = critic(u)[0], torch.cat([critic(one[None])[0] for one in u])
        assert critic.mixes_samples == mixes
        assert torch.allclose(together, alone, atol=1e-5) != mixes


def test_a_normed_critic_is_a_function_of_weights_and_images_alone():
    critic = build_critic(CriticConfig(norm="batch", width=2), 2)
    assert not list(critic.buffers())
    u = torch.rand(2, 2, 24, 24)
    assert torch.equal(critic(u)[0], critic.eval()(u)[0])


def test_norms_are_the_published_kinds():
    batch, instance = image_norm("batch", 4), image_norm("instance", 4)
    assert batch.affine
    assert batch.track_running_stats
    assert not instance.affine
    assert not instance.track_running_stats


def test_image_norms_of_tables_are_refused():
    with pytest.raises(ImgturboError, match=r"model\.critic.*dense critic has no image statistics"):
        Config.from_overrides(["model.critic={kind: mlp, norm: batch}"])
