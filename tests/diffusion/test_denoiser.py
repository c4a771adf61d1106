"""The network of a diffusion model: sizes, time, and how far one pass sees."""

from __future__ import annotations

import pytest
import torch

from imgturbo.config import DiffusionConfig
from imgturbo.diffusion import Denoiser
from imgturbo.nets import Generator, receptive_field


def denoiser(channels=3, out=1, seed=0, **settings) -> Denoiser:
    """Shaken: a fresh one does not listen to the time."""
    torch.manual_seed(seed)
    network = Denoiser(DiffusionConfig(width=3, **settings), channels, out)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.eval()


@pytest.mark.parametrize(("depth", "blocks"), [(0, 1), (1, 2), (3, 1)])
def test_any_depth_keeps_the_size(depth, blocks):
    network = denoiser(4, 2, depth=depth, blocks=blocks)
    side = 3 * 2**depth
    u = torch.randn(2, 4, side, 2 * side)
    assert network(u, torch.tensor([0, 999])).shape == (2, 2, side, 2 * side)


def test_every_image_has_its_own_time():
    network = denoiser(depth=1, blocks=1)
    u = torch.randn(1, 3, 6, 10).expand(3, -1, -1, -1)
    one, other, again = network(u, torch.tensor([3, 700, 3]))
    torch.testing.assert_close(one, again)
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("half", [0, 1])
def test_scale_and_shift_both_tell_the_time(half):
    network = denoiser(depth=0, blocks=1)
    modulation = network.bottom.blocks[0].modulation
    with torch.no_grad():
        for parameter in modulation.parameters():
            parameter.chunk(2)[1 - half].zero_()
    one, other = network(torch.randn(1, 3, 6, 6).expand(2, -1, -1, -1), torch.tensor([3, 700]))
    assert (one - other).abs().max() > 1e-3


def test_time_counts_in_shares_of_the_schedule():
    short, long = denoiser(depth=0, steps=100, sampling_steps=50), denoiser(depth=0, steps=1000)
    u = torch.randn(1, 3, 5, 5)
    torch.testing.assert_close(short(u, torch.tensor([30])), long(u, torch.tensor([300])))


def test_a_fresh_network_does_not_depend_on_the_time_and_learns_to():
    torch.manual_seed(0)
    network = Denoiser(DiffusionConfig(width=4, depth=1, blocks=1), 2, 1)
    u = torch.randn(1, 2, 8, 8)
    torch.testing.assert_close(network(u, torch.tensor([1])), network(u, torch.tensor([900])))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (network(u, torch.tensor([900])) - 1).square().mean().backward()
        optimizer.step()
    assert (network(u, torch.tensor([1])) - network(u, torch.tensor([900]))).abs().max() > 1e-6


class OnePass(Generator):
    def __init__(self, network: Denoiser) -> None:
        super().__init__(network.in_channels, 1, stride=network.stride)
        self.network = network

    def forward(self, u, noise=None):
        return self.network(u, torch.zeros(len(u)))


def test_one_pass_sees_as_far_as_its_convolutions_and_no_statistics():
    network = denoiser(depth=1, blocks=1)
    reach = receptive_field(OnePass(network))
    side = 4 * reach
    u, t = torch.randn(1, 3, side, side), torch.tensor([500])
    changed = u.clone()
    changed[..., :2, :] += 10
    moved = (network(changed, t) - network(u, t)).abs().amax((0, 1, 3))
    assert moved[: reach // 2].max() > 1e-4
    assert moved[2 + reach :].max() < 1e-5
