r"""Maximum likelihood: what trains a conditional flow, in the place of the eight-term objective.

    L = − (1/d) E_{(z, x)} log p(x + ση | z),    η ~ N(0, 1),    d numbers in x

in nats a dimension. The noise of standard deviation σ (``objective.noise``, stretched units) keeps
the density finite where x takes only some values (8-bit pictures, empty sky) and smooths it.

A likelihood is one number for a whole tile, so a tile counts only if it is one of a pair and its x
was measured in every pixel; holes in z are zeros for the network, in training as in translation.
The mean is over the tiles of all processes that count.

Ardizzone et al. 2019 (arXiv:1907.02392), equation 5, without the weight decay that is written into
it: that is the optimiser's. In validation the same loss is told in bits, ``forward/bits``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from imgturbo.flows.decoder import CINNDecoder
from imgturbo.losses import Ledger, Losses, Trainable

if TYPE_CHECKING:
    from imgturbo.data.batch import Batch

__all__ = ["Likelihood", "whole_pairs"]


class Likelihood(Trainable):
    """A flow and its loss.

    Args:
        decoder: the flow.
        noise: σ, in stretched units.
    """

    decoder: CINNDecoder
    own_scores: Mapping[str, bool] = {"forward/bits": False}

    def __init__(self, decoder: CINNDecoder, noise: float = 0.0) -> None:
        super().__init__()
        self.decoder = decoder
        self.noise = noise

    def forward(self, batch: Batch) -> Losses:
        """The loss of one step, in nats a dimension. With several processes a collective call."""
        counts = whole_pairs(batch)
        # Others are left out, so that ActNorm does not set itself by them. Where none counts, all
        # are computed nevertheless, for nothing: other processes wait for this one's gradients.
        rows = counts | ~counts.any()
        x = self.decoder.reduce(batch.x[rows])
        if self.noise:
            x = x + self.noise * torch.randn_like(x)
        log_p = self.decoder.log_density(x, torch.where(batch.z_valid, batch.z, 0.0)[rows])
        loss = torch.where(counts[rows], -log_p / x[0].numel(), 0.0)
        ledger = Ledger()
        ledger.add("nll", "generator", 1.0, loss, counts)
        return ledger.settle()

    def scores(
        self, maps: Mapping[str, nn.Module], batch: Batch, number: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Bits a dimension of x + ση over whole pairs, with the same η at every validation."""
        decoder = cast("CINNDecoder", maps["decoder"])
        x = decoder.reduce(batch.x)
        same = torch.Generator().manual_seed(number)  # on the CPU: the same on every device
        x = x + self.noise * torch.randn(x.shape, generator=same).to(x)
        nats = -decoder.log_density(x, torch.where(batch.z_valid, batch.z, 0.0)).double()
        whole = whole_pairs(batch)
        bits = nats[whole] / (x[0].numel() * math.log(2))
        return {"forward/bits": (bits.sum(), whole.sum())}


def whole_pairs(batch: Batch) -> Tensor:
    """(B,) bool: pairs whose x was measured in every pixel."""
    return batch.paired & batch.x_valid.flatten(1).all(1)
