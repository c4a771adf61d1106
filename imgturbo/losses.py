"""Global means: Σ over all ranks of a term's sum, divided by Σ over all ranks of its count.

DDP averages gradients over the R ranks. With rank r's loss

    ℓ_r = R · Σ_t w_t S_{t,r} / Σ_r' N_{t,r'}

that average is the gradient of Σ_t w_t (Σ_r S_{t,r}) / (Σ_r N_{t,r}), the loss of one rank that
holds the joint batch, however unequal masks and pairs are between ranks (law 8). A mean taken on
each rank by itself would not be.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["Ledger", "Losses"]

Side = Literal["generator", "critic"]


class Losses(NamedTuple):
    """What one forward of the objective gives.

    Attributes:
        generator: scalar; its gradient reaches the generators only.
        critic: scalar; its gradient reaches the critics only.
        terms: unweighted global means without gradient, the same on every rank: ``L/x_tilde``,
            ``D/x_tilde`` (generator's side), ``critic/x_tilde``, ``identity/x``, …
    """

    generator: Tensor
    critic: Tensor
    terms: dict[str, Tensor]


class _Entry(NamedTuple):
    name: str
    side: Side
    weight: float
    share: float
    total: Tensor
    entries: Tensor


class Ledger:
    """Collects every term's sum and count, and divides once all of them are known."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def add(
        self,
        name: str,
        side: Side,
        weight: float,
        total: Tensor,
        entries: Tensor,
        share: float = 1.0,
    ) -> None:
        """Enter ``weight · share · mean`` into a loss and ``share · mean`` under ``name``.

        Args:
            name: entries of one name are added up.
            side: the loss that the term belongs to.
            weight: of the term in the loss.
            total: sums of any shape, with gradient.
            entries: how many entries they are sums over, of any shape.
            share: of this entry in its term, such as 1/K for K scales.
        """
        self._entries.append(_Entry(name, side, weight, share, total.sum(), entries.sum()))

    def settle(self) -> Losses:
        """One collective call for all terms; every rank must make it with the same terms."""
        # Stacked without gradient: the two losses must not meet in one graph.
        totals = torch.stack([entry.total.detach() for entry in self._entries])
        entries = torch.stack([entry.entries.detach().to(totals) for entry in self._entries])
        summed = torch.stack([totals, entries])
        ranks = 1
        if dist.is_available() and dist.is_initialized():
            ranks = dist.get_world_size()
            if ranks > 1:
                dist.all_reduce(summed)
        # Where nothing counts anywhere the sum is 0 too: the mean is 0, and still in the graph.
        counts = torch.where(summed[1] > 0, summed[1], 1.0)
        means = summed[0] / counts
        losses = {"generator": totals.new_zeros(()), "critic": totals.new_zeros(())}
        terms: dict[str, Tensor] = {}
        for index, entry in enumerate(self._entries):
            local = entry.total * (ranks / counts[index])
            losses[entry.side] = losses[entry.side] + entry.weight * entry.share * local
            terms[entry.name] = terms.get(entry.name, 0) + entry.share * means[index]
        return Losses(losses["generator"], losses["critic"], terms)
