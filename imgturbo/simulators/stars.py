r"""What a young star looks like through filters, given its age, its mass and the dust before it.

Analytic isochrones, in solar units, of mass m and age t:

    main sequence   log L = 3.5 log m − 0.1 (log m)²,   log T = 3.762 + 0.57 log m − 0.05 (log m)²
    before it       u = t/t_K,  t_K = 30 Myr · m^−2.5:  the star still contracts,
                    log L += ⅔ log(1 + 1/u)            (Hayashi: L ∝ t^{−2/3} while T is constant)
                    log T → log T_H = 3.63 + 0.08 log m  by the weight 1/(1 + (2 u)⁶)
    after it        v = t/t_M,  t_M = 10 Gyr · m^−2.5:  log L += 0.35 v²,  log T −= 0.06 v²
    dead            v > 1: nothing is observed, and the prior draws again

with logarithms to base 10 and L = R² T⁴. A band of wavelength λ sees a black body, in magnitudes
against one of 9600 K with the radius of Vega, at the distance modulus μ, through dust of
A_λ = A_V (λ/0.55 µm)^{−1.3}:

    m_λ = 0.58 + μ − 2.5 log₁₀ [R²/R_V² · B_λ(T)/B_λ(9600 K)] + A_λ + σ ε

Bands: V and I, or the five of LEGUS. In V and I a star that still contracts and a more
massive one on the main sequence, reddened by dust, are the same point: the posterior has two modes.
Prior: log t ~ U(5.7, 8.5), log m ~ U(−0.7, 1.5), A_V ~ Gamma(2, 0.5).

``isochrones: B`` is another star model (contraction 1.6 times faster, T_H hotter by 0.03 dex, less
luminous by 0.05 dex): what was trained on A and is asked about B meets a model mismatch, as the
cINN of Ksoll et al. 2020 (arXiv:2007.08391) did on synthetic stars of other libraries.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from imgturbo.config.section import Section
from imgturbo.side import Side
from imgturbo.simulators.priors import Gamma, Uniform, draw_all, side_of
from imgturbo.simulators.simulator import Simulator
from imgturbo.sky.stretch import Stretch

__all__ = ["Stars", "StarsOptions", "isochrone"]

Floats = NDArray[np.float64]

_BANDS = {
    "VI": {"F555W": 0.531, "F814W": 0.804},
    "LEGUS": {"F275W": 0.271, "F336W": 0.336, "F438W": 0.433, "F555W": 0.531, "F814W": 0.804},
}
_HC_OVER_K = 14387.77  # µm K
_VEGA_T, _VEGA_LOG_R2, _VEGA_V = 9600.0, 2 * np.log10(2.5), 0.58
_SUN_LOG_T = 3.762


class _Tracks(NamedTuple):
    """What tells one set of isochrones from the other."""

    contraction: float  # log t_K of the Sun, t in years
    hayashi: float  # log T_H of the Sun
    brighter: float  # in log L


_SETS = {"A": _Tracks(7.477, 3.63, 0.0), "B": _Tracks(7.477 - 0.2, 3.66, -0.05)}
_LOG_LIFE = 10.0


class StarsOptions(Section):
    """Of the survey, and of the theory of stars."""

    bands: Literal["VI", "LEGUS"] = "VI"
    """F555W and F814W, or the five bands of LEGUS, F275W to F814W."""
    isochrones: Literal["A", "B"] = "A"
    """Which of two theories the stars follow."""
    noise: float = Field(0.03, gt=0)
    """Standard deviation of each magnitude."""
    distance_modulus: float = Field(18.5, ge=-5, le=50)
    """μ, magnitudes; 18.5 is the Large Magellanic Cloud."""


class Stars(Simulator):
    """Observes magnitudes of a star.

    Args:
        bands: ``"VI"`` or ``"LEGUS"``.
        isochrones: ``"A"`` or ``"B"``.
        noise: magnitudes.
        distance_modulus: magnitudes.
    """

    name = "stars"
    Options = StarsOptions
    modes = ("contracting", "settled")
    options: StarsOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._priors = [Uniform(5.7, 8.5), Uniform(-0.7, 1.5), Gamma(2.0, 0.5)]
        self.parameters = side_of(("log_age", "log_mass", "A_V"), self._priors, {"A_V": "mag"})
        bands = _BANDS[self.options.bands]
        self.wavelengths = np.array(list(bands.values()))
        # Of theory A whatever is asked for: what is trained on A reads B by the same numbers.
        theory = self.options.model_copy(update={"isochrones": "A"})
        seen = self._magnitudes(self.prior(np.random.default_rng(0), 8192), theory)
        stretch = Stretch.standardising(seen.T, digits=2)
        self.observations = Side(tuple(bands), "mag", stretch, kind="table")

    def prior(self, generator: np.random.Generator, n: int) -> Floats:
        """log age (years), log initial mass (solar) and A_V (mag), (n, 3), of living stars."""
        drawn = draw_all(self._priors, generator, n)
        dead = np.flatnonzero(drawn[:, 0] > _life(drawn[:, 1]))
        while len(dead):
            drawn[dead] = draw_all(self._priors, generator, len(dead))
            dead = dead[drawn[dead, 0] > _life(drawn[dead, 1])]
        return drawn

    def observe(self, generator: np.random.Generator, parameters: Floats) -> Floats:
        """Magnitudes, (n, 2 or 5); NaN of dead stars."""
        exact = self._magnitudes(parameters, self.options)
        return exact + self.options.noise * generator.standard_normal(exact.shape)

    def mode(self, parameters: Floats) -> NDArray[np.int64]:
        """0 of stars whose temperature is nearer to Hayashi's than to the main sequence's, (n,)."""
        log_age, log_mass, _ = parameters.T
        return (_contracted(log_age, log_mass, self.options.isochrones) > 0.5).astype(np.int64)

    def _magnitudes(self, parameters: Floats, options: StarsOptions) -> Floats:
        log_age, log_mass, dust = parameters.T
        light, heat = isochrone(log_age, log_mass, options.isochrones)
        radius = light - 4 * (heat - _SUN_LOG_T)  # log R², solar
        x = _HC_OVER_K / self.wavelengths
        ratio = np.expm1(x / _VEGA_T) / np.expm1(x / (10 ** heat[:, None]))
        flux = (radius - _VEGA_LOG_R2)[:, None] + np.log10(ratio)
        extinction = dust[:, None] * (self.wavelengths / 0.55) ** -1.3
        return np.asarray(_VEGA_V + options.distance_modulus - 2.5 * flux + extinction)


def isochrone(
    log_age: Floats, log_mass: Floats, theory: Literal["A", "B"] = "A"
) -> tuple[Floats, Floats]:
    """Where a star stands in the Hertzsprung-Russell diagram.

    Args:
        log_age: log₁₀ of years, (n,).
        log_mass: log₁₀ of solar masses, (n,).
        theory: which set of isochrones.

    Returns:
        log L/L☉ and log T/K, (n,) each; NaN of stars that are dead.
    """
    tracks = _SETS[theory]
    u = _contracted(log_age, log_mass, theory)
    v = 10 ** (log_age - _life(log_mass))
    light = 3.5 * log_mass - 0.1 * log_mass**2 + tracks.brighter
    heat = _SUN_LOG_T + 0.57 * log_mass - 0.05 * log_mass**2
    light = light + 2 / 3 * np.log10(1 + 1 / u) + 0.35 * v**2
    young = 1 / (1 + (2 * u) ** 6)
    heat = heat + young * (tracks.hayashi + 0.08 * log_mass - heat) - 0.06 * v**2
    dead = v > 1
    return np.where(dead, np.nan, light), np.where(dead, np.nan, heat)


def _contracted(log_age: Floats, log_mass: Floats, theory: Literal["A", "B"]) -> Floats:
    """u, the age in times of contraction."""
    return np.asarray(10 ** (log_age - _SETS[theory].contraction + 2.5 * log_mass))


def _life(log_mass: Floats) -> Floats:
    """log₁₀ of the age in years at which a star dies."""
    return _LOG_LIFE - 2.5 * log_mass
