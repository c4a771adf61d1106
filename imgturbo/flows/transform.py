r"""Invertible maps x ↔ z with exact log-determinants.

    p(x|c) = N(f(x; c); 0, 1) · |det ∂f/∂x|,        f = f_n ∘ … ∘ f_1,
    log|det ∂f/∂x| = Σᵢ log|det ∂fᵢ/∂xᵢ₋₁|

A ``Transform`` gives z = f(x; c) and log|det ∂f/∂x| in one pass, and x = f⁻¹(z; c) by a method.
The inverse comes without log-determinant: sampling needs none, and a density is had by ``forward``.

A layer of a flow undoes the roundings of the same layer run the other way, and errors grow with
depth (at 20 layers in bfloat16 beyond any use). So the arithmetic of transforms is float32 or
float64 whatever the autocast; only the networks that predict its parameters follow autocast.

Change of variables: Dinh et al. 2014 (arXiv:1410.8516), Ardizzone et al. 2019 (arXiv:1907.02392).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from imgturbo.errors import ImgturboError

__all__ = [
    "Backpropagate",
    "Condition",
    "Pairs",
    "Transform",
    "channels_last",
    "full_precision",
    "require_channels",
]

Condition = Tensor | Sequence[Tensor | None] | None
"""One condition, or (for a ``Chain``) one for each of its transforms."""

Pairs = Sequence[tuple[Tensor, Tensor]]
"""Outputs, each with the loss's gradient by it."""

Backpropagate = Callable[[Pairs, Sequence[Tensor], nn.Module], Sequence[Tensor]]
"""What ``Transform.retrace`` is given."""


class Transform(nn.Module, ABC):
    """An invertible map of images (B, C, H, W) or tables (B, C), perhaps given a condition.

    Tensors of the caller are never changed. Layers that use no condition take no notice of one.
    """

    @abstractmethod
    def forward(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        """x (B, C, …) → z (B, C', …) and log|det ∂z/∂x| (B,)."""

    @abstractmethod
    def inverse(self, z: Tensor, condition: Condition = None) -> Tensor:
        """z (B, C', …) → x (B, C, …)."""

    def retrace(
        self,
        z: Tensor,
        condition: Condition,
        grad_z: Tensor,
        grad_log_det: Tensor,
        backpropagate: Backpropagate,
    ) -> tuple[Tensor, Tensor]:
        """x and ∂ℓ/∂x from z, ∂ℓ/∂z and ∂ℓ/∂log|det|, for ``imgturbo.flows.memory``.

        Here by the inverse and one forward pass more. A layer that can do with less overrides it.
        ``backpropagate(pairs of (output, its gradient), inputs, module)`` returns the gradients of
        the inputs and keeps those of the condition and of the module's parameters.
        """
        with torch.no_grad():
            x = self.inverse(z, condition)
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            again, log_det = self(leaf, condition)
        (grad_x,) = backpropagate([(again, grad_z), (log_det, grad_log_det)], [leaf], self)
        return x, grad_x


def channels_last(x: Tensor) -> Tensor:
    """An image in the layout in which convolutions are fastest; a table as it is."""
    if x.ndim != 4:
        return x
    if x.shape[1] == 1:
        # One channel lies alike in both layouts, so that ``contiguous`` would leave strides from
        # which a convolution takes the slower one.
        return x.clone(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last)


def full_precision(x: Tensor) -> Tensor:
    """x itself if it is float32 or float64, else its float32 copy."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def require_channels(x: Tensor, channels: int, what: str) -> None:
    """Refuse x unless it is (B, ``channels``, …)."""
    if x.ndim < 2 or x.shape[1] != channels:
        raise ImgturboError(
            f"{what} was built for {channels} channels but is given an array of shape "
            f"{tuple(x.shape)}; channels come second"
        )
