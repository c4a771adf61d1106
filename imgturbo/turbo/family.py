"""A row of the family: a published model as a point in the space of the eight terms."""

from __future__ import annotations

from dataclasses import dataclass

from imgturbo.turbo.terms import OUTPUTS, Terms

__all__ = ["Preset", "critics", "divergences", "lengths", "weights"]


@dataclass(frozen=True)
class Preset:
    """One model of the literature: its terms, and what its two spaces are.

    Attributes:
        about: which of the eight terms it has and why, and where it differs from its paper.
        paper: where it is from.
        z, x: what the two spaces hold.
        terms: its weights, distances, divergences and options.
        critic_steps: updates of the critics in a step.
    """

    about: str
    paper: str
    z: str
    x: str
    terms: Terms
    critic_steps: int = 1


def weights(**given: float) -> dict[str, float]:
    """Of the paired terms; 0 where none is given."""
    return {name: given.get(name, 0.0) for name in OUTPUTS}


def lengths(**given: dict[str, float]) -> dict[str, dict[str, float]]:
    """The distances of the paired terms; ℓ1 where none is given."""
    return {name: given.get(name, {"l1": 1.0}) for name in OUTPUTS}


def divergences(**given: dict[str, float]) -> dict[str, dict[str, float]]:
    """The mixes of the marginal terms; nothing where none is given."""
    return {name: given.get(name, {}) for name in OUTPUTS}


def critics(**given: float) -> dict[str, dict[str, float]]:
    """Marginal terms each of which is a critic's alone."""
    return divergences(**{name: {"critic": weight} for name, weight in given.items()})
