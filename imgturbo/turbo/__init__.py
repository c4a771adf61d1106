"""The eight-term objective of TURBO: distances, critics' losses, presets, image pools."""

from __future__ import annotations

from imgturbo.losses import Losses
from imgturbo.turbo.build import build_objective
from imgturbo.turbo.objective import Objective
from imgturbo.turbo.pool import ImagePool
from imgturbo.turbo.presets import OUTPUTS, PRESETS, SPACE, Terms, resolve

__all__ = [
    "OUTPUTS",
    "PRESETS",
    "SPACE",
    "ImagePool",
    "Losses",
    "Objective",
    "Terms",
    "build_objective",
    "resolve",
]
