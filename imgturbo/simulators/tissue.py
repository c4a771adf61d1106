r"""What colour tissue has, given its blood: a toy with the physics of multispectral imaging.

Light of wavelength λ is absorbed by blood and scattered by everything,

    μ_a = ln 10 · c v [s ε_HbO₂(λ) + (1 − s) ε_Hb(λ)]          μ_s' = a (λ/500 nm)^{−b}

(s the share of haemoglobin that carries oxygen, v the share of the volume that is blood, c = 150
g/l over 64 500 g/mol), and a half-space sends back

    R = α'/(1 + 2k(1 − α') + (1 + 2k/3) √(3(1 − α'))),    α' = μ_s'/(μ_a + μ_s'),    k = 2.95

of it (Flock et al. 1989, doi:10.1109/TBME.1989.1173624, of an index of refraction of 1.4). Observed
are ln(i R) + 0.02 ε in eight bands, the lamp's brightness i being unknown too. Extinctions ε are
those of S. Prahl's tabulation, in 1/(cm M). Prior: s ~ U(0, 1), v ~ LogN(ln 0.03, 0.6),
a ~ LogN(ln 20/cm, 0.3), b ~ U(0.3, 3), i ~ LogN(0, 0.2). A single layer: like the problem of
Ardizzone et al. 2018 (arXiv:1808.04730, section 4.3), whose layered tissue is not public, not it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from imgturbo.config.section import Section
from imgturbo.side import Side
from imgturbo.simulators.priors import LogNormal, Uniform, draw_all, side_of
from imgturbo.simulators.simulator import Simulator
from imgturbo.sky.stretch import Stretch

__all__ = ["Tissue", "TissueOptions"]

Floats = NDArray[np.float64]

_WAVELENGTHS = np.array([500.0, 520.0, 540.0, 560.0, 580.0, 600.0, 620.0, 660.0])
_OXYGENATED = np.array([20933.0, 24202.0, 53236.0, 32613.0, 50104.0, 3200.0, 942.0, 320.0])
_DEOXYGENATED = np.array([20862.0, 31590.0, 46592.0, 53788.0, 37020.0, 14677.0, 6510.0, 3227.0])
_MOLAR = math.log(10) * 150 / 64_500
_K = 2.95
_NAMES = ("sO2", "blood", "scattering", "power", "lamp")


class TissueOptions(Section):
    """Of the camera."""

    noise: float = Field(0.02, gt=0)
    """Standard deviation of each band's ln R, about the relative error of its brightness."""


class Tissue(Simulator):
    """Observes the spectrum of blood in tissue.

    Args:
        noise: of ln R.
    """

    name = "tissue"
    Options = TissueOptions
    options: TissueOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._priors = [
            Uniform(0.0, 1.0),
            LogNormal(0.03, 0.6),
            LogNormal(20.0, 0.3),
            Uniform(0.3, 3.0),
            LogNormal(1.0, 0.2),
        ]
        self.parameters = side_of(_NAMES, self._priors, {"scattering": "1/cm"})
        seen = self.draw(np.random.default_rng(0), 8192)[1]
        names = tuple(f"R{wavelength:.0f}" for wavelength in _WAVELENGTHS)
        stretch = Stretch.standardising(seen.T, digits=2)
        self.observations = Side(names, "", stretch, kind="table")

    def prior(self, generator: np.random.Generator, n: int) -> Floats:
        """sO2, blood, scattering (1/cm), power and lamp, (n, 5)."""
        return draw_all(self._priors, generator, n)

    def observe(self, generator: np.random.Generator, parameters: Floats) -> Floats:
        """ln(i R) + noise, (n, 8)."""
        exact = np.log(parameters[:, 4:] * reflectance(parameters))
        return exact + self.options.noise * generator.standard_normal(exact.shape)


def reflectance(parameters: Floats) -> Floats:
    """R, (n, 8), of sO2, blood, scattering and power, (n, 4 or more)."""
    s, v, a, b = parameters.T[:4, :, None]
    absorption = _MOLAR * v * (s * _OXYGENATED + (1 - s) * _DEOXYGENATED)
    scattering = a * (_WAVELENGTHS / 500.0) ** -b
    albedo = scattering / (absorption + scattering)
    root = np.sqrt(3 * (1 - albedo))
    return np.asarray(albedo / (1 + 2 * _K * (1 - albedo) + (1 + 2 * _K / 3) * root))
