r"""The networks that couplings ask for their parameters: θ(x, c), zero at the start.

    u = x / √(1 + (x/r)²),    h = φ(W_x u + W_c c + b),   …,    θ = W h + b,   W = b = 0 at first

The reach r bounds what the network sees: far from the data θ(x) of a plain network grows with x,
layer upon layer, until no inverse brings x back. (At the depth of the published colorization
network, narrower and trained for 60 steps, images of three times the data's size came back from
w with an error of 5·10²⁰ in float32; with r = 3, of 10⁻⁵, and the likelihood was no worse.)
r = None is the published form.

The first layer reads x and the condition c by separate weights, which equals one layer on both
side by side; but c may then come with fewer rows than x, (B, …) for x (n·B, …) in which the n
samples of one condition follow each other, and W_c c is computed once for all of them.

Layer sizes of Ardizzone et al. 2019 (arXiv:1907.02392): three 3×3 convolutions with leaky ReLU for
conditional blocks, three 1×1 for the others, three hidden dense layers with ReLU in the backend.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.errors import ImgturboError
from imgturbo.flows.transform import Condition, channels_last

__all__ = ["ConvPredictor", "DensePredictor"]


class _Predictor(nn.Module):
    def __init__(
        self,
        layers: Sequence[nn.Module],
        from_condition: nn.Module | None,
        slope: float,
        reach: float | None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.from_condition = from_condition
        self.slope = slope
        self.reach = reach
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[-1].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, condition: Condition = None) -> Tensor:
        """θ (B, out, …) for x (B, in, …) and c (B or B/n, condition_channels, …).

        Raises:
            ImgturboError: the condition is missing, or of another number of channels, size or
                batch.
        """
        u = x if self.reach is None else x * torch.rsqrt(1 + (x / self.reach).square())
        h = self.layers[0](channels_last(u))
        if self.from_condition is not None:
            _add_repeated(h, self.from_condition(channels_last(self._checked(condition, x))))
        for layer in self.layers[1:]:
            # In place: backpropagation needs the result alone, which the next layer keeps anyway.
            h = layer(F.leaky_relu(h, self.slope, inplace=True))
        return h

    def _checked(self, condition: Condition, x: Tensor) -> Tensor:
        weight: Tensor = self.from_condition.weight  # type: ignore[union-attr,assignment]
        channels = weight.shape[1]
        if not isinstance(condition, Tensor):
            raise ImgturboError(f"this flow needs a condition of {channels} channels; none given")
        if condition.ndim != x.ndim or condition.shape[1] != channels:
            raise ImgturboError(
                f"this flow needs a condition of {channels} channels, not one of shape "
                f"{tuple(condition.shape)}"
            )
        if condition.shape[2:] != x.shape[2:] or len(x) % len(condition):
            raise ImgturboError(
                f"a condition of shape {tuple(condition.shape)} does not fit an array of shape "
                f"{tuple(x.shape)}: sides must agree, and the batch be that of the array or a "
                "whole part of it"
            )
        return condition


def _add_repeated(h: Tensor, c: Tensor) -> None:
    """Add c (B, …) to h (n·B, …), each row of c to n rows of h that follow each other."""
    if len(c) == len(h):
        h.add_(c)
    else:
        h.unflatten(0, (len(c), -1)).add_(c[:, None])


class ConvPredictor(_Predictor):
    """Convolutions of (B, C, H, W) with zero padding.

    Args:
        inputs, outputs: channels in and out.
        width: of the hidden layers.
        condition_channels: of c; 0: no condition.
        kernels: sizes, odd, one a layer.
        slope: of the leaky ReLU.
        reach: r, in units of x; None: no bound.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int,
        condition_channels: int = 0,
        kernels: Sequence[int] = (3, 3, 3),
        slope: float = 0.05,
        reach: float | None = 3.0,
    ) -> None:
        sizes = [inputs, *[width] * (len(kernels) - 1), outputs]
        layers = [
            nn.Conv2d(before, after, kernel, padding=kernel // 2)
            for (before, after), kernel in zip(itertools.pairwise(sizes), kernels, strict=True)
        ]
        kernel = kernels[0]
        from_condition = (
            nn.Conv2d(condition_channels, width, kernel, padding=kernel // 2, bias=False)
            if condition_channels
            else None
        )
        super().__init__(layers, from_condition, slope, reach)


class DensePredictor(_Predictor):
    """Dense layers on tables (B, C); arguments as for ``ConvPredictor``."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int,
        condition_channels: int = 0,
        hidden_layers: int = 3,
        slope: float = 0.0,
        reach: float | None = 3.0,
    ) -> None:
        sizes = [inputs, *[width] * hidden_layers, outputs]
        layers = [nn.Linear(before, after) for before, after in itertools.pairwise(sizes)]
        from_condition = (
            nn.Linear(condition_channels, width, bias=False) if condition_channels else None
        )
        super().__init__(layers, from_condition, slope, reach)
