"""The eight-term objective: both losses of a step in one forward.

The encoder q_φ: x → z̃ and the decoder p_θ: z → x̃ are composed into two paths,

    direct   x → z̃ → x̂        reverse   z → x̃ → ẑ

and each of the four outputs û ∈ {z̃, x̂, x̃, ẑ} may have one paired term L(u, û) and one marginal
term D(û) (see ``presets`` for the sum, ``distances`` for L, ``adversarial`` for D):

    L_generator = Σ_û λ_û L(u, û) + Σ_û δ_û D(û) + ι_x ‖decoder(x) − x‖₁ + ι_z ‖encoder(z) − z‖₁
    L_critic    = Σ_û critic loss of û

Who counts: L(z̃) and L(x̃) act on the samples whose pair is known, L(x̂) and L(ẑ) compare with the
network's own input and act on all, D acts on all; a conditional critic judges pairs, so it acts on
pairs. An output is valid where its input is. Nothing under a mask reaches a network, a critic or
a loss.

Neither loss sees the other's parameters: the critics are frozen (called on detached parameters)
within the generators' loss, the fakes detached within the critics'. So
``(generator + critic).backward()`` gives every parameter its gradient, and DDP wraps once.

The networks may be anything that maps (B, C, …) to (B, C', …): convolutions on images, dense
layers on tables of numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from imgturbo.losses import Ledger, Losses, Trainable
from imgturbo.turbo.adversarial import (
    MODES,
    cell_weights,
    frozen_scores,
    gradient_penalty,
    in_precision_of,
    r1_penalty,
)
from imgturbo.turbo.distances import Mix, l1
from imgturbo.turbo.pool import ImagePool
from imgturbo.turbo.presets import OUTPUTS, SPACE, Terms

if TYPE_CHECKING:
    from imgturbo.data.batch import Batch

__all__ = ["Objective"]


class _Side(NamedTuple):
    """One space's part of a batch: values, 0 where not valid, and (B, 1, …) validity."""

    data: Tensor
    valid: Tensor


def _side(data: Tensor, valid: Tensor) -> _Side:
    return _Side(torch.where(valid, data, 0.0), valid)


class _Contest(NamedTuple):
    """What the critic of one output compares."""

    real: _Side
    fake: _Side
    condition: Tensor | None


def _scores_of_both(
    critic: nn.Module, real: Tensor, fake: Tensor, conditions: tuple[Tensor, Tensor] | None
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


class Objective(Trainable):
    """Networks, critics and weights; ``objective(batch)`` gives both losses.

    Args:
        encoder: x → z, or None where no term needs it.
        decoder: z → x, or None where no term needs it.
        critics: by name as in ``terms.critics``; each maps (u, condition or None) to a list of
            score maps, one a scale.
        terms: the weights.
        noise: given to the generators that say they are ``stochastic``.

    Raises:
        ValueError: a network that ``terms`` needs is missing, or one that it does not need is
            given (DDP would wait for its gradient).
    """

    def __init__(
        self,
        encoder: nn.Module | None,
        decoder: nn.Module | None,
        critics: Mapping[str, nn.Module],
        terms: Terms,
        noise: Callable[..., Tensor] | None = None,
    ) -> None:
        super().__init__()
        for name, network, needed in (
            ("encoder", encoder, terms.needs_encoder),
            ("decoder", decoder, terms.needs_decoder),
        ):
            if (network is not None) != needed:
                raise ValueError(f"these terms need {'an' if needed else 'no'} {name}")
        if set(critics) != set(terms.critics):
            raise ValueError(f"critics {sorted(critics)} given, {sorted(terms.critics)} needed")
        self.encoder, self.decoder = encoder, decoder
        self.critics = nn.ModuleDict(critics)
        self.terms, self.noise = terms, noise
        self.distances = {
            name: Mix(terms.distance[name], terms.signal) for name in OUTPUTS if terms.paired[name]
        }
        self.pools = {name: ImagePool(terms.pool) for name in OUTPUTS if terms.marginal[name]}

    # ------------------------------------------------------------------------------ forward

    def forward(self, batch: Batch) -> Losses:
        """Both losses of one step. With several processes this is a collective call.

        Args:
            batch: ``z`` (B, C, …), ``x`` (B, C', …), ``z_valid`` and ``x_valid`` (B, 1, …),
                ``paired`` (B,); nothing in it is changed.
        """
        terms, ledger = self.terms, Ledger()
        z, x = _side(batch.z, batch.z_valid), _side(batch.x, batch.x_valid)
        paired = batch.paired.view(-1, *[1] * (batch.z_valid.ndim - 1))
        real = {"z": z, "x": x}
        outputs = self._outputs(z, x)

        for name in OUTPUTS:
            if weight := terms.paired[name]:
                truth = real[SPACE[name]]
                valid = z.valid & x.valid & paired if name.endswith("_tilde") else truth.valid
                found = self.distances[name](outputs[name], truth.data, valid)
                ledger.add(f"L/{name}", "generator", weight, *found)
        for space, network in (("x", self.decoder), ("z", self.encoder)):
            if weight := terms.identity[space]:
                found = l1(self._run(network, real[space].data), *real[space])
                ledger.add(f"identity/{space}", "generator", weight, *found)
        for name in OUTPUTS:
            if terms.marginal[name]:
                contest = self._contest(name, outputs[name], z, x, paired)
                self._judge_generator(ledger, name, contest)
                self._judge_critic(ledger, name, contest)
        return ledger.settle()

    def _run(self, network: nn.Module | None, data: Tensor) -> Tensor:
        assert network is not None  # __init__ has checked it against the terms
        noise = self.noise if getattr(network, "stochastic", False) else None
        return network(data, noise).to(data.dtype)  # autocast may have halved the precision

    def _outputs(self, z: _Side, x: _Side) -> dict[str, Tensor]:
        """Those of z̃, x̂, x̃, ẑ that some term needs, each computed once.

        The second network of a path sees 0 where the input was not valid, as it does in data.
        """
        needs, outputs = self.terms.needs, {}
        if needs("z_tilde") or needs("x_hat"):
            outputs["z_tilde"] = self._run(self.encoder, x.data)
        if needs("x_hat"):
            outputs["x_hat"] = self._run(
                self.decoder, torch.where(x.valid, outputs["z_tilde"], 0.0)
            )
        if needs("x_tilde") or needs("z_hat"):
            outputs["x_tilde"] = self._run(self.decoder, z.data)
        if needs("z_hat"):
            outputs["z_hat"] = self._run(
                self.encoder, torch.where(z.valid, outputs["x_tilde"], 0.0)
            )
        return outputs

    # ------------------------------------------------------------------------------ critics

    def _contest(self, name: str, output: Tensor, z: _Side, x: _Side, paired: Tensor) -> _Contest:
        """Real and fake as the critic sees them.

        Where a pair is known both wear the same mask, so that holes which one telescope has and
        the other has not are no clue.
        """
        own, other = (z, x) if SPACE[name] == "z" else (x, z)
        if name.endswith("_hat"):
            return _Contest(own, _side(output, own.valid), None)
        if self.terms.is_conditional(name):
            valid = own.valid & other.valid & paired
            condition = torch.where(valid, other.data, 0.0)
            return _Contest(_side(own.data, valid), _side(output, valid), condition)
        real = _side(own.data, own.valid & (other.valid | ~paired))
        return _Contest(real, _side(output, other.valid & (own.valid | ~paired)), None)

    def _critic(self, name: str) -> nn.Module:
        return self.critics[self.terms.critic_of(name)]

    def _judge_generator(self, ledger: Ledger, name: str, contest: _Contest) -> None:
        fake = contest.fake
        scores = frozen_scores(self._critic(name), fake.data, contest.condition)
        for score in scores:
            weights = cell_weights(fake.valid, score)
            total = MODES[self.terms.adversarial].generator(score) * weights
            ledger.add(
                f"D/{name}",
                "generator",
                self.terms.marginal[name],
                total,
                weights,
                share=1 / len(scores),
            )

    def _judge_critic(self, ledger: Ledger, name: str, contest: _Contest) -> None:
        critic, mode = self._critic(name), MODES[self.terms.adversarial]
        real, fake, condition = contest
        fake = _side(fake.data.detach(), fake.valid)
        conditions = None if condition is None else (condition, condition)  # of real, of fake
        if self.terms.pool:
            sample = fake if conditions is None else (*fake, conditions[1])
            data, valid, *rest = self.pools[name].exchange(sample, fake.valid.flatten(1).any(1))
            fake = _Side(data, valid)
            conditions = None if conditions is None else (conditions[0], rest[0])

        valid = torch.cat([real.valid, fake.valid])
        scores = _scores_of_both(critic, real.data, fake.data, conditions)
        for score in scores:
            weights = cell_weights(valid, score).chunk(2)
            for cells, part, weight in zip(
                (mode.real, mode.fake), score.chunk(2), weights, strict=True
            ):
                ledger.add(
                    f"critic/{name}", "critic", 1.0, cells(part) * weight, weight, 1 / len(scores)
                )
        if mode.penalised and self.terms.gradient_penalty:
            shared = real.valid & fake.valid
            penalty = gradient_penalty(critic, real.data, fake.data, shared, conditions)
            ledger.add(f"penalty/{name}", "critic", self.terms.gradient_penalty, *penalty)
        if self.terms.r1:
            penalty = r1_penalty(critic, real.data, real.valid, condition)
            ledger.add(f"r1/{name}", "critic", self.terms.r1, *penalty)

    # ------------------------------------------------------------------- parameters, state

    def critic_parameters(self) -> list[nn.Parameter]:
        """Parameters of all critics, for their optimiser; empty without marginal terms."""
        return list(self.critics.parameters())

    def state_beside(self) -> dict[str, Tensor]:
        """This process's image pools as a flat dictionary of tensors; empty without pools."""
        return {
            f"{name}.{key}": tensor
            for name, pool in self.pools.items()
            if pool.size
            for key, tensor in pool.state_dict().items()
        }

    def load_state_beside(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state_beside`` of the same process gave."""
        device = next(self.parameters()).device
        for name, pool in self.pools.items():
            if pool.size:
                prefix = f"{name}."
                own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
                pool.load_state_dict(own, device)
