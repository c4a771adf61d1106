r"""Eight Gaussian modes on a ring, of which a label tells all, something or nothing.

    x ~ ⅛ Σ_k N(c_k, σ² 1),    c_k = (±1, ±(1 + √2)) and (±(1 + √2), ±1),    σ = 0.2

    p(k | x) ∝ exp(−‖x − c_k‖²/2σ²),       observed: the label of k, one column a label, 1 or 0

so that given a label x is the mixture of its modes alone, with equal weights: a posterior in closed
form. ``all``: eight labels; ``some``: modes 0 1 2 3 | 4 5 | 6 | 7; ``none``: one label for all, of
which nothing is learnt (Ardizzone et al. 2018, arXiv:1808.04730, section 4.1).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imgturbo.config.section import Section
from imgturbo.side import Side
from imgturbo.simulators.simulator import Simulator
from imgturbo.sky.stretch import Stretch

__all__ = ["Mixture", "MixtureOptions"]

Floats = NDArray[np.float64]

_FAR = 1 + np.sqrt(2)
_CENTRES = np.array(
    [(-_FAR, 1), (-1, _FAR), (1, _FAR), (_FAR, 1), (_FAR, -1), (1, -_FAR), (-1, -_FAR), (-_FAR, -1)]
)
_LABELS = {"all": (0, 1, 2, 3, 4, 5, 6, 7), "some": (0, 0, 0, 0, 1, 1, 2, 3), "none": (0,) * 8}
_SIGMA = 0.2


class MixtureOptions(Section):
    """How much a label tells."""

    labels: Literal["all", "some", "none"] = "all"
    """One label a mode (all), four labels (some), or the same one for all modes (none)."""


class Mixture(Simulator):
    """Observes from which modes a point may come.

    Args:
        labels: ``"all"``, ``"some"`` or ``"none"``.

    Attributes:
        centres: of the modes, (8, 2).
        label_of: of each mode, (8,).
        sigma: of each mode.
    """

    name = "mixture"
    Options = MixtureOptions
    modes = tuple(f"mode{k}" for k in range(len(_CENTRES)))
    options: MixtureOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.centres, self.sigma = _CENTRES, _SIGMA
        self.label_of = np.array(_LABELS[self.options.labels])
        width = float(np.sqrt((_CENTRES**2).mean() + _SIGMA**2))
        stretch = Stretch(np.zeros(2), np.full(2, np.inf), np.full(2, width))
        self.parameters = Side(("x1", "x2"), "", stretch, kind="table")
        count = int(self.label_of.max()) + 1
        names = tuple(f"label{k}" for k in range(count))
        self.observations = Side(names, "", Stretch.linear(count), kind="table")

    def prior(self, generator: np.random.Generator, n: int) -> Floats:
        """x, (n, 2)."""
        modes = generator.integers(0, len(_CENTRES), n)
        return _CENTRES[modes] + _SIGMA * generator.standard_normal((n, 2))

    def observe(self, generator: np.random.Generator, parameters: Floats) -> Floats:
        """The label, (n, 1, 4 or 8), of a mode that is drawn from p(k | x)."""
        distance = ((parameters[:, None] - _CENTRES) ** 2).sum(-1)
        # The largest of log-weights with Gumbel noise is a draw by the weights.
        chance = generator.gumbel(size=distance.shape)
        modes = np.argmax(chance - distance / (2 * _SIGMA**2), 1)
        return np.eye(len(self.observations))[self.label_of[modes]]

    def mode(self, parameters: Floats) -> NDArray[np.int64]:
        """The nearest centre, (n,)."""
        return ((parameters[:, None] - _CENTRES) ** 2).sum(-1).argmin(1)

    def posterior(self, observations: Floats) -> Floats:
        """Weights of the eight modes given labels: (n, 8), equal for the modes of the label."""
        mine = (self.label_of == np.argmax(observations, 1)[:, None]).astype(np.float64)
        return mine / mine.sum(1, keepdims=True)

    def exact_draws(self, generator: np.random.Generator, observations: Floats, n: int) -> Floats:
        """Points of the label's modes, (M, n, 2)."""
        weights = np.cumsum(self.posterior(observations), 1)
        modes = (generator.random((len(weights), n, 1)) > weights[:, None, :-1]).sum(2)
        return _CENTRES[modes] + _SIGMA * generator.standard_normal((*modes.shape, 2))
