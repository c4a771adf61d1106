"""The eight weights, and the papers as points among them.

z = source (Hubble), x = target (Webb); q_φ(z | x) is the encoder, p_θ(x | z) the decoder.
Turbo-Sim (Quétant et al. 2021, arXiv:2112.10629) minimises

    L^Direct  = L(z, z̃) + D(z̃) + α [L(x, x̂) + D(x̂)]                                        (4)
    L^Reverse = L(x, x̃) + D(x̃) + β [L(z, ẑ) + D(ẑ)]                                        (7)
    L^Turbo   = L^Direct + γ L^Reverse                                                     (8)

and since every L also has the λ of its exponential likelihood, all eight weights are free. They
are written out one by one: ``paired`` the Ls, ``marginal`` the Ds.

A published model is a row of such weights: ``turbo_side`` and ``bottleneck_side`` hold them, each
with what it leaves out and why. ``custom`` has none: the user says what.

L(x̂) and L(ẑ) compare an output with the network's own input and need no pairs; L(z̃) and L(x̃) do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, TypeVar

from imgturbo.config import ObjectiveConfig
from imgturbo.errors import ImgturboError
from imgturbo.turbo.bottleneck_side import BOTTLENECK_SIDE
from imgturbo.turbo.divergences import DIVERGENCES
from imgturbo.turbo.family import Preset
from imgturbo.turbo.terms import OUTPUTS, Terms
from imgturbo.turbo.turbo_side import TURBO_SIDE

__all__ = ["PRESETS", "resolve"]

T = TypeVar("T")


PRESETS: dict[str, Preset] = {
    "custom": Preset(
        about="None of the terms: a config gives the weights that it wants.",
        paper="",
        z="anything",
        x="anything",
        terms=Terms(),
    ),
    **TURBO_SIDE,
    **BOTTLENECK_SIDE,
}
"""What ``objective.preset`` may be with the eight terms, in the order in which they are listed."""


def _merged(preset: Mapping[str, T], user: Mapping[Any, Any]) -> dict[str, T]:
    return {**preset, **user}


def _or(asked: T | None, otherwise: T) -> T:
    return otherwise if asked is None else asked


def _explicit(term: float | Mapping[str, float]) -> dict[str, float]:
    """A marginal term as a mix of divergences: a bare number is the weight of a critic."""
    return dict(term) if isinstance(term, Mapping) else {"critic": term}


def resolve(config: ObjectiveConfig) -> Terms:
    """The preset with the user's changes, every weight explicit.

    Raises:
        ImgturboError: a weight that is negative or not finite, no weight at all, a divergence
            that there is not, or conditional critics that would have to be shared with
            unconditional ones.
    """
    preset = PRESETS[config.preset or "turbo"].terms
    terms = replace(
        preset,
        paired=_merged(preset.paired, config.paired),
        marginal=_merged(preset.marginal, {o: _explicit(d) for o, d in config.marginal.items()}),
        identity=_merged(preset.identity, config.identity),
        distance=_merged(preset.distance, config.distance),
        adversarial=config.adversarial or preset.adversarial,
        conditional=_or(config.conditional, preset.conditional),
        shared_critics=_or(config.shared_critics, preset.shared_critics),
        pool=_or(config.pool, preset.pool),
        gradient_penalty=config.gradient_penalty,
        r1=_or(config.r1, preset.r1),
        signal=config.signal,
        mmd_scales=tuple(config.mmd_scales),
        slices=config.slices,
        reduction=config.reduction or preset.reduction,
        detach=_or(config.detach, preset.detach),
    )
    _check_weights(config)
    if not (terms.needs_encoder or terms.needs_decoder):
        raise ImgturboError(
            "objective: all weights are 0, nothing would be trained; "
            "give objective.paired or objective.marginal, or choose a preset"
        )
    judged = {name for name in OUTPUTS if "critic" in terms.divergences(name)}
    for tilde, hat in (("x_tilde", "x_hat"), ("z_tilde", "z_hat")):
        if terms.conditional and terms.shared_critics and {tilde, hat} <= judged:
            raise ImgturboError(
                f"objective: the critic of {tilde} is conditional and cannot be shared with "
                f"{hat}; set conditional or shared_critics to false"
            )
    return terms


def _check_weights(config: ObjectiveConfig) -> None:
    """Refuse weights that are negative or not finite, and divergences that there are not."""
    weights = {f"paired.{name}": weight for name, weight in config.paired.items()}
    weights |= {f"identity.{name}": weight for name, weight in config.identity.items()}
    for output, term in config.marginal.items():
        if not isinstance(term, Mapping):
            weights[f"marginal.{output}"] = term
            continue
        weights |= {f"marginal.{output}.{name}": weight for name, weight in term.items()}
        for name in term:
            if name not in DIVERGENCES:
                near = get_close_matches(name, DIVERGENCES, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"take {', '.join(DIVERGENCES)}"
                raise ImgturboError(f"objective.marginal.{output}: no divergence {name!r}; {hint}")
    for key, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ImgturboError(f"objective.{key} = {weight}; weights are finite and not negative")
