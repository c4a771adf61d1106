"""The eight-term objective of TURBO: distances, divergences, critics' losses, presets, pools."""

from __future__ import annotations

from imgturbo.losses import Losses
from imgturbo.turbo.build import build_objective
from imgturbo.turbo.divergences import DIVERGENCES, Divergence
from imgturbo.turbo.objective import Objective
from imgturbo.turbo.pool import ImagePool
from imgturbo.turbo.presets import PRESETS, resolve
from imgturbo.turbo.terms import OUTPUTS, SPACE, Terms

__all__ = [
    "DIVERGENCES",
    "OUTPUTS",
    "PRESETS",
    "SPACE",
    "Divergence",
    "ImagePool",
    "Losses",
    "Objective",
    "Terms",
    "build_objective",
    "resolve",
]
