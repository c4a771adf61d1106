"""Networks with random parameters, so that nothing is the identity it starts as."""

from __future__ import annotations

import torch
from torch import nn


def shaken(module: nn.Module, size: float = 0.5, seed: int = 0) -> nn.Module:
    """The same network, ready to be applied; each parameter is moved by noise of this size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_((size * noise).to(parameter.dtype))
    return module.eval()
