"""The game with a critic: a network that learns to tell outputs from data.

It is the only divergence that sees the patterns of images. Its losses are those of
``adversarial.MODES``, on scores of cells, with a pool of past fakes and penalties on its slope.
What the critic has learnt to look at may also serve as a distance: see ``Features``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from imgturbo.turbo.adversarial import (
    MODES,
    cell_weights,
    frozen_scores,
    gradient_penalty,
    in_precision_of,
    r1_penalty,
)
from imgturbo.turbo.entries import Divergence, Entry, Total, count
from imgturbo.turbo.pool import ImagePool
from imgturbo.turbo.spaces import Contest, Samples
from imgturbo.turbo.terms import Terms

__all__ = ["Critic", "Features"]

Conditions = tuple[Tensor, Tensor] | None
"""What a critic sees beside the real ones and beside the fakes; None: nothing."""


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
        real, fake, condition, *_ = contest
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


class Features:
    """Σ (φ(u) − φ(û))², φ what the last layer of a critic reads, as a distance (VAE/GAN).

    Larsen et al. 2015, arXiv:1512.09300, eq. 7 and 8, up to a constant: here the mean over features
    (of each scale, and that over scales) times the number of entries of the sample. The critic is
    held constant, so that it learns from its own game alone; masked entries are 0 in both, and of
    its cells those count whose share of the input is valid.
    """

    def __init__(self, critic: nn.Module) -> None:
        self.critic = critic

    def __call__(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Total:
        made, true = (
            frozen_scores(self.critic, torch.where(valid, u, 0.0), None, features=True)
            for u in (prediction, target.detach())
        )
        means = []
        for ours, theirs in zip(made, true, strict=True):
            weights = cell_weights(valid, ours)
            known = weights.flatten(1).sum(1)
            squares = ((ours - theirs.detach()).square() * weights).flatten(1).sum(1)
            means.append(squares / torch.where(known > 0, known, 1.0))
        entries = count(target, valid)
        return Total(torch.stack(means).mean(0) * entries, entries)
