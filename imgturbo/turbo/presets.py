"""The eight weights, and the papers as points among them.

z = source (Hubble), x = target (Webb); q_φ(z | x) is the encoder, p_θ(x | z) the decoder.
Turbo-Sim (Quétant et al. 2021, arXiv:2112.10629) minimises

    L^Direct  = L(z, z̃) + D(z̃) + α [L(x, x̂) + D(x̂)]                                        (4)
    L^Reverse = L(x, x̃) + D(x̃) + β [L(z, ẑ) + D(ẑ)]                                        (7)
    L^Turbo   = L^Direct + γ L^Reverse                                                     (8)

and since every L also has the λ of its exponential likelihood, all eight weights are free. They
are written out here one by one: ``paired`` the Ls, ``marginal`` the Ds.

    turbo       all eight; L(z̃) = L(x̃) = 10, L(x̂) = L(ẑ) = 1, every D = 1
    pix2pix     L(x̃) = 100, D(x̃) = 1, the critic conditional on z, vanilla (arXiv:1611.07004)
    cyclegan    L(x̂) = L(ẑ) = 10, D(z̃) = D(x̃) = 1, identity 5 + 5, lsgan, a pool of 50
                (arXiv:1703.10593)
    one_cycle   the reverse path alone: L(x̃), D(x̃), L(ẑ), D(ẑ), weights as in turbo
    custom      nothing: the user says what

The cycles of ``turbo`` are light on purpose. What z lacks, x̃ must invent, and what it invents a
faithful cycle must be able to undo: with L(x̂) = L(ẑ) = 10 as well the pair hides the input's noise
in its outputs instead of denoising (on a small simulated pair the mean squared error of x̃ was
0.021 with 10, 0.013 with 1, 0.011 with neither cycles nor critics).

L(x̂) and L(ẑ) compare an output with the network's own input and need no pairs; L(z̃) and L(x̃) do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from imgturbo.config import ObjectiveConfig
from imgturbo.errors import ImgturboError

__all__ = ["OUTPUTS", "PRESETS", "SPACE", "Terms", "resolve"]

OUTPUTS = ("z_tilde", "x_hat", "x_tilde", "z_hat")
SPACE = {"z_tilde": "z", "x_hat": "x", "x_tilde": "x", "z_hat": "z"}
"""The space an output lives in."""


def _outputs(**weights: float) -> dict[str, float]:
    return {name: weights.get(name, 0.0) for name in OUTPUTS}


@dataclass(frozen=True)
class Terms:
    """Every choice of the objective made explicit; nothing is left to a default elsewhere.

    Attributes:
        paired: weight of L for each output.
        marginal: weight of D for each output, in the generators' loss. A critic's own loss is
            not weighted.
        identity: weights of ‖decoder(x) − x‖₁ (``x``) and ‖encoder(z) − z‖₁ (``z``).
        distance: for each output the distances in L and their weights.
        adversarial: a key of ``adversarial.MODES``.
        conditional: the critics of z̃ and x̃ see the network's input too, and then judge pairs.
            Those of x̂ and ẑ never do: the input of the cycle is its answer.
        shared_critics: one critic a space instead of one an output.
        pool: how many past fakes each critic remembers.
        gradient_penalty: λ of wgan-gp.
        r1: γ of ½γ‖∇D‖² on real samples.
        signal: κ of the weights that keep the black sky from ruling (see ``distances``).
    """

    paired: Mapping[str, float] = field(default_factory=_outputs)
    marginal: Mapping[str, float] = field(default_factory=_outputs)
    identity: Mapping[str, float] = field(default_factory=lambda: {"x": 0.0, "z": 0.0})
    distance: Mapping[str, Mapping[str, float]] = field(
        default_factory=lambda: {name: {"l1": 1.0} for name in OUTPUTS}
    )
    adversarial: str = "lsgan"
    conditional: bool = False
    shared_critics: bool = False
    pool: int = 0
    gradient_penalty: float = 10.0
    r1: float = 0.0
    signal: float = 0.0

    def needs(self, output: str) -> bool:
        """Whether this output must be computed for a term of its own."""
        return bool(self.paired[output] or self.marginal[output])

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
        return {self.critic_of(name): name for name in OUTPUTS if self.marginal[name]}


PRESETS: dict[str, Terms] = {
    "custom": Terms(),
    "turbo": Terms(
        paired=_outputs(z_tilde=10, x_hat=1, x_tilde=10, z_hat=1),
        marginal=_outputs(z_tilde=1, x_hat=1, x_tilde=1, z_hat=1),
    ),
    "pix2pix": Terms(
        paired=_outputs(x_tilde=100),
        marginal=_outputs(x_tilde=1),
        adversarial="vanilla",
        conditional=True,
    ),
    "cyclegan": Terms(
        paired=_outputs(x_hat=10, z_hat=10),
        marginal=_outputs(z_tilde=1, x_tilde=1),
        identity={"x": 5.0, "z": 5.0},
        pool=50,
    ),
    "one_cycle": Terms(
        paired=_outputs(x_tilde=10, z_hat=1),
        marginal=_outputs(x_tilde=1, z_hat=1),
    ),
}


def _merged(preset: Mapping[str, Any], user: Mapping[Any, Any]) -> dict[str, Any]:
    return {**preset, **user}


def resolve(config: ObjectiveConfig) -> Terms:
    """The preset with the user's changes, every weight explicit.

    Raises:
        ImgturboError: a weight that is negative or not finite, no weight at all, or conditional
            critics that would have to be shared with unconditional ones.
    """
    preset = PRESETS[config.preset or "turbo"]
    terms = replace(
        preset,
        paired=_merged(preset.paired, config.paired),
        marginal=_merged(preset.marginal, config.marginal),
        identity=_merged(preset.identity, config.identity),
        distance=_merged(preset.distance, config.distance),
        adversarial=config.adversarial or preset.adversarial,
        conditional=preset.conditional if config.conditional is None else config.conditional,
        shared_critics=config.shared_critics,
        pool=preset.pool if config.pool is None else config.pool,
        gradient_penalty=config.gradient_penalty,
        r1=config.r1,
        signal=config.signal,
    )
    for section in ("paired", "marginal", "identity"):
        for name, weight in getattr(terms, section).items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ImgturboError(
                    f"objective.{section}.{name} = {weight}; weights are finite and not negative"
                )
    if not (terms.needs_encoder or terms.needs_decoder):
        raise ImgturboError(
            "objective: all weights are 0, nothing would be trained; "
            "give objective.paired or objective.marginal, or choose a preset"
        )
    judged = {name for name in OUTPUTS if terms.marginal[name]}
    for tilde, hat in (("x_tilde", "x_hat"), ("z_tilde", "z_hat")):
        if terms.conditional and terms.shared_critics and {tilde, hat} <= judged:
            raise ImgturboError(
                f"objective: the critic of {tilde} is conditional and cannot be shared with "
                f"{hat}; set conditional or shared_critics to false"
            )
    return terms
