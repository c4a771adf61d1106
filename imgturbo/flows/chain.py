r"""Transforms in a row: f = f_n ∘ … ∘ f_1, whose log-determinants add up.

log|det ∂f/∂x| = Σᵢ log|det ∂fᵢ/∂xᵢ₋₁|
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from imgturbo.errors import ImgturboError
from imgturbo.flows.memory import recomputing
from imgturbo.flows.transform import Condition, Transform, full_precision

__all__ = ["Chain"]


class Chain(Transform):
    """f = f_n ∘ … ∘ f_1.

    Args:
        transforms: f_1, …, f_n.
        memory_saving: keep z alone for the backward pass and recompute every activation by
            inversion (``imgturbo.flows.memory``), so that memory does not grow with n.
    """

    def __init__(self, *transforms: Transform, memory_saving: bool = False) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)
        self.memory_saving = memory_saving

    def forward(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        """One condition goes to every transform; of a sequence, each gets its own.

        Raises:
            ImgturboError: a sequence of conditions of another length than the chain.
        """
        pairs = self._pairs(condition)
        if self.memory_saving and torch.is_grad_enabled():
            return recomputing(pairs, full_precision(x))
        log_det = None
        z = full_precision(x)
        for transform, own in pairs:
            z, part = transform(z, own)
            log_det = part if log_det is None else log_det + part
        return z, z.new_zeros(len(z)) if log_det is None else log_det

    def inverse(self, z: Tensor, condition: Condition = None) -> Tensor:
        x = full_precision(z)
        for transform, own in reversed(self._pairs(condition)):
            x = transform.inverse(x, own)
        return x

    def __len__(self) -> int:
        return len(self.transforms)

    def _pairs(self, condition: Condition) -> list[tuple[Transform, Condition]]:
        transforms = cast("list[Transform]", list(self.transforms))
        if condition is None or isinstance(condition, Tensor):
            return [(transform, condition) for transform in transforms]
        if len(condition) != len(self.transforms):
            raise ImgturboError(
                f"{len(condition)} conditions for a chain of {len(self.transforms)} transforms; "
                "give one tensor for all of them, or one (or None) for each"
            )
        return list(zip(transforms, condition, strict=True))
