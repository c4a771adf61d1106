r"""The squared maximum mean discrepancy, a divergence without an opponent.

Gretton et al. 2012, JMLR 13, eq. 3; in inverse problems Ardizzone et al. 2019, arXiv:1808.04730:

    MMD² = E k(û, û') + E k(u, u') − 2 E k(û, u),    k(a, b) = Σ_h h² / (h² + ‖a − b‖² / D)

with inverse multiquadric kernels of several lengths h, D entries a sample: no opponent, no game,
for tables of numbers and codes of moderate D. Its estimate is the *unbiased* one: a sample is not
compared with itself, so that with equal distributions its mean is 0 (and it may be negative).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from imgturbo.errors import ImgturboError
from imgturbo.turbo.entries import Divergence, Entry
from imgturbo.turbo.gathering import gathered, rows_of
from imgturbo.turbo.spaces import Contest

__all__ = ["MMD", "kernel"]


def kernel(a: Tensor, b: Tensor, scales: Sequence[float]) -> Tensor:
    """k(a_i, b_j) = Σ_h h² / (h² + ‖a_i − b_j‖² / D), h the ``scales``: (n, D), (m, D) → (n, m).

    In double precision and under no autocast: of near samples ‖a‖² + ‖b‖² − 2 a·b leaves little.
    """
    dtype = torch.float32 if a.device.type == "mps" else torch.float64
    a, b = a.to(dtype), b.to(dtype)
    with torch.autocast(a.device.type, enabled=False):
        squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    distance = squares.clamp(min=0) / a.shape[1]
    return torch.stack([1 / (1 + distance / h / h) for h in scales]).sum(0)


class MMD(Divergence):
    """Squared maximum mean discrepancy between the samples of all processes, unbiased.

    A sample is a row of D = C·H·W numbers (or C of a table), masked ones 0. It is not compared with
    itself, nor, where there are holes, with the one of the other kind that wears its very holes
    (see ``Contest``): these two are more alike than others, and the mean would be below 0 (so it is
    Gretton's eq. 4). Samples in which nothing is valid are left out; with fewer than two real or
    fake ones it is 0.

    Over several processes each enters the sums of its own rows against everybody's. Those of the
    others come without gradient: k is symmetric, so that the gradient of Σ_ij k(û_i, û_j) in û_i is
    twice that of its own row. With ``train.accumulate`` each batch is compared within itself: the
    mean over batches has the same expectation, but a larger variance than one of all their samples.

    Raises:
        ImgturboError: when called with one sample in all; there is nothing to compare.
    """

    def generator(self, contest: Contest) -> Iterator[Entry]:
        """The three means of MMD²; that of data alone is for the log, it has no gradient."""
        fake, real = rows_of(contest.fake), rows_of(contest.real)
        if len(fake.joint) < 2 or len(real.joint) < 2:
            raise ImgturboError(
                "objective.marginal: mmd compares samples with each other and there is one; "
                "set data.batch_size to 2 or more"
            )
        enough = (fake.joint_counts.sum() >= 2) & (real.joint_counts.sum() >= 2)
        partners = ~_share_holes(contest)
        for one, two, share in ((fake, fake, 1.0), (real, real, 1.0), (fake, real, -2.0)):
            weights = one.counts[:, None] * two.joint_counts * enough
            own = torch.arange(min(len(one.own), len(two.own)), device=weights.device)
            weights[own, one.first + own] *= False if one is two else partners
            total = (kernel(one.own, two.joint, self.terms.mmd_scales) * weights).sum()
            if one is two:
                total = 2 * total - total.detach()  # the gradient of a row and of its column
            yield Entry(total.to(one.own.dtype), weights.sum(), share)


def _share_holes(contest: Contest) -> Tensor:
    """Whether real and fake wear one mask with holes in some row of any process: scalar bool.

    Of all rows together, or the whole ones among them would count more often across than within.
    """
    real, fake = (samples.valid.flatten(1) for samples in (contest.real, contest.fake))
    if real.shape != fake.shape:
        return fake.new_zeros(())
    shared = (real == fake).all(1) & ~fake.all(1) & fake.any(1)
    return gathered(shared[:, None].float())[0].any()
