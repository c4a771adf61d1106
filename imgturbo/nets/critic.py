"""What the image and the dense critic share: how the condition is joined to what is judged.

A marginal critic sees u alone and compares distributions; a conditional one (pix2pix, Isola et al.
2017, arXiv:1611.07004) sees u beside the network's input c, and so compares p(u, c).
"""

from __future__ import annotations

import torch
from torch import Tensor

from imgturbo.errors import ImgturboError

__all__ = ["join"]


def join(
    u: Tensor, condition: Tensor | None, channels: int, condition_channels: int, ndim: int
) -> Tensor:
    """(B, C, …) and (B, Cc, …) → (B, C + Cc, …).

    Raises:
        ImgturboError: images for a dense critic, or the reverse; another number of channels.
        ValueError: a condition that is missing, or was not built for.
    """
    if u.ndim != ndim:
        kind, remedy = ("images", "patchgan") if u.ndim == 4 else ("tables of numbers", "mlp")
        raise ImgturboError(f"this critic cannot judge {kind}; set model.critic.kind: {remedy}")
    if u.shape[1] != channels:
        raise ImgturboError(f"the critic judges {channels} channels but was given {u.shape[1]}")
    given = 0 if condition is None else condition.shape[1]
    if given != condition_channels:
        raise ValueError(f"a critic with {condition_channels} condition channels was given {given}")
    return u if condition is None else torch.cat([u, condition], dim=1)
