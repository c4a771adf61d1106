r"""What is on the sky: field galaxies, a cluster, stars, drawn once from a seed.

Counts of field galaxies rise as dN/dm ∝ 10^{0.22 m} in the reference band; redshifts at a given
magnitude follow p(z) ∝ z² exp(−(z/z₀)^1.5) with z₀ growing faintwards, plus a thin tail to z = 9;
half-light radii shrink as lg r = −0.12 − 0.11 (m − 20) with 0.18 dex of scatter. A galaxy is a sum
of up to three profiles that share a centre, each with a spectrum of its own: a bulge (old stars,
Sérsic 2.5–4), a disk (exponential), and young stars (an exponential disk thrown into spiral arms
and clumps). The cluster is a red sequence at one redshift, concentrated about a brightest galaxy
that sits in intracluster light. It is a lens too, and draws a few galaxies behind it into arcs.

Positions are (ξ, η) in the tangent plane, arcsec; fluxes nJy; angles degrees east of north.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from data_prep.simulate.sources import Arms, Lens, Profile, Scene, Source
from data_prep.simulate.spectra import (
    flux_from_magnitude,
    galaxy_fluxes,
    star_fluxes,
)

__all__ = ["draw_scene"]

Array = NDArray[np.float64]

BRIGHT, FAINT = 20.0, 30.0
"""Limits of the field counts, AB in the reference band."""


def draw_scene(
    bands: Sequence[str],
    side: float,
    seed: int,
    *,
    sky: tuple[float, float] = (110.83, -73.45),
    density: float = 800.0,
    star_density: float = 18.0,
    cluster: bool = True,
) -> Scene:
    """Draw a scene over a square of ``side`` arcsec.

    Args:
        bands: names in ``spectra.BANDS``; the draw of everything else does not depend on them.
        side: arcsec.
        seed: of the scene.
        sky: ra and dec of the centre, degrees.
        density: field galaxies per square arcmin to magnitude 30.
        star_density: stars per square arcmin; never fewer than two stars, unless it is 0.
        cluster: whether there is one.
    """
    rng = np.random.default_rng([seed, 1])
    area = (side / 60) ** 2
    sources = _field_galaxies(bands, side, rng.poisson(density * area), rng)
    redshift = float(rng.uniform(0.35, 0.45))
    if cluster:
        sources += _cluster(bands, side, redshift, rng)
    sources += _stars(bands, side, _star_count(star_density * area, rng), rng)
    return Scene(tuple(bands), sky, tuple(sources), redshift if cluster else float("nan"))


def _counts(number: int, low: float, high: float, slope: float, rng: np.random.Generator) -> Array:
    """Magnitudes with dN/dm ∝ 10^(slope · m) between two limits."""
    u = rng.uniform(size=number)
    span = 10 ** (slope * (high - low)) - 1
    return low + np.log10(1 + u * span) / slope


def _redshifts(magnitude: Array, rng: np.random.Generator) -> Array:
    """One redshift for each magnitude."""
    grid = np.linspace(0.02, 9.0, 900)
    scale = (0.45 + 0.16 * (magnitude - 20))[:, None]
    density = grid**2 * np.exp(-((grid / scale) ** 1.5)) / scale**3
    density += 4e-4 * (magnitude[:, None] > 25) * (grid > 3)  # the tail that drops out
    cumulative = np.cumsum(density, axis=1)
    cumulative /= cumulative[:, -1:]
    u = rng.uniform(size=len(magnitude))
    return np.array([np.interp(v, row, grid) for v, row in zip(u, cumulative, strict=True)])


def _field_galaxies(
    bands: Sequence[str], side: float, number: int, rng: np.random.Generator
) -> list[Source]:
    magnitude = _counts(number, BRIGHT, FAINT, 0.22, rng)
    redshift = _redshifts(magnitude, rng)
    radius = 10 ** (-0.12 - 0.11 * (magnitude - 20) + 0.18 * rng.standard_normal(number))
    radius = np.clip(radius, 0.03, 1.6)
    xi, eta = rng.uniform(-side / 2, side / 2, (2, number))
    # Quiescent galaxies are common when bright and near, rare when faint or young.
    quiescent = rng.uniform(size=number) < np.where(magnitude < 24.5, 0.28, 0.10) * (redshift < 2.2)
    bulge = np.where(quiescent, 1.0, rng.beta(0.8, 2.6, number) * (magnitude < 26))
    bulge = np.where(bulge < 0.02, 0.0, bulge)
    young = np.clip(rng.normal(0.45, 0.18, number) + 0.08 * redshift, 0, 1) * ~quiescent
    bursting = rng.uniform(size=number) < 0.15 + 0.1 * (redshift > 1.5)
    dust = np.where(quiescent, 0.05, rng.gamma(1.6, 0.35, number))
    # A rare very dusty disk: nearly absent from Hubble's bands, bright in Webb's.
    dust += 3.0 * (rng.uniform(size=number) < 0.05) * (magnitude > 22.5) * ~quiescent
    inclination = np.arccos(rng.uniform(0.12, 1.0, number))
    disk_ratio = np.sqrt(np.cos(inclination) ** 2 * (1 - 0.15**2) + 0.15**2)
    bulge_ratio = np.where(quiescent, rng.uniform(0.45, 1.0, number), 1 - 0.5 * (1 - disk_ratio))
    angle = rng.uniform(0, 180, number)
    reference = flux_from_magnitude(magnitude)
    share = np.stack([bulge, (1 - bulge) * (1 - young), (1 - bulge) * young], axis=1)
    hot = np.where(bursting, "burst", "young").tolist()
    parts = ((["old"] * number, dust * 0.5), (["disk"] * number, dust), (hot, dust * 0.7))
    fluxes = np.stack(
        [
            galaxy_fluxes(template, redshift, a_v, reference * share[:, part], bands)
            for part, (template, a_v) in enumerate(parts)
        ],
        axis=1,
    )  # (N, 3, B)
    sources = []
    for i in range(number):
        profiles = []
        if bulge[i] > 0:
            size = radius[i] if quiescent[i] else max(0.03, 0.3 * radius[i])
            index = rng.uniform(2.2, 4.2) if quiescent[i] else rng.uniform(1.6, 3.0)
            profiles.append(Profile(size, index, bulge_ratio[i], angle[i], fluxes[i, 0]))
        if not quiescent[i]:
            arms, clumps = _structure(radius[i], redshift[i], rng)
            weak = None if arms is None else Arms(arms.count, arms.pitch, arms.phase, 0.5)
            shape = (radius[i], 1.0, disk_ratio[i], angle[i])
            profiles.append(Profile(*shape, fluxes[i, 1], weak))
            profiles.append(Profile(*shape, fluxes[i, 2], arms, clumps))
        sources.append(
            Source("galaxy", xi[i], eta[i], redshift[i], fluxes[i].sum(axis=0), tuple(profiles))
        )
    return sources


def _structure(
    radius: float, redshift: float, rng: np.random.Generator
) -> tuple[Arms | None, Array]:
    """Spiral arms for resolved disks below z ≈ 1.8, loose clumps above; knots lie on the arms."""
    none = np.zeros((0, 4))
    spiral = rng.uniform() < 0.85 and redshift < 1.8
    count = int(rng.integers(3, 16))
    pitch = rng.uniform(14, 30) * rng.choice([-1, 1])
    phase, strength, share = rng.uniform(0, 360), rng.uniform(0.9, 2.0), rng.uniform(0.1, 0.45)
    arms = Arms(int(rng.choice([2, 2, 3, 4])), pitch, phase, strength)
    distance = 0.35 + rng.gamma(2.0, 0.4, count)
    arm = rng.integers(0, arms.count, count)
    if radius < 0.12:
        return None, none
    if spiral:
        turn = np.log(distance) / np.tan(np.radians(pitch))
        phi = turn + (np.radians(phase) + 2 * np.pi * arm) / arms.count
        phi += 0.15 * rng.standard_normal(count)
    else:
        phi = rng.uniform(0, 2 * np.pi, count)
    width = rng.uniform(0.03, 0.10, count)
    weight = rng.exponential(size=count) * np.exp(-0.5 * distance)
    weight *= share / weight.sum()
    clumps = np.stack([distance * np.cos(phi), distance * np.sin(phi), width, weight], axis=1)
    return (arms if spiral else None), clumps


def _cluster(
    bands: Sequence[str], side: float, redshift: float, rng: np.random.Generator
) -> list[Source]:
    """Ellipticals of one redshift about a brightest one, off the field's middle, and the arcs."""
    centre = rng.uniform(0.07, 0.18, 2) * side * rng.choice([-1, 1], 2)
    scale = min(1.0, side / 45)
    number = max(6, round(70 * scale**2))
    magnitude = _counts(number, 19.6, 26.5, 0.14, rng)
    # Projected density flat within a core and falling as 1/r² outside it.
    core = 0.13 * side
    r = core * np.sqrt(np.expm1(rng.uniform(np.log(1.08), np.log(12.0), number)))
    phi = rng.uniform(0, 2 * np.pi, number)
    long_axis = rng.uniform(0, np.pi)
    along, across = r * np.cos(phi), 0.65 * r * np.sin(phi)
    xi = centre[0] + along * np.sin(long_axis) + across * np.cos(long_axis)
    eta = centre[1] + along * np.cos(long_axis) - across * np.sin(long_axis)
    radius = 10 ** (-0.18 - 0.13 * (magnitude - 20) + 0.12 * rng.standard_normal(number))
    # The red sequence's slope and scatter: fainter members are a little bluer.
    blue = np.clip(0.03 * (magnitude - 19) + 0.03 * rng.standard_normal(number), 0, 0.5)
    reference = flux_from_magnitude(magnitude)
    fixed = np.full(number, redshift)
    light = [
        galaxy_fluxes([template] * number, fixed, np.full(number, dust), reference * share, bands)
        for template, dust, share in (("old", 0.1, 1 - blue), ("disk", 0.0, blue))
    ]
    fluxes = light[0] + light[1]
    inside = np.maximum(np.abs(xi), np.abs(eta)) < side / 2
    sources = []
    for i in range(number):
        shape = (
            float(np.clip(radius[i], 0.06, 1.5)),
            rng.uniform(2.0, 4.5),
            rng.uniform(0.5, 1.0),
            rng.uniform(0, 180),
        )
        if inside[i]:
            profile = Profile(*shape, fluxes[i])
            sources.append(Source("cluster", xi[i], eta[i], redshift, fluxes[i], (profile,)))
    magnitudes = np.array([18.6, 19.3]) - 5 * np.log10(scale)
    bright = galaxy_fluxes(
        ["old", "old"],
        np.full(2, redshift),
        np.array([0.1, 0.0]),
        flux_from_magnitude(magnitudes),
        bands,
    )
    tilt = float(np.degrees(long_axis) % 180)
    body = Profile(1.0 * scale, 4.0, 0.72, tilt, bright[0])
    halo = Profile(5.0 * scale, 1.3, 0.55, tilt, bright[1])
    brightest = Source("bcg", centre[0], centre[1], redshift, bright.sum(axis=0), (body, halo))
    lens = Lens(centre[0], centre[1], 0.13 * side, 0.08, tilt)
    return [*sources, *_arcs(bands, lens, rng), brightest]


def _arcs(bands: Sequence[str], lens: Lens, rng: np.random.Generator) -> list[Source]:
    """A few young galaxies behind the cluster, near the line of sight to its centre."""
    number = 6
    redshift = rng.uniform(1.2, 3.5, number)
    magnitude = rng.uniform(22.0, 24.5, number)
    template = np.where(rng.uniform(size=number) < 0.4, "burst", "young").tolist()
    dust = rng.gamma(1.6, 0.25, number)
    fluxes = galaxy_fluxes(template, redshift, dust, flux_from_magnitude(magnitude), bands)
    sources = []
    for i in range(number):
        deeper = replace(lens, radius=lens.radius * rng.uniform(0.75, 1.0))
        phi = rng.uniform(0, 2 * np.pi)
        # Of an isothermal sphere the brighter image lies at β + θ_E on the source's side.
        distance = deeper.radius * (1 + rng.uniform(0.10, 0.45))
        size, arms = rng.uniform(0.02, 0.045) * lens.radius, Arms(2, 25.0, 0.0, 1.2)
        shape = (size, 1.0, rng.uniform(0.35, 0.9), rng.uniform(0, 180))
        profile = Profile(*shape, fluxes[i], arms, lens=deeper)
        xi, eta = lens.xi + distance * np.sin(phi), lens.eta + distance * np.cos(phi)
        sources.append(Source("arc", xi, eta, redshift[i], fluxes[i], (profile,)))
    return sources


def _star_count(expected: float, rng: np.random.Generator) -> int:
    """Two at least, so that spikes are to be seen on the smallest field, or none at all."""
    return max(2, rng.poisson(expected)) if expected else 0


def _stars(
    bands: Sequence[str], side: float, number: int, rng: np.random.Generator
) -> list[Source]:
    magnitude = _counts(number, 17.0, 26.0, 0.08, rng)
    # Brightest first, and the first always bright enough for spikes.
    magnitude = np.sort(magnitude)
    magnitude[:1] = np.minimum(magnitude[:1], 17.8)
    temperature = np.clip(rng.lognormal(np.log(4200), 0.25, number), 2800, 9500)
    xi, eta = rng.uniform(-0.42 * side, 0.42 * side, (2, number))
    fluxes = star_fluxes(temperature, flux_from_magnitude(magnitude), bands)
    return [Source("star", xi[i], eta[i], float("nan"), fluxes[i]) for i in range(number)]
