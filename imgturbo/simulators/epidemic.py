r"""An epidemic as the daily reports show it: SECIR with deaths, interventions, delays and weekends.

Six compartments, S + E + C + I + R + D = N people; carriers C are infectious and not yet detected,
I are. A day is a step of difference equations, all states clipped to [0, N] after it:

    ΔE = λ_t (C + β I) S/N                      S ← S − ΔE
    E ← E + ΔE − γ E                            C ← C + γ E − (1 − α) η C − α θ C
    I ← I + (1 − α) η C − (1 − δ) μ I − δ d I   R ← R + α θ C + (1 − δ) μ I
    D ← D + δ d I

from E = max(1, round E₀), S = N − E. Reported are the flows (1 − α) η C, (1 − δ) μ I and δ d I.
λ_t is λ₀ at first; at each of four change points t_k it goes in a straight line to λ_k within the
Δt_k days from t_k, the last of which has λ_k (Δt_k = 1: from the day after t_k on). Day 0 of the
reports comes after L = 15 days of λ₀. Of each series X ∈ {I, R, D}

    x_t = X^new_{t + L − L_X}                                     reported L_X days late
    x_t ← (1 − f_t) x_t,   f_t = (1 − A_X)(1 − |sin(π t/7 − φ_X/2)|)        less at weekends
    y_t ~ x_t + σ_X √x_t · t₄                                     Student's t, 4 degrees of freedom

y may be negative or fractional, and stays so. t_k, Δt_k and L_X are rounded to whole days. A draw
of the prior is made anew, all of it, unless 0 < t₁ < t₂ < t₃ < t₄, 1 ≤ Δt_k ≤ t_{k+1} − t_k (with
t₅ = T) and L_X ≤ L: so the priors of these are truncated.

Radev et al. 2021, "OutbreakFlow" (arXiv:2010.00300), with the priors of the authors' code; in that
code the third ramp runs from λ₃ to λ₄, here from λ₂ to λ₃. (The Beta prior of A_X was meant to have
a standard deviation of 0.17; the authors' a and b, used here, have 0.16.) S + E + C + I + R + D
stays N but for three of a thousand draws of the prior, in which more than all susceptible people
would fall ill in one day: there the clipping makes people.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from imgturbo.config.section import Section
from imgturbo.side import Side
from imgturbo.simulators.priors import (
    Beta,
    Gamma,
    LogNormal,
    Normal,
    Prior,
    Uniform,
    VonMises,
    draw_all,
    side_of,
)
from imgturbo.simulators.simulator import Simulator
from imgturbo.sky.stretch import Stretch

__all__ = ["BURN_IN", "PRIORS", "SERIES", "Epidemic", "EpidemicOptions", "States"]

Floats = NDArray[np.float64]

BURN_IN = 15
"""L: days before the first report, and the longest delay."""

SERIES = ("I", "R", "D")
"""Detected, recovered and dead."""

_CHANGES = 4
_FREEDOM = 4
_SHARE, _TURN, _LATE, _NOISE = Beta(4.939, 2.117), VonMises(0.01), LogNormal(8, 0.2), Gamma(1, 5)

PRIORS: dict[str, Prior] = {
    "t1": Normal(8, 3),
    "t2": Normal(15, 1),
    "t3": Normal(22, 1),
    "t4": Normal(66, 1),
    **{f"dt{k}": LogNormal(3, 0.3) for k in range(1, _CHANGES + 1)},
    "lambda0": LogNormal(1.2, 0.5),
    "lambda1": LogNormal(0.6, 0.5),
    "lambda2": LogNormal(0.3, 0.5),
    "lambda3": LogNormal(0.1, 0.5),
    "lambda4": LogNormal(0.1, 0.5),
    "mu": LogNormal(1 / 8, 0.2),
    "A_I": _SHARE,
    "phi_I": _TURN,
    "A_R": _SHARE,
    "phi_R": _TURN,
    "A_D": _SHARE,
    "phi_D": _TURN,
    "L_I": _LATE,
    "L_R": _LATE,
    "L_D": _LATE,
    "E0": Gamma(2, 30),
    "sigma_I": _NOISE,
    "sigma_R": _NOISE,
    "sigma_D": _NOISE,
    "alpha": Uniform(0.005, 0.99),
    "beta": LogNormal(0.25, 0.3),
    "gamma": LogNormal(1 / 6.5, 0.5),
    "eta": LogNormal(1 / 3.2, 0.3),
    "theta": Uniform(1 / 14, 1 / 3),
    "delta": Uniform(0.01, 0.3),
    "d": Uniform(1 / 14, 1 / 3),
}
"""Of the 34 parameters, before the truncation."""

_PLACE = {name: column for column, name in enumerate(PRIORS)}
_RATES = ("lambda0", "lambda1", "lambda2", "lambda3", "lambda4", "mu", "gamma", "eta", "theta", "d")
_DAYS = ("t1", "t2", "t3", "t4", "dt1", "dt2", "dt3", "dt4", "L_I", "L_R", "L_D")
_UNITS = {
    **dict.fromkeys(_DAYS, "d"),
    **dict.fromkeys(_RATES, "1/d"),
    **{f"phi_{series}": "rad" for series in SERIES},
}
_DAYS_OF = [_PLACE[name] for name in _DAYS[: 2 * _CHANGES]]
_DELAYS = [_PLACE[f"L_{series}"] for series in SERIES]


class EpidemicOptions(Section):
    """Of the country, and of how long it is watched."""

    population: float = Field(83e6, ge=1)
    """N, people."""
    days: int = Field(81, ge=70, le=10_000)
    """T, daily reports; the fourth change is about day 66."""


class States(NamedTuple):
    """The course of n epidemics over L + T days, each (n, L + T + 1) people but the last.

    Attributes:
        susceptible, exposed, carriers, infected, recovered, dead: at the start of each day, and at
            the end of the last.
        flows: newly detected, recovered and dead of each day, (3, n, L + T).
    """

    susceptible: Floats
    exposed: Floats
    carriers: Floats
    infected: Floats
    recovered: Floats
    dead: Floats
    flows: Floats


class Epidemic(Simulator):
    """Observes daily numbers of detected, recovered and dead people.

    The observations' columns are ``I@0`` … ``I@80``, ``R@0`` …, ``D@0`` …: a series after another.

    Args:
        population: N.
        days: T.
    """

    name = "epidemic"
    Options = EpidemicOptions
    options: EpidemicOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.parameters = side_of(tuple(PRIORS), tuple(PRIORS.values()), _UNITS)
        days = self.options.days
        seen = self.draw(np.random.default_rng(0), 512)[1].reshape(-1, days)
        # Numbers go over five decades: linear below the median of a series, a logarithm above.
        # Alike on all days, so that a network that reads them day by day sees one scale.
        size = np.abs(seen.reshape(-1, len(SERIES), days))
        middle = [float(f"{max(np.median(size[:, k]), 1.0):.1g}") for k in range(len(SERIES))]
        soft = np.repeat(middle, days)
        scale = np.repeat(
            [float(f"{np.arcsinh(size[:, k] / middle[k]).std():.1g}") for k in range(len(SERIES))],
            days,
        )
        names = tuple(f"{series}@{day}" for series in SERIES for day in range(days))
        stretch = Stretch(np.zeros(len(names)), soft, scale)
        self.observations = Side(names, "", stretch, kind="table")

    def prior(self, generator: np.random.Generator, n: int) -> Floats:
        """(n, 34), in the order of ``PRIORS``; draws against the rules are made anew."""
        priors = tuple(PRIORS.values())
        drawn = draw_all(priors, generator, n)
        wrong = np.flatnonzero(~self.allowed(drawn))
        while len(wrong):
            drawn[wrong] = draw_all(priors, generator, len(wrong))
            wrong = wrong[~self.allowed(drawn[wrong])]
        return drawn

    def allowed(self, parameters: Floats) -> NDArray[np.bool_]:
        """Which sets of parameters keep the rules of the prior, (n,)."""
        days = np.rint(parameters[:, _DAYS_OF])
        change, length = days[:, :_CHANGES], days[:, _CHANGES:]
        until = np.concatenate([change[:, 1:], np.full((len(days), 1), self.options.days)], 1)
        fine = (change[:, 0] > 0) & (change < until).all(1)
        fine &= ((length >= 1) & (length <= until - change)).all(1)
        return np.asarray(fine & (np.rint(parameters[:, _DELAYS]) <= BURN_IN).all(1))

    def contacts(self, parameters: Floats) -> Floats:
        """λ_t of L + T days, (n, L + T)."""
        day = np.arange(-BURN_IN, self.options.days)
        level = parameters[:, _PLACE["lambda0"], None] * np.ones(len(day))
        for k in range(1, _CHANGES + 1):
            start, length = (np.rint(parameters[:, _PLACE[f"{c}{k}"], None]) for c in ("t", "dt"))
            ramp = np.clip((day - start) / np.maximum(length - 1, 1), 0, 1)
            step = parameters[:, _PLACE[f"lambda{k}"]] - parameters[:, _PLACE[f"lambda{k - 1}"]]
            level += step[:, None] * ramp
        return level

    def course(self, parameters: Floats) -> States:
        """All compartments, day by day, before anything is reported."""
        population, count = self.options.population, len(parameters)
        contacts = self.contacts(parameters).T
        alpha, beta, gamma, eta, theta, delta, death, mu = (
            parameters[:, _PLACE[name]]
            for name in ("alpha", "beta", "gamma", "eta", "theta", "delta", "d", "mu")
        )
        states = np.zeros((len(contacts) + 1, 6, count))
        states[0, 1] = np.maximum(np.rint(parameters[:, _PLACE["E0"]]), 1.0)
        states[0, 0] = population - states[0, 1]
        flows = np.empty((len(contacts), len(SERIES), count))
        for day, level in enumerate(contacts):
            s, e, c, i, _, _ = states[day]
            exposed = level * (c + beta * i) * s / population
            carrying, detected, silent = gamma * e, (1 - alpha) * eta * c, alpha * theta * c
            cured, dying = (1 - delta) * mu * i, delta * death * i
            change = np.stack(
                [
                    -exposed,
                    exposed - carrying,
                    carrying - detected - silent,
                    detected - cured - dying,
                    silent + cured,
                    dying,
                ]
            )
            states[day + 1] = np.clip(states[day] + change, 0, population)
            flows[day] = detected, cured, dying
        s, e, c, i, r, d = states.transpose(1, 2, 0)
        return States(s, e, c, i, r, d, flows.transpose(1, 2, 0))

    def expected(self, parameters: Floats) -> Floats:
        """What would be reported without noise, (n, 3, T)."""
        flows, days = self.course(parameters).flows, np.arange(self.options.days)
        reported = np.empty((len(parameters), len(SERIES), len(days)))
        rows = np.arange(len(parameters))[:, None]
        for k, series in enumerate(SERIES):
            late, share, turn = (
                parameters[:, _PLACE[f"{symbol}_{series}"], None] for symbol in ("L", "A", "phi")
            )
            late = np.rint(late).astype(np.int64)
            weekend = (1 - share) * (1 - np.abs(np.sin(np.pi * days / 7 - turn / 2)))
            # Delays beyond the burn-in, which no prior draw has, read its first day.
            before = np.clip(days + BURN_IN - late, 0, flows.shape[-1] - 1)
            reported[:, k] = (1 - weekend) * flows[k][rows, before]
        return reported

    def observe(self, generator: np.random.Generator, parameters: Floats) -> Floats:
        """Daily reports, (n, 3 · T), a series after another."""
        exact = self.expected(parameters)
        sigma = parameters[:, [_PLACE[f"sigma_{series}"] for series in SERIES], None]
        noise = generator.standard_t(_FREEDOM, exact.shape)
        return np.asarray((exact + sigma * np.sqrt(exact) * noise).reshape(len(parameters), -1))
