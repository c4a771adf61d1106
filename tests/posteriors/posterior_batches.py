"""Batches of rows, some of which do not count."""

from __future__ import annotations

import torch

from imgturbo.data.batch import Batch


def rows(n, of_z, of_x, *, seed=0, whole=False) -> Batch:
    """Row 1 is no pair, row 2 has no z, row 3 no x, unless all are ``whole``."""
    generator = torch.Generator().manual_seed(seed)
    z, x = (torch.randn(n, of, generator=generator) for of in (of_z, of_x))
    z_valid, x_valid = (torch.ones(n, 1, dtype=torch.bool) for _ in range(2))
    paired = torch.ones(n, dtype=torch.bool)
    if not whole:
        paired[1] = z_valid[2] = x_valid[3] = False
        z[2], x[3] = torch.nan, torch.nan
    index = torch.arange(n)
    return Batch(z, x, z_valid, x_valid, paired, index, index, ("row",) * n)
