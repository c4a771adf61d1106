r"""The mean of a network over symmetries of the sky.

    E(u) = (1/|G|) Σ_{g ∈ G} g⁻¹ N(g u)

commutes with every g of the group, E(g u) = g E(u), whatever N is, and by Jensen's inequality its
squared error is at most the mean of those of the g⁻¹ N g. It costs |G| passes. G should be no
larger than the augmentation of the training: a telescope's spikes have fewer symmetries than the
sky, and a network that has learnt to draw them upright draws them askew on a picture turned round.

A network's grid of s pixels starts at the first pixel of what it is given. So that a mirrored
window has the grid of the mirrored image, images grow to multiples of s *before* they are mirrored:
then every origin is a multiple of s from either side, and windows agree as before (law 1), with the
same halo, which is the largest reach of N in any of the four directions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imgturbo.nets.generator import Generator, pad_to_multiple
from imgturbo.nets.noise import Noise
from imgturbo.nets.receptive import receptive_field
from imgturbo.symmetries import GROUPS, Symmetries, mirrors

__all__ = ["Ensemble"]


class Ensemble(Generator):
    """E above, itself a generator, which makes no noise; (B, C, H, W) → (B, C', sH, sW).

    Args:
        generator: N, of images.
        group: of symmetries, by its name.
    """

    def __init__(self, generator: Generator, group: Symmetries) -> None:
        super().__init__(generator.in_channels, generator.out_channels, stride=generator.stride)
        self.generator = generator
        elements = map(mirrors, GROUPS[group])
        # In this order sums have been taken, and to the last bit they depend on it.
        self.elements = sorted(elements, key=lambda g: (g[0], 0 in g[1], 1 in g[1]))
        self.size, self.whole_image = generator.size, generator.whole_image
        self.zoom = generator.zoom

    def reach(self) -> int:
        """As far as N, whose reach is the largest of those that the symmetries exchange.

        Raises:
            ImgturboError: what measuring N raises.
        """
        return receptive_field(self.generator)

    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        """Translate images; ``noise`` is not taken notice of.

        Raises:
            ImgturboError: what N raises.
        """
        if u.ndim != 4:
            return self.generator(u)  # it knows what to say
        grown = pad_to_multiple(u, self.stride)
        total: Tensor | None = None
        for transposed, mirrored in self.elements:
            axes = tuple(2 + axis for axis in mirrored)
            given = grown.transpose(2, 3) if transposed else grown
            output = self.generator(torch.flip(given, axes)).flip(axes)
            output = output.transpose(2, 3) if transposed else output
            total = output if total is None else total + output
        assert total is not None
        height, width = map(self.written, u.shape[2:])
        return total[..., :height, :width] / len(self.elements)
