"""From images to tables: (B, C, H, W) ↔ (B, C·H·W) in row-major order, for a dense backend."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from imgturbo.errors import ImgturboError
from imgturbo.flows.transform import Condition, Transform, full_precision

__all__ = ["Flatten"]


class Flatten(Transform):
    """(B, S₁, …, Sₙ) → (B, ∏ S); log|det| = 0.

    Raises:
        ImgturboError: an array of another shape, or latents of another size.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        if tuple(x.shape[1:]) != self.shape:
            raise ImgturboError(
                f"the dense backend was built for arrays of shape {self.shape}, not "
                f"{tuple(x.shape[1:])}; a flow with a dense backend has one image size"
            )
        x = full_precision(x)
        return x.flatten(1), x.new_zeros(len(x))

    def inverse(self, z: Tensor, condition: Condition = None) -> Tensor:
        size = math.prod(self.shape)
        if z.ndim != 2 or z.shape[1] != size:
            raise ImgturboError(f"a latent of shape {tuple(z.shape)} where (B, {size}) belongs")
        return full_precision(z).view(len(z), *self.shape)

    def extra_repr(self) -> str:
        return f"shape={self.shape}"
