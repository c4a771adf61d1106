r"""Noise where a network reads: three ways to make draws of a map, as Turbo-Sim tried them.

    additive        u ↦ G(u + σ ⊙ ε)
    concatenated    u ↦ G(u, ε)
    multiplied      u ↦ G(u ⊙ (1 + σ ⊙ ε))

with ε ~ N(0, 1) at every pixel of u, and σ learnt, one a channel (Quétant et al. 2021,
arXiv:2112.10629, where the input is a table). With ε = 0 each is its map without noise: G(u),
G(u, 0), G(u). What is read is never changed in place: it is data, which other terms look at.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imgturbo.config import InputNoiseConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets.generator import Generator
from imgturbo.nets.noise import Noise

__all__ = ["NoisyInput", "beside_input"]

_LAYER = 1 << 20  # beyond the numbers of the noisy layers within any network
_FIRST = 0.1  # σ at the start


def beside_input(config: InputNoiseConfig) -> int:
    """Channels by which the network's input is wider than the data."""
    return config.channels if config.mode == "concatenated" else 0


class NoisyInput(Generator):
    """A generator with noise at its input; all else about it is as of the one within.

    Args:
        network: G, which reads as many channels more as ``beside_input`` says.
        config: how noise enters.
        in_channels: of the data.
    """

    def __init__(self, network: Generator, config: InputNoiseConfig, in_channels: int) -> None:
        super().__init__(in_channels, network.out_channels, stride=network.stride, stochastic=True)
        self.network, self.mode = network, config.mode
        self.beside = beside_input(config)
        self.size, self.whole_image = network.size, network.whole_image
        self.zoom, self.on_the_sky = network.zoom, network.on_the_sky
        if not self.beside:
            self.sigma = nn.Parameter(torch.full((in_channels,), _FIRST))

    @property
    def last(self) -> Tensor | nn.Module:
        """The layer that writes, of the network within."""
        return self.network.last

    def check(self, given: int | None, wanted: int | None) -> None:
        """As of the network within."""
        self.network.check(given, wanted)

    def reach(self) -> int | None:
        """As of the network within: noise of a pixel goes where the pixel goes."""
        return self.network.reach()

    def carry(self, valid: Tensor, output: Tensor) -> Tensor:
        """As of the network within."""
        return self.network.carry(valid, output)

    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        """As of the network within, with ε at the input; ``noise`` None: ε = 0.

        Raises:
            ImgturboError: ``u`` has another number of channels.
        """
        if u.ndim < 2 or u.shape[1] != self.in_channels:
            raise ImgturboError(
                f"the network reads {self.in_channels} bands (or numbers) but what it is given has "
                f"shape {tuple(u.shape)}; give it what it was trained on"
            )
        shape = (u.shape[0], self.beside or self.in_channels, *u.shape[2:])
        if noise is None:
            read = torch.cat([u, u.new_zeros(shape)], 1) if self.beside else u
            return self.network(read, None)
        epsilon = noise(_LAYER, shape, 1, u)
        if self.beside:
            return self.network(torch.cat([u, epsilon], 1), noise)
        moved = self.sigma.view(-1, *[1] * (u.ndim - 2)) * epsilon
        read = u + moved if self.mode == "additive" else u * (1 + moved)
        return self.network(read, noise)
