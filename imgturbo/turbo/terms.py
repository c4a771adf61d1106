"""The terms of the objective, every choice explicit: which, with what weight, measured how.

Each output û ∈ {z̃, x̂, x̃, ẑ} may have a paired term L(u, û) = Σ_i w_i d_i of named distances, and
a marginal term D(û) = Σ_i δ_i D_i of named divergences. ``presets`` has the papers as points in
this space and makes terms of a config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["OUTPUTS", "SPACE", "Mixes", "Terms"]

OUTPUTS = ("z_tilde", "x_hat", "x_tilde", "z_hat")
SPACE: dict[str, Literal["z", "x"]] = {"z_tilde": "z", "x_hat": "x", "x_tilde": "x", "z_hat": "z"}
"""The space an output lives in."""


Mixes = Mapping[str, Mapping[str, float]]
"""For each output the names that its term is a mix of, and their weights."""


def _nothing() -> dict[str, float]:
    return dict.fromkeys(OUTPUTS, 0.0)


@dataclass(frozen=True)
class Terms:
    """Every choice of the objective made explicit; nothing is left to a default elsewhere.

    Attributes:
        paired: weight of L for each output.
        marginal: for each output the divergences in D (keys of ``divergences.DIVERGENCES``) and
            their weights in the generators' loss. A critic's own loss is not weighted.
        identity: weights of ‖decoder(x) − x‖₁ (``x``) and ‖encoder(z) − z‖₁ (``z``).
        distance: for each output the distances in L and their weights.
        adversarial: a key of ``adversarial.MODES``.
        conditional: the critics of z̃ and x̃ see the network's input too, and then judge pairs.
            Those of x̂ and ẑ never do: the input of the cycle is its answer.
        shared_critics: one critic a space instead of one an output.
        pool: how many past fakes each critic remembers.
        gradient_penalty: λ of wgan-gp.
        r1: γ of ½γ‖∇D‖² on real samples; what D is of a score map says ``adversarial``.
        signal: κ of the weights that keep the black sky from ruling (see ``distances``).
        mmd_scales: h of the kernels of ``mmd`` (see ``mmd``).
        slices: directions of ``sliced`` (see ``sliced``).
        reduction: whether L is the mean over the entries of all samples, or each sample's sum, as
            of a log-likelihood.
        detach: whether the divergences of x̂ and ẑ train the map that made them alone, and not the
            one before (VAE/GAN).
    """

    paired: Mapping[str, float] = field(default_factory=_nothing)
    marginal: Mixes = field(default_factory=lambda: {name: {} for name in OUTPUTS})
    identity: Mapping[str, float] = field(default_factory=lambda: {"x": 0.0, "z": 0.0})
    distance: Mixes = field(default_factory=lambda: {name: {"l1": 1.0} for name in OUTPUTS})
    adversarial: str = "lsgan"
    conditional: bool = False
    shared_critics: bool = False
    pool: int = 0
    gradient_penalty: float = 10.0
    r1: float = 0.0
    signal: float = 0.0
    mmd_scales: tuple[float, ...] = (0.05, 0.2, 0.9)
    slices: int = 128
    reduction: Literal["mean", "sum"] = "mean"
    detach: bool = False

    def divergences(self, output: str) -> dict[str, float]:
        """The divergences that judge this output, with their weights; zeros are left out."""
        return {name: weight for name, weight in self.marginal[output].items() if weight}

    def needs(self, output: str) -> bool:
        """Whether this output must be computed for a term of its own."""
        return bool(self.paired[output] or self.divergences(output))

    @property
    def needs_encoder(self) -> bool:
        """Whether some term depends on the encoder."""
        return any(map(self.needs, ("z_tilde", "x_hat", "z_hat"))) or bool(self.identity["z"])

    @property
    def needs_decoder(self) -> bool:
        """Whether some term depends on the decoder."""
        return any(map(self.needs, ("x_tilde", "x_hat", "z_hat"))) or bool(self.identity["x"])

    def is_conditional(self, output: str) -> bool:
        """Whether the critic of this output sees the network's input."""
        return self.conditional and output.endswith("_tilde")

    def critic_of(self, output: str) -> str:
        """The name of the critic that judges this output."""
        return SPACE[output] if self.shared_critics else output

    @property
    def critics(self) -> dict[str, str]:
        """Names of the critics in use, each with one output that it judges."""
        judged = [name for name in OUTPUTS if "critic" in self.divergences(name)]
        return {self.critic_of(name): name for name in judged}
