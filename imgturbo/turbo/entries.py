"""What every distance gives back, and what several of them need."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from imgturbo.errors import ImgturboError

__all__ = ["Distance", "Total", "box", "count", "difference", "require_images"]


class Total(NamedTuple):
    """What one distance found in each sample: a sum (B,) and the number of entries in it (B,)."""

    total: Tensor
    entries: Tensor


Distance = Callable[[Tensor, Tensor, Tensor], Total]
"""``(prediction (B, C, …), target (B, C, …), valid (B, 1, …) bool) -> Total``."""


def difference(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """u − û where valid and 0 elsewhere; ``where`` also keeps a NaN out of the gradient."""
    return torch.where(valid, prediction - target, 0.0)


def count(like: Tensor, valid: Tensor) -> Tensor:
    dtype = torch.promote_types(like.dtype, torch.float32)
    return valid.expand_as(like).flatten(1).sum(1, dtype=dtype)


def box(image: Tensor, side: int) -> Tensor:
    """Mean over side × side pixels, those beyond the border being zeros."""
    return F.avg_pool2d(image, side, stride=1, padding=side // 2)


def require_images(name: str, prediction: Tensor, smallest: int) -> None:
    if prediction.ndim != 4 or min(prediction.shape[-2:]) < smallest:
        raise ImgturboError(
            f"objective.distance: {name!r} needs images of at least {smallest} pixels a side, "
            f"these are of shape {tuple(prediction.shape[1:])}; use l1, l2 or charbonnier"
        )
