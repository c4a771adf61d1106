r"""The sliced Wasserstein distance: sorted projections, a divergence without an opponent.

On a line the squared Wasserstein distance is that of sorted samples. With K unit directions θ_k,
drawn afresh at every step,

    SW² = 1/K Σ_k ∫₀¹ (F_k⁻¹(t) − G_k⁻¹(t))² dt

F_k⁻¹ and G_k⁻¹ being the quantiles of ⟨θ_k, û⟩ and of ⟨θ_k, u⟩, steps of 1/n and 1/m (Rabin et al.
2011, doi:10.1007/978-3-642-24785-9_37; in OTUS, Howard et al. 2021, arXiv:2101.08944, for events).
A difference d between the means counts as |d|²/D, D entries a sample. Unlike MMD it is not
unbiased: of equal distributions n samples each are apart by about 1/n, so that large batches are
better than small ones.

Over several processes the samples of all are sorted together, those of others without gradient: a
sample knows its place t among all, and the quantile G⁻¹ that it has to meet there. Of its cost

    n ∫_{i/n}^{(i+1)/n} (p_i − G⁻¹(t))² dt = (p_i − g₁)² + (g₂ − g₁²)

g₁ and g₂ are the means of G⁻¹ and of its square over that stretch; the sum over the rows of all
processes, divided by their number, is SW² exactly, and its gradient that of one process (law 8).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from imgturbo.turbo.entries import Divergence, Entry
from imgturbo.turbo.gathering import rows_of, the_first_process
from imgturbo.turbo.spaces import Contest

__all__ = ["SlicedWasserstein"]


class SlicedWasserstein(Divergence):
    """SW² between the samples of all processes, along ``terms.slices`` directions.

    A sample is a row of D = C·H·W numbers (or C of a table), masked ones 0: real and fake wear one
    mask row by row (see ``Contest``). Samples in which nothing is valid are left out; without any
    it is 0. The directions come from torch's generator, which training seeds by step; of several
    processes the first one's count.
    """

    def generator(self, contest: Contest) -> Iterator[Entry]:
        """One entry a sample: the mean over directions of its cost."""
        fake, real = rows_of(contest.fake), rows_of(contest.real)
        directions = torch.randn(
            self.terms.slices, fake.own.shape[1], device=fake.own.device, dtype=torch.float32
        )
        directions = the_first_process(directions / directions.norm(dim=1, keepdim=True))
        counted = fake.counts > 0
        if not (real.joint_counts > 0).any():
            yield Entry((fake.own * 0).sum(1), torch.zeros_like(fake.counts))
            return

        def projected(rows: Tensor) -> Tensor:
            """(n, D) → (n, K), in full precision under any autocast."""
            with torch.autocast(rows.device.type, enabled=False):
                return rows @ directions.to(rows.dtype).T

        own = projected(fake.own)
        with torch.no_grad():
            known = fake.joint_counts > 0
            places = _places(projected(fake.joint), known)[fake.first : fake.first + len(own)]
            quantiles = projected(real.joint[real.joint_counts > 0]).sort(0).values
            first, second = _means(quantiles, places, int(known.sum()))
        cost = ((own - first).square() + (second - first.square()).clamp(min=0)).mean(1)
        yield Entry(torch.where(counted, cost, 0.0), counted)


def _places(projections: Tensor, known: Tensor) -> Tensor:
    """How many known rows lie below each one, (N, K) integers; of the others it does not matter."""
    order = torch.where(known[:, None], projections, torch.inf).argsort(dim=0, stable=True)
    places = torch.empty_like(order)
    ranks = torch.arange(len(order), device=order.device)[:, None].expand_as(order)
    return places.scatter_(0, order, ranks)


def _means(quantiles: Tensor, places: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """g₁ and g₂ of the module's page.

    Args:
        quantiles: (m, K), sorted along the first axis.
        places: (B, K) among ``count``; ones beyond it may be anything.
    """
    m = len(quantiles)
    if m == count:
        first = quantiles.gather(0, places.clamp(max=m - 1))
        return first, first.square()
    wide = torch.float32 if quantiles.device.type == "mps" else torch.float64
    places = places.clamp(max=count - 1)
    means = []
    for power in (1, 2):
        steps = quantiles.to(wide) ** power
        sums = torch.cat([steps.new_zeros(1, steps.shape[1]), steps.cumsum(0)]) / m
        ends = []
        for edge in (places, places + 1):
            at = edge.to(wide) * m / count  # in steps of 1/m
            below = at.floor().clamp(max=m - 1).long()
            lower, upper = sums.gather(0, below), sums.gather(0, below + 1)
            ends.append(lower + (upper - lower) * (at - below))
        means.append(((ends[1] - ends[0]) * count).to(quantiles.dtype))
    return means[0], means[1]
