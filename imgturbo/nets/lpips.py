"""The LPIPS network (Zhang et al. 2018, arXiv 1801.03924), for a loss term and for a metric alike.

The package ``lpips`` brings the linear heads; the ImageNet backbone is torchvision's and must stand
in torch's cache. It is never downloaded from here, nor replaced by anything else.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

import torch
from torch import nn

from imgturbo.nets.weights import cached_weights

__all__ = ["load_lpips", "require_backbone"]

_BACKBONES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}


def require_backbone(net: str) -> None:
    """Raise MissingWeights unless the weights of ``net`` (``alex``, ``vgg``) are in the cache."""
    cached_weights(_BACKBONES[net], "LPIPS")


@lru_cache(maxsize=4)
def load_lpips(
    net: str, random_backbone: bool = False, device: torch.device | None = None
) -> nn.Module:
    """``model(a, b, normalize=True)`` of images (B, 3, H, W) in 0–1 → (B, 1, 1, 1), frozen.

    Args:
        net: ``alex`` or ``vgg``, the backbone.
        random_backbone: without pretrained weights; for tests of the plumbing.
        device: where it lives.

    Raises:
        MissingWeights: the backbone is not in torch's cache.
    """
    if not random_backbone:
        require_backbone(net)
    import lpips

    with warnings.catch_warnings():  # the package calls torchvision by a deprecated argument
        warnings.simplefilter("ignore")
        model = lpips.LPIPS(net=net, pnet_rand=random_backbone, verbose=False)
    return model.eval().requires_grad_(False).to(device)
