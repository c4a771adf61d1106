r"""Maximum likelihood: what trains a conditional flow, in the place of the eight-term objective.

    L = − (1/d) E_{(z, x)} log p(x + ση | z),    η ~ N(0, 1),    d numbers in x

in nats a dimension. The noise of standard deviation σ (``objective.noise``, stretched units) keeps
the density finite where x takes only some values (8-bit pictures, empty sky) and smooths it.

A likelihood is one number for a whole tile, so a tile counts only if it is one of a pair and its x
was measured in every pixel; holes in z are zeros for the network, in training as in translation.
The mean is over the tiles of all processes that count.

Ardizzone et al. 2019 (arXiv:1907.02392), equation 5, without the weight decay that is written into
it: that is the optimiser's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from imgturbo.config import Config
from imgturbo.errors import ImgturboError
from imgturbo.flows.decoder import CINNDecoder
from imgturbo.losses import Ledger, Losses, Trainable

if TYPE_CHECKING:
    from imgturbo.data.batch import Batch

__all__ = ["Likelihood", "build_likelihood", "whole_pairs"]


class Likelihood(Trainable):
    """A flow and its loss.

    Args:
        decoder: the flow.
        noise: σ, in stretched units.
    """

    decoder: CINNDecoder

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
        log_p = self.decoder.flow.log_prob(x, torch.where(batch.z_valid, batch.z, 0.0)[rows])
        loss = torch.where(counts[rows], -log_p / x[0].numel(), 0.0)
        ledger = Ledger()
        ledger.add("nll", "generator", 1.0, loss, counts)
        return ledger.settle()

    def check_side(self, name: str, side: int) -> None:
        """Refuse tiles or crops of a side that the flow cannot read.

        Raises:
            ImgturboError: naming the setting and the sides that fit.
        """
        size, stride = self.decoder.size, self.decoder.stride
        if size is not None and side != size:
            raise ImgturboError(
                f"{name} is {side}, but the flow has a dense backend for {size} pixels; make them "
                "agree (model.decoder.dense.size counts pixels of the target)"
            )
        if side % stride:
            raise ImgturboError(
                f"{name} is {side}, but this flow reads images whose sides are multiples of "
                f"{stride}; use one"
            )


def whole_pairs(batch: Batch) -> Tensor:
    """(B,) bool: pairs whose x was measured in every pixel."""
    return batch.paired & batch.x_valid.flatten(1).all(1)


def build_likelihood(config: Config, source_channels: int, target_channels: int) -> Likelihood:
    """The flow that ``config`` describes, freshly initialised, and its loss."""
    objective, flow = config.objective, config.model.decoder
    assert flow.kind == "cinn"
    return Likelihood(CINNDecoder(flow, source_channels, target_channels), objective.noise)
