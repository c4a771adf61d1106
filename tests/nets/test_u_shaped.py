"""The three U-shaped networks are what they were before they had one base.

``u_shaped.json`` holds, for each, the names of its weights in their order, the sha256 of the
weights that a seed draws and of what they make of one small image, and the image's first numbers.
On the machine and with the library that wrote it every byte must be the same; another rounds
otherwise. ``python tests/nets/test_u_shaped.py`` writes it anew.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imgturbo.config import DiffusionConfig, NAFNetConfig, UNetConfig
from imgturbo.diffusion import Denoiser
from imgturbo.nets import PositionalNoise
from imgturbo.nets.nafnet import NAFNet
from imgturbo.nets.unet import UNet

STORED = Path(__file__).with_name("u_shaped.json")
SMALL = {"width": 4, "depth": 2, "blocks": 2}
NETWORKS = {
    "unet": lambda: UNet(UNetConfig(**SMALL, stem=2, noise_channels=2), 3, 2),
    "unet of stem 1": lambda: UNet(UNetConfig(**SMALL, stem=1, norm="none"), 3, 3),
    "nafnet": lambda: NAFNet(NAFNetConfig(**SMALL, middle=3, spread=7, spread_maps=2), 3, 2),
    "nafnet of stem 1": lambda: NAFNet(NAFNetConfig(**SMALL, stem=1, mixing="dense"), 3, 3),
    "denoiser": lambda: Denoiser(DiffusionConfig(**SMALL), 5, 2),
}


def digest(*arrays: np.ndarray) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


@torch.no_grad()
def stir(network: nn.Module) -> None:
    """Let no weight be zero, behind which the rest would be unseen."""
    for parameter in network.parameters():
        parameter += 0.1 * torch.randn_like(parameter)


@torch.no_grad()
def facts(name: str) -> dict[str, object]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums are rounded by how they are shared out
    try:
        return _facts(name)
    finally:
        torch.set_num_threads(threads)


def _facts(name: str) -> dict[str, object]:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    weights = network.state_dict()
    drawn = digest(*(tensor.numpy() for tensor in weights.values()))
    stir(network)
    if isinstance(network, Denoiser):
        output = network(torch.randn(2, 5, 8, 12), torch.tensor([3, 40]))
    else:
        output = network(torch.randn(2, 3, 13, 9), PositionalNoise(7, [[0, 0], [8, 16]]))
    numbers = output.contiguous().numpy()
    return {
        "keys": list(weights),
        "weights": drawn,
        "shape": list(numbers.shape),
        "numbers": [float(value) for value in numbers.ravel()[:40]],
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_what_they_were(name):
    stored = json.loads(STORED.read_text())
    before, now = stored["networks"][name], facts(name)
    assert now["keys"] == before["keys"]
    assert now["shape"] == before["shape"]
    assert now["weights"] == before["weights"]
    # Sums are rounded as the processor likes: two of one name gave other last digits.
    np.testing.assert_allclose(now["numbers"], before["numbers"], rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    content = {"networks": {name: facts(name) for name in NETWORKS}}
    STORED.write_text(json.dumps(content, indent=1) + "\n")
