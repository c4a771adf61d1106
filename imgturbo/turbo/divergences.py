r"""Divergences D(p, q) behind the marginal terms: how unlike two distributions are, from samples.

With real u ~ p and fake û ~ q, the output of a network:

``critic`` is a game with a network that learns to tell them apart (see ``adversarial``), the only
one that sees the patterns of images. ``mmd`` is the squared maximum mean discrepancy (Gretton et
al. 2012, JMLR 13, eq. 3; in inverse problems: Ardizzone et al. 2019, arXiv:1808.04730),

    MMD² = E k(û, û') + E k(u, u') − 2 E k(û, u),    k(a, b) = Σ_h h² / (h² + ‖a − b‖² / D)

with inverse multiquadric kernels of several lengths h, D entries a sample: no opponent, no game,
for tables of numbers and codes of moderate D. Its estimate is the *unbiased* one: a sample is not
compared with itself, so that with equal distributions its mean is 0 (and it may be negative).

A divergence answers as a distance does, in sums and counts, since only the caller knows those of
all processes (law 8): see ``Entry``. A new divergence is a small class with the one method
``generator`` and its line in ``DIVERGENCES``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from imgturbo.errors import ImgturboError
from imgturbo.turbo.adversarial import (
    MODES,
    cell_weights,
    frozen_scores,
    gradient_penalty,
    in_precision_of,
    r1_penalty,
)
from imgturbo.turbo.pool import ImagePool
from imgturbo.turbo.spaces import Contest, Samples
from imgturbo.turbo.terms import Terms

__all__ = ["DIVERGENCES", "MMD", "Critic", "Divergence", "Entry", "kernel"]


Conditions = tuple[Tensor, Tensor] | None
"""What a critic sees beside the real ones and beside the fakes; None: nothing."""


class Entry(NamedTuple):
    """One sum that a divergence enters into a loss: its term is Σ share · Σ total / Σ entries.

    Attributes:
        total, entries: sums of any shape, and the numbers of entries in them, of this process.
        share: of this entry in its term: 1/K for K scales, −2 for the product of a binomial.
        term: what the log calls it.
        weight: of the term in the loss of the critics. The generators' is the user's.
    """

    total: Tensor
    entries: Tensor
    share: float = 1.0
    term: str = "D"
    weight: float = 1.0


class Divergence(ABC):
    """How far one output's distribution is from that of data; one instance an output.

    Args:
        terms: the settings.
        output: which of the four outputs it judges.
        network: the critic of that output, if there is one.
    """

    conditional = False
    """Whether it judges pairs, (output, input), rather than outputs alone."""

    def __init__(self, terms: Terms, output: str, network: nn.Module | None = None) -> None:
        self.terms = terms

    @abstractmethod
    def generator(self, contest: Contest) -> Iterable[Entry]:
        """Entries of the generators' loss, whose gradient reaches ``contest.fake`` only."""

    def opponent(self, contest: Contest) -> Iterable[Entry]:
        """Entries of the critics' loss, where it is a contest; their gradient reaches critics."""
        return ()

    def state(self) -> dict[str, Tensor]:
        """What this process must remember beside weights, by name."""
        return {}

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Take up what ``state`` gave."""
        assert not state, "a divergence that has a state takes it up itself"


# -------------------------------------------------------------------------------- the critic


class Critic(Divergence):
    """The game with a critic, by the losses of ``adversarial.MODES``, and its pool of past fakes.

    Of the critic's cells those count whose share of the input is valid. The network is held, not
    owned: it is the objective's, and outputs of one space may share it.
    """

    def __init__(self, terms: Terms, output: str, network: nn.Module | None = None) -> None:
        super().__init__(terms, output)
        if network is None:
            raise ValueError(f"the critic of {output} needs a network")
        self.network, self.mode = network, MODES[terms.adversarial]
        self.conditional = terms.is_conditional(output)
        self.pool = ImagePool(terms.pool)

    def generator(self, contest: Contest) -> Iterator[Entry]:
        """What the generators lose by the scores of a critic that is held constant."""
        fake = contest.fake
        scores = frozen_scores(self.network, fake.data, contest.condition)
        for score in scores:
            weights = cell_weights(fake.valid, score)
            yield Entry(self.mode.generator(score) * weights, weights, 1 / len(scores))

    def opponent(self, contest: Contest) -> Iterator[Entry]:
        """What the critic loses by its scores of data and of fakes, with penalties on its slope."""
        real, fake, conditions = self._with_past(contest)
        scores = _scores_of_both(self.network, real.data, fake.data, conditions)
        for score in scores:
            weight = cell_weights(real.valid, score[: len(real.valid)])
            for cells, part in zip((self.mode.real, self.mode.fake), score.chunk(2), strict=True):
                yield Entry(cells(part) * weight, weight, 1 / len(scores), "critic")
        if self.mode.penalised and self.terms.gradient_penalty:
            penalty = gradient_penalty(self.network, real.data, fake.data, real.valid, conditions)
            yield Entry(*penalty, term="penalty", weight=self.terms.gradient_penalty)
        if self.terms.r1:
            condition = None if conditions is None else conditions[0]
            penalty = r1_penalty(self.network, real.data, real.valid, condition)
            yield Entry(*penalty, term="r1", weight=self.terms.r1)

    def _with_past(self, contest: Contest) -> tuple[Samples, Samples, Conditions]:
        """Real, fake and their conditions, with fakes of the past among the fakes.

        One of the past comes in a mask of its own: again both wear what theirs share.
        """
        real, fake, condition = contest
        beside = [] if condition is None else [condition]
        sample = (fake.data.detach(), fake.valid, *beside)
        if self.terms.pool:
            sample = self.pool.exchange(sample, fake.valid.flatten(1).any(1))
        fake = Samples(*sample[:2])
        real, fake = real.where(fake.valid), fake.where(real.valid)
        if condition is None:
            return real, fake, None
        of_real, of_fake = (torch.where(real.valid, one, 0.0) for one in (condition, sample[2]))
        return real, fake, (of_real, of_fake)

    def state(self) -> dict[str, Tensor]:
        """The pool of past fakes, if it has one."""
        return self.pool.state_dict() if self.pool.size else {}

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Take up a pool of past fakes."""
        if self.pool.size:
            self.pool.load_state_dict(state, device)


def _scores_of_both(
    critic: nn.Module, real: Tensor, fake: Tensor, conditions: Conditions
) -> list[Tensor]:
    """Score maps (2B, 1, …) of the real and then the fake ones, in one call where that may be.

    A batch norm must not take its statistics over both: they would give away which is which.
    """
    if getattr(critic, "mixes_samples", False):
        beside = (None, None) if conditions is None else conditions
        each = (critic(u, c) for u, c in zip((real, fake), beside, strict=True))
        return [torch.cat(in_precision_of(real, pair)) for pair in zip(*each, strict=True)]
    both = torch.cat([real, fake])
    return in_precision_of(
        both, critic(both, None if conditions is None else torch.cat(conditions))
    )


# ------------------------------------------------------------------ maximum mean discrepancy


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
        fake, real = _rows(contest.fake), _rows(contest.real)
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
    return _gathered(shared[:, None].float())[0].any()


class _Rows(NamedTuple):
    """Samples as rows of numbers, of this process and of all.

    Attributes:
        own: (B, D), with gradient.
        counts: (B,), 1 where anything in the sample is valid, else 0.
        joint, joint_counts: the same of all processes (N, D), (N,), without gradient.
        first: the place of this process's first row among all.
    """

    own: Tensor
    counts: Tensor
    joint: Tensor
    joint_counts: Tensor
    first: int


def _rows(samples: Samples) -> _Rows:
    own = samples.data.flatten(1)
    counts = samples.valid.flatten(1).any(1).to(own.dtype)
    joint, first = _gathered(torch.cat([own.detach(), counts[:, None]], 1))
    return _Rows(own, counts, joint[:, :-1], joint[:, -1], first)


def _gathered(rows: Tensor) -> tuple[Tensor, int]:
    """The rows of all processes, in order of rank, and the place of this one's first."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows, 0
    mine = torch.tensor([len(rows)], device=rows.device)
    lengths = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, mine)
    counts = [int(length) for length in lengths]
    padded = rows.new_zeros((max(counts), rows.shape[1]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    joint = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return joint, sum(counts[: dist.get_rank()])


DIVERGENCES: dict[str, type[Divergence]] = {"critic": Critic, "mmd": MMD}
