r"""Physical encoders: what an instrument makes of the sky, z = A x + ε.

    y = A x + σ ε,   ε ~ N(0, 1) in each of the m measurements,      z = A⁺ y

The encoder's output z lies on the grid of x, so that any network of images leads back: it is the
measurement laid out by the pseudo-inverse, from which nothing is lost, y = A z. Where y lives on
the pixels itself (denoising, blur) A⁺ is left away. Which A there are is in ``optics`` and
``sampling``; a new one is a small class and its line in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from imgturbo.config import OperatorConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets.generator import ImageGenerator
from imgturbo.nets.noise import Noise
from imgturbo.nets.operator import Operator
from imgturbo.nets.optics import Blur, Deepinv, Downsample, Identity
from imgturbo.nets.sampling import Compressive, Fourier, Mask

__all__ = ["OPERATORS", "PhysicalEncoder", "observer"]

OPERATORS: dict[str, Callable[[Any], Operator]] = {
    "identity": Identity,
    "mask": Mask,
    "downsample": Downsample,
    "blur": Blur,
    "compressive": Compressive,
    "fourier": Fourier,
    "deepinv": Deepinv,
}
"""Every operator, by the kind of its section of a config."""


class PhysicalEncoder(ImageGenerator):
    """The generator x ↦ z̃ = A⁺(A x + σ ε), of which nothing is learnt, or where to sample.

    Args:
        config: the operator, and σ.
        in_channels, out_channels: bands of x and of z, which are the same.

    Raises:
        ImgturboError: they are not.
    """

    def __init__(self, config: OperatorConfig, in_channels: int, out_channels: int) -> None:
        operator = OPERATORS[config.operator.kind](config.operator)
        super().__init__(
            in_channels, out_channels, stride=operator.stride, stochastic=config.noise > 0
        )
        if in_channels != out_channels:
            raise ImgturboError(
                f"model.encoder: an operator leaves bands as they are, but x has {in_channels} and "
                f"z {out_channels}; set data.source: {{kind: observation}}, which makes z of x"
            )
        self.operator = operator
        self.size = operator.size
        self.whole_image = operator.reaches is None
        self.register_buffer("sigma", torch.tensor(config.noise))

    sigma: Tensor

    def reach(self) -> int | None:
        """How far it sees in pixels."""
        return self.operator.reaches

    def check(self, given: int | None, wanted: int | None) -> None:
        """Refuse rows of a table, and images that do not fit the operator."""
        super().check(given, wanted)
        assert given is not None  # refused above
        self.operator.check(given, self.in_channels)

    def observe(self, x: Tensor, n: Tensor | None) -> Tensor:
        """z = A⁺(A x + σ ε) of white noise n on the pixels; None: without noise."""
        y = self.operator.measure(x)
        if n is not None:
            y = y + self.sigma * self.operator.whiten(n)
        return self.operator.lay_out(y)

    def translate(self, u: Tensor, noise: Noise | None) -> Tensor:
        n = noise(0, u.shape, 1, u) if noise is not None and self.stochastic else None
        return self.observe(u, n)

    def residual(self, x: Tensor, z: Tensor, inner: bool = False) -> tuple[Tensor, int]:
        """‖A x − y‖² of each sample (B,), with y of z; and the number of measurements in each.

        Args:
            x, z: (B, C, H, W).
            inner: leave out what sees beyond the edge, where the sky is not 0 in truth.
        """
        found = self.operator.measured_in(z)
        error = self.operator.measure(x) - found
        edge = self.operator.reaches if inner and self.operator.gain is None else None
        if edge:
            inside = slice(edge, -edge)
            error = error[..., inside, inside]
            return error.double().square().flatten(1).sum(1), error[0].numel()
        return error.double().square().flatten(1).sum(1), self.operator.measurements(found)


def observer(network: nn.Module | None) -> PhysicalEncoder | None:
    """The network, if it is an instrument that observes."""
    return network if isinstance(network, PhysicalEncoder) else None
