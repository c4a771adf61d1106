"""Tiles of a store as a bundle sees them, and how likely it finds them.

A store may hold values on other stretches than the bundle's; they are moved from the one to the
other by way of the flux. Bits a number are of wholly measured tiles, beside those of the normal
distributions of :mod:`imgturbo.metrics.likelihood`, fitted to training tiles; the noise that the
likelihood was trained with is added to x here too, for model and normal alike.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imgturbo.bundle import Bundle
from imgturbo.data.batch import Batch
from imgturbo.data.loader import validation_batches
from imgturbo.data.store import TileStore
from imgturbo.metrics.diversity import bootstrap_error
from imgturbo.metrics.likelihood import PixelMoments, bits_per_dimension
from imgturbo.nets.generator import Generator
from imgturbo.side import Side

__all__ = ["as_bundle", "as_image", "likelihood", "mean_over_tiles"]

_TRAINING_TILES = 1024  # enough for a covariance of bands


def as_bundle(batch: Batch, bundle: Bundle, store: TileStore) -> Batch:
    """The batch on the stretches of the bundle, which need not be those of the store."""
    z = _on_stretch(batch.z, store.source, bundle.source)
    x = _on_stretch(batch.x, store.target, bundle.target)
    return replace(batch, z=z.where(batch.z_valid, 0), x=x.where(batch.x_valid, 0))


def _on_stretch(values: Tensor, was: Side | None, to: Side) -> Tensor:
    """Values (B, C, …) on the stretch of one side, moved to that of another by way of the flux."""
    if was is None or was.stretch == to.stretch:
        return values
    flux = was.stretch.inverse(values.movedim(1, 0).double().numpy())
    anew = to.stretch(flux).astype(np.float32)
    return torch.from_numpy(anew).movedim(0, 1).contiguous()


def as_image(u: Tensor) -> Tensor:
    """A row of a table of numbers is an image of one pixel."""
    return u[..., None, None] if u.ndim == 2 else u


def mean_over_tiles(scores: Tensor) -> dict[str, float | None]:
    """Mean over tiles; those without a measured pixel are left out."""
    error = bootstrap_error(scores)
    return {
        "value": float(scores.double().nanmean()),
        "standard_error": error if math.isfinite(error) else None,
    }


def likelihood(
    decoder: Generator,
    bundle: Bundle,
    store: TileStore,
    at_once: int,
    limit: int | None,
    seed: int,
    device: torch.device,
    notes: list[str],
) -> dict[str, Any] | None:
    """Bits a number of the wholly measured validation tiles: the model's, and two normals'."""
    if not decoder.has_density:
        notes.append(f"{bundle.path}: the model has no likelihood, only samples")
        return None
    sigma = bundle.config.objective.noise
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same on every device

    def reduced(x: Tensor) -> Tensor:
        y = decoder.reduce(x)
        return y + sigma * torch.randn(y.shape, generator=generator).to(y)

    moments = PixelMoments()
    train = store.split("train")
    rows = np.flatnonzero(train.has_target)
    rows = rows[np.linspace(0, len(rows), min(len(rows), _TRAINING_TILES), False).astype(int)]
    used = 0
    for part in np.array_split(rows, max(1, len(rows) // 16)):
        valid = train.target_valid.take(part)
        measured = valid.all(tuple(range(1, valid.ndim)))
        x = torch.from_numpy(train.target.take(part[measured]))
        moments.update(as_image(reduced(_on_stretch(x, store.target, bundle.target))))
        used += len(x)
    bits: dict[str, list[Tensor]] = {"model": [], "gaussian_full": [], "gaussian_diagonal": []}
    for read in validation_batches(store, at_once, limit):
        batch = as_bundle(read, bundle, store).to(device)
        whole = batch.x_valid.flatten(1).all(1)
        if not used or not whole.any():
            continue
        y = reduced(batch.x[whole])
        full = moments.gaussian()
        for name, log_prob in (
            ("model", decoder.log_density(y, batch.z[whole])),
            ("gaussian_full", full.log_prob(as_image(y))),
            ("gaussian_diagonal", full.diagonal().log_prob(as_image(y))),
        ):
            numbers = decoder.dimensions(batch.x)
            bits[name].append(bits_per_dimension(log_prob.double(), numbers).cpu())
    if not bits["model"]:
        notes.append("no tile is measured in every pixel: the likelihood is left out")
        return None
    joined = {name: torch.cat(values) for name, values in bits.items()}
    return {
        "unit": "bits per stretched number",
        "noise": sigma,
        "tiles": len(joined["model"]),
        "training_tiles": used,
        **{name: mean_over_tiles(values) for name, values in joined.items()},
    }
