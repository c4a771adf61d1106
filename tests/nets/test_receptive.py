"""The measured halo against hands, gradients and perturbations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from imgturbo.config import MLPConfig, NAFNetConfig, ResNetConfig, UNetConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets import Generator, build_generator, receptive_field
from imgturbo.nets.spread import Spread


class Plain(Generator):
    """A generator of the given layers, without padding to the stride."""

    def __init__(self, *layers: nn.Module, stride: int = 1) -> None:
        super().__init__(1, 1, stride=stride)
        self.layers = nn.Sequential(*layers)

    def forward(self, u: Tensor, noise: None = None) -> Tensor:
        return self.layers(u)


def conv(kernel, **options) -> nn.Conv2d:
    return nn.Conv2d(1, 1, kernel, padding="same", **options)


@pytest.mark.parametrize(
    ("network", "halo"),
    [
        (Plain(nn.Identity()), 0),
        (Plain(conv(1)), 0),
        (Plain(conv(3)), 1),
        (Plain(conv(3), nn.ReLU(), conv(5)), 3),
        (Plain(conv(3, dilation=20)), 20),
        (Plain(conv((1, 9))), 4),  # wider than high,
        (Plain(conv((9, 1))), 4),  # and higher than wide
        # A 2×2 cell: its last pixel reaches its first, and the reverse.
        (Plain(nn.Conv2d(1, 4, 2, 2), nn.PixelShuffle(2), stride=2), 1),
        # One pixel right, then the whole of the next cell of 4: 1 + 3.
        (Plain(conv(3), nn.Conv2d(1, 16, 4, 4), nn.PixelShuffle(4), stride=4), 4),
        # From the first pixel of a cell of 4 to the last of the next cell but one.
        (Plain(nn.PixelUnshuffle(4), nn.Conv2d(16, 16, 5, padding=2), nn.PixelShuffle(4),
               stride=4), 11),
        # Only every second pixel is looked at.
        (Plain(nn.MaxPool2d(1, 2), nn.Upsample(scale_factor=2), stride=2), 1),
        # Channels that do not mix.
        (Plain(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4)), 1),
    ],
)  # fmt: skip
def test_small_networks_by_hand(network, halo):
    assert receptive_field(network) == halo


@pytest.mark.parametrize(
    ("config", "halo"),
    [
        # stem 1 + block 2 + last 1.
        (UNetConfig(width=4, depth=0, blocks=1), 4),
        (UNetConfig(width=4, depth=0, blocks=3), 8),
        # On the grid of 2: block 2 cells. Before: stem 1 + block 2; after: block 2 + last 1.
        # A path of 3 pixels, into a cell of 2, two cells on to its far pixel, 3 pixels more.
        (UNetConfig(width=4, depth=1, blocks=1), 3 + 5 + 3),
        # 7×7 twice around one block.
        (ResNetConfig(width=4, downs=0, blocks=1), 3 + 2 + 3),
        (ResNetConfig(width=4, downs=2, blocks=1), 3 + (2 * 4 + 3) + 3),
    ],
)
def test_generators_by_hand(config, halo):
    assert receptive_field(build_generator(config, 1, 1)) == halo


@pytest.mark.parametrize(
    "config",
    [
        UNetConfig(width=4, depth=2, blocks=1, stem=2),
        UNetConfig(width=4, depth=1, blocks=1, stem=3),
        NAFNetConfig(width=4, depth=2, blocks=1, middle=1, stem=1),
        NAFNetConfig(width=4, depth=1, blocks=1, middle=1, stem=2, mixing="depthwise"),
        NAFNetConfig(width=4, depth=1, blocks=1, middle=1, spread=11),
        ResNetConfig(width=4, downs=2, blocks=1),
    ],
)
def test_it_is_the_gradients_support_over_all_phases(config):
    # Brute force: for each phase, the input pixels that one output pixel's gradient touches.
    torch.manual_seed(0)
    network = build_generator(config.model_copy(update={"residual": False}), 1, 1).double().eval()
    for part in network.modules():
        if isinstance(part, Spread):
            part.direct = True  # rounding in a Fourier transform reaches every pixel
    measured = receptive_field(network)
    length = (2 * measured // network.stride + 4) * network.stride
    middle = length // 2 // network.stride * network.stride
    widest = 0
    for phase in range(network.stride):
        u = torch.randn(1, 1, 5, length, dtype=torch.float64, requires_grad=True)
        network(u)[0, 0, 2, middle + phase].backward()
        assert u.grad is not None
        columns = (u.grad[0, 0] != 0).any(0).nonzero().flatten()
        assert columns[0] > 0
        assert columns[-1] < length - 1
        widest = max(widest, middle + phase - int(columns[0]), int(columns[-1]) - middle - phase)
    assert measured == widest


def test_weights_and_noise_do_not_matter():
    config = UNetConfig(width=4, depth=1, blocks=1)
    expected = receptive_field(build_generator(config, 1, 1))
    network = build_generator(config.model_copy(update={"noise_channels": 2}), 3, 2)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    assert receptive_field(network) == expected


def test_the_module_is_left_as_it_was():
    network = build_generator(UNetConfig(width=4, depth=1, dropout=0.5), 2, 2)
    network.bottom.eval()
    modes = [part.training for part in network.modules()]
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    receptive_field(network)
    assert modes == [part.training for part in network.modules()]
    assert weights.keys() == network.state_dict().keys()
    assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_measured_once(monkeypatch):
    network = build_generator(UNetConfig(width=4, depth=1), 1, 1)
    first = receptive_field(network)
    monkeypatch.setattr(network, "forward", None)
    assert receptive_field(network) == first


def test_statistics_over_the_image_are_found_out():
    class Statistics(nn.Module):
        def forward(self, u: Tensor) -> Tensor:
            return u - u.mean((2, 3), keepdim=True)

    with pytest.raises(ImgturboError, match="cannot be applied to a mosaic by windows"):
        receptive_field(Plain(conv(3), Statistics()))


def test_tables_have_no_neighbours():
    assert receptive_field(build_generator(MLPConfig(hidden=[4]), 3, 3)) == 0


def test_inside_autocast_and_inference_mode():
    config = UNetConfig(width=4, depth=1)
    expected = receptive_field(build_generator(config, 1, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        assert receptive_field(build_generator(config, 1, 1)) == expected
