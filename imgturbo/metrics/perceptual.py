"""Perceptual distances whose weights may or may not be on this machine.

LPIPS (Zhang et al. 2018, arXiv 1801.03924) needs a backbone in ``$TORCH_HOME/hub/checkpoints``;
where it is absent and cannot be downloaded the metric is skipped with a plain message, never
replaced by something else under its name. ST-LPIPS (Ghazanfari et al. 2023, arXiv 2304.04223; the
extra ``perceptual``) carries its own weights and is reported as ``st_lpips``.

Images of fewer than 32 pixels a side are skipped too: the networks' layers leave nothing of them.

Both see three channels in [−1, 1]: three-band images as they are (clipped to the data range, as
pictures are), any other number of bands one by one as grey, averaged.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from imgturbo.nets.lpips import load_lpips
from imgturbo.nets.st_lpips import load_st_lpips
from imgturbo.nets.weights import MissingWeights

__all__ = ["Unavailable", "lpips_distance", "st_lpips_distance"]

_PATCH = 256  # pixels; both networks were calibrated on patches of this order
_LEAST = 32  # pixels a side; of less than 24 a layer of ST-LPIPS cannot be computed


class Unavailable(RuntimeError):
    """The metric cannot be had; the message says why, and how to get what is missing."""


def lpips_distance(pred: Tensor, target: Tensor, net: str = "alex") -> Tensor:
    """LPIPS averaged over 256-pixel patches, (B,); images (B, C, H, W) with data range [0, 1].

    Raises:
        Unavailable: the backbone's weights are not on this machine, or the images are too small.
    """
    _refuse_small("LPIPS", pred)
    try:
        model = load_lpips(net)
    except MissingWeights as reason:
        raise Unavailable(f"LPIPS skipped: {reason}") from None
    return _over_patches(model, pred, target)


def st_lpips_distance(pred: Tensor, target: Tensor) -> Tensor:
    """ST-LPIPS averaged over 256-pixel patches, (B,); not LPIPS, and never named so.

    Raises:
        Unavailable: the extra is not installed, or the images are too small.
    """
    _refuse_small("ST-LPIPS", pred)
    try:
        model = load_st_lpips()
    except MissingWeights as reason:
        raise Unavailable(f"ST-LPIPS skipped: {reason}") from None
    return _over_patches(model, pred, target)


def _refuse_small(name: str, images: Tensor) -> None:
    height, width = images.shape[-2:]
    if min(height, width) < _LEAST:
        raise Unavailable(
            f"{name} skipped: images of {width} × {height} pixels are smaller than {_LEAST} × "
            f"{_LEAST}, the least that it is defined for"
        )


@torch.inference_mode()
def _over_patches(
    model: nn.Module | Callable[[Tensor, Tensor], Tensor], pred: Tensor, target: Tensor
) -> Tensor:
    scores = []
    for p, t in zip(pred, target, strict=True):
        pairs = _as_rgb(p[None], t[None])
        values = [model(a, b).flatten().double() for a, b in pairs]
        scores.append(torch.cat(values).mean())
    return torch.stack(scores).to(pred.dtype)


def _as_rgb(pred: Tensor, target: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Three-channel patches in [−1, 1], one pair a patch (all bands of it as a batch)."""

    def prepare(u: Tensor) -> Tensor:
        u = u.float().clamp(0, 1) * 2 - 1
        return u if u.shape[1] == 3 else u.reshape(-1, 1, *u.shape[2:]).expand(-1, 3, -1, -1)

    pred, target = prepare(pred), prepare(target)
    height, width = pred.shape[-2:]
    patches = []
    for y in _starts(height):
        for x in _starts(width):
            rows, cols = slice(y, y + _PATCH), slice(x, x + _PATCH)
            patches.append((pred[..., rows, cols], target[..., rows, cols]))
    return patches


def _starts(length: int) -> list[int]:
    """Origins of patches that cover ``length``, the last one moved back to end at the border."""
    if length <= _PATCH:
        return [0]
    return [*range(0, length - _PATCH, _PATCH), length - _PATCH]
