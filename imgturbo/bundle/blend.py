"""Between two bundles: weights on the straight line from one network to another."""

from __future__ import annotations

import torch

from imgturbo.bundle.card import NETWORKS
from imgturbo.bundle.folder import Bundle
from imgturbo.errors import ImgturboError

__all__ = ["blend"]


@torch.no_grad()
def blend(bundle: Bundle, other: Bundle, share: float) -> None:
    """Move a bundle's weights towards another's, in place: θ ← (1 − s) θ + s θ'.

    Between a network and one that was trained on from it lie networks as good: from the smallest
    error to the sharpest picture in small steps (Wang et al. 2018, arXiv 1809.00219, section 3.4).

    Raises:
        ImgturboError: other networks, or networks of other bands or stretches.
    """
    if (bundle.source, bundle.target) != (other.source, other.target):
        raise ImgturboError(
            f"{other.path}: has other bands, units or stretches than {bundle.path}; only bundles "
            "of the same tiles have something between them"
        )
    for name in NETWORKS:
        ours, theirs = getattr(bundle, name), getattr(other, name)
        one = {} if ours is None else ours.state_dict()
        two = {} if theirs is None else theirs.state_dict()
        if {k: v.shape for k, v in one.items()} != {k: v.shape for k, v in two.items()}:
            raise ImgturboError(
                f"{other.path}: its {name} is another network than that of {bundle.path}; only "
                "networks of one config have something between them"
            )
        for key, tensor in one.items():
            if tensor.is_floating_point():
                tensor.lerp_(two[key].to(tensor), share)
