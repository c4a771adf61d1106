"""Marginal terms D: a critic D compares the distribution of outputs with that of data.

KL(p ‖ q) is not computable from samples; the game with a critic replaces it. With real u ~ p,
fake û ~ q, the losses on one score are

    mode      critic, real       critic, fake      generator         source (arXiv)
    vanilla   ½ softplus(−D(u))  ½ softplus(D(û))  softplus(−D(û))   1406.2661, 1611.07004
    lsgan     ½ (D(u) − 1)²      ½ D(û)²           (D(û) − 1)²       1611.04076, 1703.10593
    hinge     max(0, 1 − D(u))   max(0, 1 + D(û))  −D(û)             1705.02894, 1802.05957
    wgan-gp   −D(u)              D(û)              −D(û)             1704.00028

The ½ is the one pix2pix and CycleGAN train their critics with; vanilla is the non-saturating form.
Scores are maps, a list of them, one a scale; a cell counts by the fraction w_c of its share of the
input that is valid. Both penalties need one number a sample. With K scales it is

    D(u) = 1/K Σ_k Σ_c w_c D_kc(u) / √(Σ_c w_c)

A cell sees a patch of its own, so the squared slope of the sum grows with the number of cells, and
that of D is the slope of a patch: the same on tiles of any size and with any share of holes, but
for patches that the border cuts. (The mean's falls with the tile's area.) With one score a sample,
a row of a table, D is the score itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

__all__ = [
    "MODES",
    "Mode",
    "cell_weights",
    "frozen_scores",
    "gradient_penalty",
    "in_precision_of",
    "r1_penalty",
]

Cells = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Mode:
    """The three losses of one score, each elementwise on a score map."""

    real: Cells
    fake: Cells
    generator: Cells
    penalised: bool = False  # ‖∇D‖ is driven to 1 on the way from real to fake


MODES: dict[str, Mode] = {
    "vanilla": Mode(
        real=lambda score: 0.5 * F.softplus(-score),
        fake=lambda score: 0.5 * F.softplus(score),
        generator=lambda score: F.softplus(-score),
    ),
    "lsgan": Mode(
        real=lambda score: 0.5 * (score - 1).square(),
        fake=lambda score: 0.5 * score.square(),
        generator=lambda score: (score - 1).square(),
    ),
    "hinge": Mode(
        real=lambda score: F.relu(1 - score),
        fake=lambda score: F.relu(1 + score),
        generator=lambda score: -score,
    ),
    "wgan-gp": Mode(
        real=lambda score: -score,
        fake=lambda score: score,
        generator=lambda score: -score,
        penalised=True,
    ),
}


def cell_weights(valid: Tensor, score: Tensor) -> Tensor:
    """How much each cell of a score map counts: the valid fraction of its share of the input.

    Args:
        valid: (B, 1, H, W) or (B, 1) bool.
        score: (B, 1, h, w) or (B, 1), the critic's answer to an input masked by ``valid``.

    Returns:
        Weights in [0, 1] of the shape of ``score``.
    """
    weights = valid.to(score.dtype)
    if score.ndim == 4:
        weights = F.adaptive_avg_pool2d(weights, (score.shape[-2], score.shape[-1]))
    return weights.expand_as(score)


def frozen_scores(
    critic: nn.Module, fake: Tensor, condition: Tensor | None, features: bool = False
) -> list[Tensor]:
    """The critic's scores with its parameters held constant: gradients reach ``fake`` only.

    With ``features`` what its last layer reads, in the place of the scores. Buffers are copies, so
    that the power iteration of spectral normalisation advances in the critic's own pass alone, once
    a step.
    """
    state = {name: parameter.detach() for name, parameter in critic.named_parameters()}
    state |= {name: buffer.clone() for name, buffer in critic.named_buffers()}
    more = {"features": True} if features else {}
    return in_precision_of(fake, functional_call(critic, state, (fake, condition), more))


def in_precision_of(u: Tensor, scores: Sequence[Tensor]) -> list[Tensor]:
    """Scores in the type of the critic's input: under autocast they come in half precision."""
    return [score.to(u.dtype) for score in scores]


def _score_of_sample(scores: Sequence[Tensor], valid: Tensor) -> Tensor:
    """D of the module's page, one number a sample (B,)."""
    found = []
    for score in scores:
        weights = cell_weights(valid, score).flatten(1)
        total = (score * weights.view_as(score)).flatten(1).sum(1)
        count = weights.sum(1)
        found.append(total * torch.where(count > 0, count, 1.0).rsqrt())
    return torch.stack(found).mean(0)


def _squared_gradient(
    critic: nn.Module, u: Tensor, condition: Tensor | None, valid: Tensor
) -> Tensor:
    """‖∇_u D(u)‖² of each sample (B,), differentiable in the critic's parameters."""
    leaf = u.detach().requires_grad_()
    scores = in_precision_of(leaf, critic(torch.where(valid, leaf, 0.0), condition))
    score = _score_of_sample(scores, valid).sum()
    (gradient,) = torch.autograd.grad(score, leaf, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def gradient_penalty(
    critic: nn.Module,
    real: Tensor,
    fake: Tensor,
    valid: Tensor,
    conditions: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """(‖∇_u D(u)‖₂ − 1)² at u = εx + (1 − ε)x̃, one ε ~ U(0, 1) a sample (arXiv:1704.00028, eq. 3).

    Args:
        critic: maps (B, C, …) and an optional condition to a list of score maps.
        real, fake: (B, C, …), masked; neither receives a gradient.
        valid: (B, 1, …) bool, where both are valid.
        conditions: those of ``real`` and of ``fake``, mixed by the same ε.

    Returns:
        The penalty of each sample (B,) and its weight (B,): 0 where nothing is valid, else 1.
    """
    epsilon = torch.rand(len(real), dtype=real.dtype, device=real.device)
    epsilon = epsilon.view(-1, *[1] * (real.ndim - 1))
    mixed = torch.lerp(fake.detach(), real.detach(), epsilon)
    condition = None if conditions is None else torch.lerp(conditions[1], conditions[0], epsilon)
    squared = _squared_gradient(critic, mixed, condition, valid)
    # √ has no derivative at 0, where a sample without valid pixels is.
    positive = squared > 0
    norm = torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)
    weight = valid.flatten(1).any(1).to(norm.dtype)
    return (norm - 1).square() * weight, weight


def r1_penalty(
    critic: nn.Module, real: Tensor, valid: Tensor, condition: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """½ ‖∇_u D(u)‖² at real u (Mescheder et al. 2018, arXiv:1801.04406, eq. 9).

    Returns:
        The penalty of each sample (B,) and its weight (B,): 0 where nothing is valid, else 1.
    """
    squared = _squared_gradient(critic, real, condition, valid)
    weight = valid.flatten(1).any(1).to(squared.dtype)
    return 0.5 * squared * weight, weight
