r"""Spectra of galaxies and stars, and what a band makes of them.

A galaxy's spectrum is a short formula f_ν(λ_rest): power laws joined at the breaks that photometry
can see. What arrives at redshift z is

    f_ν(λ) ∝ T(λ/(1+z)) · 10^{−0.4 A_V (λ/(1+z)/0.55 µm)^{−0.7}} · exp(−τ_IGM(λ, z)),

with dust after Charlot & Fall (2000, A ∝ λ^−0.7) and the mean opacity of Lyman α between the
galaxies after Fan et al. (2006, arXiv:astro-ph/0512082): with 1 + z_a = λ/0.1216 µm,

    τ = 0.85 ((1+z_a)/5)^4.3 for 1 + z_a ≤ 6.5, growing as (1+z_a)^10.9 beyond,

between 912(1+z) and 1216(1+z) Å; nothing comes through blueward of that.
A band of transmission R weighs photons, so that the flux density it reports is

    f_b = ∫ f_ν R dlnλ / ∫ R dlnλ,     m_AB = 31.4 − 2.5 log10(f_b / nJy).

Wavelengths are in µm, flux densities f_ν in nJy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "BANDS",
    "REFERENCE",
    "TEMPLATES",
    "Band",
    "ab_magnitude",
    "flux_from_magnitude",
    "galaxy_fluxes",
    "star_fluxes",
]

Array = NDArray[np.float64]

AB_NANOJANSKY = 31.4
"""AB magnitude of 1 nJy."""


@dataclass(frozen=True)
class Band:
    """A filter: a flat top between two half-power wavelengths (µm), with 2 % soft edges."""

    name: str
    blue: float
    red: float

    def transmission(self, wavelength: Array) -> Array:
        """Relative response, 0–1."""
        edge = 0.01 * (self.blue + self.red) / 2
        low = np.clip((wavelength - self.blue) / (2 * edge) + 0.5, 0, 1)
        high = np.clip((self.red - wavelength) / (2 * edge) + 0.5, 0, 1)
        return low * high

    def nodes(self, count: int = 48) -> tuple[Array, Array]:
        """Wavelengths (µm) even in lnλ, and weights that sum to one."""
        wavelength = np.geomspace(0.985 * self.blue, 1.015 * self.red, count)
        weight = self.transmission(wavelength)
        return wavelength, weight / weight.sum()

    @property
    def pivot(self) -> float:
        """Pivot wavelength, µm: √(∫R λ dλ / ∫R dλ/λ)."""
        wavelength, weight = self.nodes(400)
        return float(np.sqrt((weight * wavelength**2).sum()))


BANDS = {
    band.name: band
    for band in (
        Band("F435W", 0.386, 0.483),
        Band("F606W", 0.475, 0.707),
        Band("F814W", 0.707, 0.915),
        Band("F090W", 0.795, 1.005),
        Band("F115W", 1.013, 1.282),
        Band("F150W", 1.331, 1.668),
        Band("F200W", 1.755, 2.227),
        Band("F277W", 2.423, 3.132),
        Band("F356W", 3.135, 3.981),
        Band("F444W", 3.881, 4.982),
    )
}
"""Half-power wavelengths of ACS and NIRCam filters, from their public documentation."""

REFERENCE = "F150W"
"""The band in which counts are drawn and spectra normalised, whichever bands are observed."""


def flux_from_magnitude(magnitude: ArrayLike) -> Array:
    """AB magnitude → nJy."""
    return np.asarray(10.0 ** (-0.4 * (np.asarray(magnitude, float) - AB_NANOJANSKY)))


def ab_magnitude(flux: ArrayLike) -> Array:
    """nJy → AB magnitude; zero flux gives infinity."""
    with np.errstate(divide="ignore"):
        return np.asarray(AB_NANOJANSKY - 2.5 * np.log10(np.asarray(flux, float)))


def _step(wavelength: Array, at: float, below: float, width: float = 0.04) -> Array:
    """``below`` blueward of ``at``, 1 redward, smooth over a fraction ``width`` of it."""
    rise = 1 / (1 + np.exp(np.clip(-(wavelength / at - 1) / width, -60, 60)))
    return below + (1 - below) * rise


def _line(wavelength: Array, at: float, strength: float) -> Array:
    """An emission line over a continuum of 1: ``strength`` is its peak on a 1.5 % wide profile."""
    return strength * np.exp(-0.5 * ((wavelength / at - 1) / 0.015) ** 2)


def _bump(wavelength: Array, blue: float, red: float, turn: float) -> Array:
    """A power law λ^blue that turns into λ^−red at ``turn``."""
    x = wavelength / turn
    return 2 / (x**-blue + x**red)


def _old(rest: Array) -> Array:
    """No star younger than some Gyr: 4000 Å break, little ultraviolet, 1.6 µm bump."""
    return _bump(rest, 1.7, 1.1, 1.5) * _step(rest, 0.4, 0.3) * _step(rest, 0.27, 0.25, 0.1)


def _disk(rest: Array) -> Array:
    """Stars of all ages, as in a spiral."""
    return _bump(rest, 0.65, 0.8, 1.6) * _step(rest, 0.385, 0.65)


def _young(rest: Array) -> Array:
    """Younger than 100 Myr: nearly flat in f_ν, weak Balmer break, weak lines."""
    lines = 1 + _line(rest, 0.6563, 0.9) + _line(rest, 0.4995, 0.5) + _line(rest, 0.3727, 0.4)
    return _bump(rest, 0.15, 0.35, 1.2) * _step(rest, 0.365, 0.85) * lines


def _burst(rest: Array) -> Array:
    """A burst: ultraviolet slope β = −2.3, strong [O III] and Hα."""
    lines = 1 + _line(rest, 0.6563, 3.0) + _line(rest, 0.4995, 4.5) + _line(rest, 0.3727, 0.9)
    return rest**-0.3 * lines


TEMPLATES = {"old": _old, "disk": _disk, "young": _young, "burst": _burst}
"""f_ν(λ_rest in µm), each in units of its own."""


def _transmitted(wavelength: Array, redshift: Array) -> Array:
    """Mean transmission of the intergalactic medium, broadcast over both arguments."""
    rest = wavelength / (1 + redshift)
    absorber = wavelength / 0.1216
    opacity = 0.85 * (np.minimum(absorber, 6.5) / 5) ** 4.3 * np.maximum(absorber / 6.5, 1) ** 10.9
    forest = np.where(rest < 0.1216, np.exp(-opacity), 1.0)
    return np.where(rest < 0.0912, 0.0, forest)


def galaxy_fluxes(
    template: Sequence[str], redshift: Array, dust: Array, reference: Array, bands: Sequence[str]
) -> Array:
    """Flux densities of galaxies through bands.

    Args:
        template: (N,) names in ``TEMPLATES``.
        redshift: (N,).
        dust: (N,) A_V in magnitudes.
        reference: (N,) flux in the reference band, nJy.
        bands: B names in ``BANDS``.

    Returns:
        (N, B) nJy.
    """
    names = np.asarray(template)
    fluxes = np.empty((len(names), len(bands) + 1))
    redshift, dust = redshift[:, None], dust[:, None]
    for column, band in enumerate((*bands, REFERENCE)):
        wavelength, weight = BANDS[band].nodes()
        rest = wavelength / (1 + redshift)
        density = np.empty(rest.shape)
        for name, formula in TEMPLATES.items():
            chosen = names == name
            density[chosen] = formula(rest[chosen])
        density *= 10 ** (-0.4 * dust * (rest / 0.55) ** -0.7)
        density *= _transmitted(wavelength, redshift)
        fluxes[:, column] = density @ weight
    return reference[:, None] * fluxes[:, :-1] / fluxes[:, -1:]


def star_fluxes(temperature: Array, reference: Array, bands: Sequence[str]) -> Array:
    """Flux densities of black bodies: (N,) kelvin and (N,) nJy in the reference → (N, B) nJy."""

    def density(band: str) -> Array:
        wavelength, weight = BANDS[band].nodes()
        x = 14387.77 / (wavelength * temperature[:, None])  # hc/λkT
        return (wavelength**-3.0 / np.expm1(x)) @ weight

    scale = reference / density(REFERENCE)
    return np.stack([scale * density(band) for band in bands], axis=1)
