r"""Maximum likelihood: what trains a network with a density, in the place of the eight terms.

    L = − (1/d) E_{(z, x)} log p(x + ση | z),    η ~ N(0, 1),    d numbers in x

in nats a dimension. The noise of standard deviation σ (``objective.noise``, stretched units) keeps
the density finite where x takes only some values (8-bit pictures, empty sky) and smooths it.

A likelihood is one number for a whole tile, and what was not measured cannot be integrated out of a
flow of couplings. So pixels of x that are missing are filled by a draw of the model itself, through
which no gradient goes: since

    E_{x ~ p} ∇ log p(x | z) = 0

they teach nothing on the mean, where they are independent of the measured ones given z. Next to the
rim of a hole they are not, so a tile counts by its measured share w, L = Σ w L_i / Σ w, and not at
all below one half or where it is none of a pair. (Filled with their mean, pixels would teach the
model to be sure of itself.) Before the flow has seen its first batch it has no draws: then the mean
of what the tile's band has measured stands there. Holes in z are zeros for the network, in training
as in translation. The mean is over the tiles of all processes.

Ardizzone et al. 2019 (arXiv:1907.02392), equation 5, without the weight decay that is written into
it: that is the optimiser's. In validation the same loss is told in bits, ``forward/bits``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imgturbo.errors import ImgturboError
from imgturbo.flows.actnorm import start_from
from imgturbo.losses import Ledger, Losses, Trainable

if TYPE_CHECKING:
    from imgturbo.data.batch import Batch
    from imgturbo.data.source import Source

__all__ = ["LEAST_MEASURED", "Density", "Likelihood", "whole_pairs"]

LEAST_MEASURED = 0.5
"""Share of a tile's target that must have been measured for the tile to count."""


class Density(Protocol):
    """What is trained by its likelihood: a generator with a density.

    Attributes:
        scale: how many pixels of z lie along one of the density's x.
    """

    scale: int

    def conditions(self, u: Tensor) -> Any:
        """What densities and draws need of z (B, C, …): a tensor, or a list with such."""
        ...

    def sample(self, conditions: Any) -> Tensor:
        """A draw of the density's x for each condition, by torch's own generator."""
        ...

    def reduce(self, x: Tensor) -> Tensor:
        """The numbers that the density is of."""
        ...

    def log_density(self, y: Tensor, z: Any) -> Tensor:
        """log p(y|z) (B,) in nats; z, or what :meth:`conditions` made of it."""
        ...


class Likelihood(Trainable):
    """A network with a density, and its loss.

    Args:
        decoder: the network, a ``Density``.
        noise: σ, in stretched units.
    """

    own_scores: Mapping[str, bool] = {"forward/bits": False}

    def __init__(self, decoder: nn.Module, noise: float = 0.0) -> None:
        super().__init__()
        self.decoder = decoder
        self.noise = noise

    @property
    def density(self) -> Density:
        """The network, as what it is here."""
        return cast("Density", self.decoder)

    def forward(self, batch: Batch) -> Losses:
        """The loss of one step, in nats a dimension. With several processes a collective call."""
        valid = self._measured(batch.x_valid)
        share = valid.flatten(1).float().mean(1)
        given = batch.z_valid.flatten(1).any(1)
        counts = batch.paired & given & (share >= LEAST_MEASURED)
        # Others are left out, so that ActNorm does not set itself by them. Where none counts, all
        # are computed nevertheless, for nothing: other processes wait for this one's gradients.
        rows = counts | ~counts.any()
        assert self.decoder is not None
        waits = start_from(self.decoder, counts[rows])
        x, valid = self.density.reduce(torch.where(batch.x_valid, batch.x, 0.0))[rows], valid[rows]
        conditions = self.density.conditions(torch.where(batch.z_valid, batch.z, 0.0)[rows])
        if self.noise:
            x = x + self.noise * torch.randn_like(x)
        x = self._mean_filled(x, valid) if waits else self._filled(x, valid, conditions)
        log_p = self.density.log_density(x, conditions)
        weights = torch.where(counts, share, 0.0)
        loss = torch.where(counts[rows], -log_p / x[0].numel(), 0.0) * weights[rows]
        ledger = Ledger()
        ledger.add("nll", "generator", 1.0, loss, weights)
        return ledger.settle()

    def _measured(self, valid: Tensor) -> Tensor:
        """(B, 1, H/s, W/s) bool: all of the pixels that a number of the flow's x is the mean of."""
        return self.density.reduce(valid.float()) > 1 - 1e-6

    @torch.no_grad()
    def _filled(self, x: Tensor, valid: Tensor, conditions: Any) -> Tensor:
        """x with draws of the flow where it is not valid; nothing is drawn where all of it is."""
        holed = ~valid.flatten(1).all(1)
        if not holed.any():
            return x
        drawn = self.density.sample(_rows_of(conditions, holed))
        x = x.clone()
        x[holed] = torch.where(valid[holed], x[holed], drawn.to(x))
        return x

    @staticmethod
    def _mean_filled(x: Tensor, valid: Tensor) -> Tensor:
        """x with the mean of each tile's band where it is not valid."""
        axes = tuple(range(2, x.ndim))
        total = torch.where(valid, x, 0.0).sum(axes, keepdim=True)
        return torch.where(valid, x, total / valid.sum(axes, keepdim=True).clamp(min=1))

    def terms_by_pairs(self) -> dict[str, bool]:
        """Its one term is of pairs."""
        return {"nll": True}

    def check(self, source: Source) -> None:
        """Refuse images of other sizes, data without pairs, and pairs that are mostly holes."""
        if source.pairs != 0 and self.idle_terms(source):
            if source.extent is None:
                raise ImgturboError(
                    f"{source.name}: no pair counts in the likelihood, of none is the target "
                    "known; give rows without NaN"
                )
            scale = self.density.scale
            what = "pixels" if scale == 1 else f"cells of {scale} × {scale} pixels"
            raise ImgturboError(
                f"{source.name}: no pair counts in the likelihood, which needs targets that are "
                f"measured in {LEAST_MEASURED:.0%} of their {what} or more, so that nothing would "
                "be trained; use smaller tiles (prepare.tile.size), or raise prepare.tile.min_valid"
            )
        super().check(source)

    def idle_terms(self, source: Source) -> list[str]:
        """Its one term, where too little of every target was measured; holes in z do not matter."""
        shares = self._shares(source)
        return [] if shares is None or (shares >= LEAST_MEASURED).any() else ["nll"]

    def _shares(self, source: Source) -> NDArray[np.float64] | None:
        """How many of the flow's numbers of each pair were measured, 0 to 1; None: all of all."""
        scale, extent = self.density.scale, source.extent
        if scale == 1 or extent is None or extent % scale:  # what is refused by its size
            return source.measured()
        return source.measured(scale)

    def account(self, source: Source) -> str:
        """How many pairs count, and how many of them have holes."""
        shares = self._shares(source)
        if shares is None:
            return super().account(source)
        counting = shares >= LEAST_MEASURED
        text = f"training samples: {counting.sum()} of {len(shares)} pairs count in nll"
        if holed := (counting & (shares < 1)).sum():
            text += (
                f", {holed} of them with holes in the target, which draws of the model fill and "
                "which are weighted by what was measured"
            )
        return text

    def scores(
        self, maps: Mapping[str, nn.Module], batch: Batch, number: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Bits a dimension of x + ση over whole pairs, with the same η at every validation."""
        decoder = cast("Density", maps["decoder"])
        x = decoder.reduce(batch.x)
        same = torch.Generator().manual_seed(number)  # on the CPU: the same on every device
        x = x + self.noise * torch.randn(x.shape, generator=same).to(x)
        nats = -decoder.log_density(x, torch.where(batch.z_valid, batch.z, 0.0)).double()
        whole = whole_pairs(batch)
        bits = nats[whole] / (x[0].numel() * math.log(2))
        return {"forward/bits": (bits.sum(), whole.sum())}


def whole_pairs(batch: Batch) -> Tensor:
    """(B,) bool: pairs whose x was measured in every pixel, and z in some."""
    return batch.paired & batch.x_valid.flatten(1).all(1) & batch.z_valid.flatten(1).any(1)


def _rows_of(condition: Any, rows: Tensor) -> Any:
    """A condition, or a list of them, of some rows of the batch."""
    if isinstance(condition, list):
        return [_rows_of(part, rows) for part in condition]
    return None if condition is None else condition[rows]
