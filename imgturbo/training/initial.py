r"""The weights before the first step: random, or a bundle's, or at the best affine colour map.

A network that has ``fit_colours`` starts at the least-squares map of the run's first batches,

    A, b = argmin Σ |A u + b − v|²       over pixels u, v valid on both sides of a pair,

which is a function of the data and the seed, the same in all processes. With ``train.init`` the
weights are those of a bundle instead, for instance of a run with other weights of the objective;
critics, which no bundle holds, start afresh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from imgturbo.bundle import load_bundle
from imgturbo.data.batch import Batch
from imgturbo.data.source import Source
from imgturbo.errors import ImgturboError
from imgturbo.training.tensors import named_tensors

__all__ = ["start_at_bundle", "start_at_colours"]

BATCHES = 16  # whose pixels the colour maps are fitted to
PIXELS = 1 << 17  # of each batch


@torch.no_grad()
def start_at_bundle(networks: Mapping[str, nn.Module], path: Path) -> str:
    """Copy a bundle's weights into networks of the same names, in place; returns its hash.

    Args:
        networks: ``decoder`` and perhaps ``encoder``; one that the bundle lacks stays as it is.
        path: of the bundle, or its name.

    Raises:
        ImgturboError: no bundle, or one of other networks.
    """
    bundle = load_bundle(path)
    for name, network in networks.items():
        given = getattr(bundle, name)
        if given is None:
            continue
        own, saved = named_tensors(network), named_tensors(given)
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in saved.items()}:
            raise ImgturboError(
                f"train.init: the {name} of {path} is another network than model.{name}; copy that "
                "section from its bundle.json, or leave train.init out"
            )
        for key, tensor in own.items():
            tensor.copy_(saved[key])
    return bundle.hash


def start_at_colours(
    networks: Mapping[str, nn.Module],
    source: Source,
    observe: Callable[[Batch], Batch] = lambda batch: batch,
) -> None:
    """Fit the colour maps of the networks that have one; the others stay as they are.

    Args:
        networks: ``decoder`` and ``encoder``, those that there are.
        source: the training data.
        observe: makes z where the batches do not hold it yet.
    """
    fitting = {name: net for name, net in networks.items() if hasattr(net, "fit_colours")}
    if not fitting:
        return
    same = source.alone()
    batches = [observe(same.batch(step)) for step in range(BATCHES)]
    z, x = (_pixels([getattr(b, side) for b in batches]) for side in ("z", "x"))
    known = [b.z_valid & b.x_valid & b.paired.view(-1, 1, 1, 1) for b in batches]
    valid = _pixels(known).squeeze(1)
    for name, network in fitting.items():
        network.fit_colours(*((z, x) if name == "decoder" else (x, z)), valid)  # type: ignore[operator]


def _pixels(images: list[Tensor]) -> Tensor:
    """Some (B, C, H, W) → (N, C), of every batch evenly spread pixels, at most ``PIXELS``."""
    pixels = [image.movedim(1, -1).flatten(0, -2) for image in images]
    return torch.cat([each[:: 1 + len(each) // PIXELS] for each in pixels])
