"""How a translation is computed: one list of settings for files, images in memory and the terminal.

What a caller writes as keyword arguments, ``bundle.translate(sky, samples=32, window=512)``, is
checked against :class:`Settings`, which has the defaults. The two dictionaries are the same lists
for type checkers and editors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import torch

__all__ = ["Computing", "Settings", "SettingsDict"]


class Computing(TypedDict, total=False):
    """Settings of time and memory, which change a result by rounding alone."""

    window: int | None
    overlap: int | None
    batch: int | None
    device: str | torch.device | None
    precision: str


class SettingsDict(Computing, total=False):
    """All settings as keyword arguments: those of :class:`Settings`, none of them required."""

    samples: int | None
    seed: int
    temperature: float
    quantiles: tuple[float, ...]
    raw_quantiles: bool
    keep_draws: bool
    ensemble: str
    match_sky: bool


@dataclass(frozen=True)
class Settings:
    """How to compute a translation, and how many draws of it; a name not in this list is an error.

    Raises:
        TypeError: a setting that there is not, by its name.
    """

    samples: int | None = None
    """Draws of a stochastic network; None: its one output without noise (ε = 0)."""

    window: int | None = None
    """Side of what the network sees at once, in pixels; None: what suits the memory."""

    overlap: int | None = None
    """Pixels shared by neighbouring windows; None: twice the receptive field, which is exact; less
    is blended."""

    batch: int | None = None
    """Windows that go through the network together; None: what suits the memory."""

    device: str | torch.device | None = None
    """Where the network runs; None: the first CUDA device, else the CPU."""

    precision: str = "no"
    """``"no"`` for float32, ``"bf16"`` for automatic mixed precision."""

    seed: int = 0
    """Of the draws: draw n is a function of the seed and of n."""

    temperature: float = 1.0
    """Of the draws: 1 is the model's own spread, 0 none."""

    quantiles: tuple[float, ...] = ()
    """Levels between 0 and 1 of the draws' quantiles to give."""

    raw_quantiles: bool = False
    """Give the draws' own quantiles, where the bundle has calibrated intervals too."""

    keep_draws: bool = False
    """Give each draw by itself too."""

    ensemble: str = "none"
    """A group of symmetries to average over: ``"mirror"``, ``"flips"``, ``"d4"``; or ``"none"``."""

    match_sky: bool = False
    """Bring the level of the image's sky to that of the training sky, band by band, first."""
