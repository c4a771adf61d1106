"""The epidemic against a loop over people's days, its laws, and its truncated priors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from imgturbo.simulators import Epidemic
from imgturbo.simulators.epidemic import BURN_IN, PRIORS, SERIES

NAMES = tuple(PRIORS)
N, T = 83e6, 81


@pytest.fixture(scope="module")
def drawn():
    simulator = Epidemic()
    return simulator, simulator.prior(np.random.default_rng(0), 4000)


def contacts_by_hand(p: dict[str, float]) -> list[float]:
    """λ_t as the public notebooks lay it out, stretch after stretch, with the third ramp right."""
    starts = [round(p[f"t{k}"]) for k in range(1, 5)]
    lengths = [round(p[f"dt{k}"]) for k in range(1, 5)]
    level = [p["lambda0"]] * (BURN_IN + starts[0])
    for k in range(4):
        end = starts[k + 1] if k < 3 else T
        level += list(np.linspace(p[f"lambda{k}"], p[f"lambda{k + 1}"], lengths[k]))
        level += [p[f"lambda{k + 1}"]] * (end - starts[k] - lengths[k])
    return level


def reports_by_hand(p: dict[str, float]) -> np.ndarray:
    """The reports without noise, (3, T)."""
    level = contacts_by_hand(p)
    e = max(1, round(p["E0"]))
    s, c, i, r, d = N - e, 0.0, 0.0, 0.0, 0.0
    flows: list[tuple[float, float, float]] = []
    for t in range(T + BURN_IN):
        new = level[t] * (c + p["beta"] * i) * s / N
        detected = (1 - p["alpha"]) * p["eta"] * c
        cured, dying = (1 - p["delta"]) * p["mu"] * i, p["delta"] * p["d"] * i
        silent = p["alpha"] * p["theta"] * c
        flows.append((detected, cured, dying))
        changed = (
            s - new,
            e + new - p["gamma"] * e,
            c + p["gamma"] * e - detected - silent,
            i + detected - cured - dying,
            r + silent + cured,
            d + dying,
        )
        s, e, c, i, r, d = (min(max(value, 0.0), N) for value in changed)
    out = np.empty((3, T))
    for k, x in enumerate(SERIES):
        late, share, turn = round(p[f"L_{x}"]), p[f"A_{x}"], p[f"phi_{x}"]
        for t in range(T):
            weekend = (1 - share) * (1 - abs(math.sin(math.pi / 7 * t - turn / 2)))
            out[k, t] = (1 - weekend) * flows[t + BURN_IN - late][k]
    return out


def test_a_loop_over_days_gives_the_same_reports(drawn):
    simulator, parameters = drawn
    for row in parameters[:40]:
        p = dict(zip(NAMES, row.tolist(), strict=True))
        np.testing.assert_allclose(simulator.contacts(row[None])[0], contacts_by_hand(p))
        np.testing.assert_allclose(
            simulator.expected(row[None])[0], reports_by_hand(p), rtol=1e-9, atol=1e-9
        )


def test_one_by_one_is_all_at_once(drawn):
    simulator, parameters = drawn
    together = simulator.expected(parameters[:9])
    apart = [simulator.expected(row[None])[0] for row in parameters[:9]]
    np.testing.assert_allclose(together, apart, rtol=1e-12)


def test_nobody_is_lost(drawn):
    simulator, parameters = drawn
    states = simulator.course(parameters)
    whole = np.sum(states[:6], 0)
    # The published clipping makes people where more than all susceptible fall ill in a day.
    clipped = (states.susceptible[:, 1:] == 0).any(1)
    assert clipped.mean() < 0.01
    np.testing.assert_allclose(whole[~clipped], N, rtol=1e-9)
    assert min(part.min() for part in states[:6]) >= 0
    for number, flow in ((4, 1), (5, 2)):  # who recovers from detection or dies is counted once
        grown = np.diff(states[number], axis=1)
        assert (grown - states.flows[flow] >= -1e-6 * N)[~clipped].all()


def test_the_prior_keeps_its_rules(drawn):
    _, parameters = drawn
    column = {name: parameters[:, NAMES.index(name)] for name in NAMES}
    t = [np.rint(column[f"t{k}"]) for k in range(1, 5)]
    dt = [np.rint(column[f"dt{k}"]) for k in range(1, 5)]
    assert (t[0] > 0).all()
    for k in range(4):
        until = t[k + 1] if k < 3 else T
        assert (dt[k] >= 1).all()
        assert (dt[k] <= until - t[k]).all()
        assert (t[k] < until).all()
    assert all((np.rint(column[f"L_{x}"]) <= BURN_IN).all() for x in SERIES)


def test_rules_by_hand(drawn):
    """Whole days count: what is rounded, up to the very ends."""
    simulator, parameters = drawn
    row = parameters[0].copy()
    fine = {"t1": 8, "t2": 15, "t3": 22, "t4": 66, "L_I": 8, "L_R": 8, "L_D": 8}
    fine |= {f"dt{k}": 3 for k in range(1, 5)}
    row[[NAMES.index(name) for name in fine]] = list(fine.values())
    for name, value, allowed in (
        ("t1", 0.6, True), ("t1", 0.4, False), ("t1", 11.6, True), ("t1", 12.6, False),
        ("dt2", 0.6, True), ("dt2", 0.4, False), ("dt2", 7.4, True), ("dt2", 7.6, False),
        ("t4", 78.4, True), ("t4", 78.6, False), ("L_R", 15.4, True), ("L_R", 15.6, False),
    ):  # fmt: skip
        other = row.copy()
        other[NAMES.index(name)] = value
        assert simulator.allowed(other[None])[0] == allowed, (name, value)


def test_an_epidemic_begins_with_one_exposed_at_least(drawn):
    simulator, parameters = drawn
    rows = np.repeat(parameters[:1], 3, 0)
    rows[:, NAMES.index("E0")] = 0.2, 1.4, 17.6
    states = simulator.course(rows)
    np.testing.assert_array_equal(states.exposed[:, 0], [1, 1, 18])
    np.testing.assert_array_equal(states.susceptible[:, 0], N - np.array([1, 1, 18]))


SCIPY = {
    "t1": stats.norm(8, 3),
    "t2": stats.norm(15, 1),
    "t3": stats.norm(22, 1),
    "t4": stats.norm(66, 1),
    **{f"dt{k}": stats.lognorm(0.3, scale=3) for k in range(1, 5)},
    "lambda0": stats.lognorm(0.5, scale=1.2),
    "lambda1": stats.lognorm(0.5, scale=0.6),
    "lambda2": stats.lognorm(0.5, scale=0.3),
    "lambda3": stats.lognorm(0.5, scale=0.1),
    "lambda4": stats.lognorm(0.5, scale=0.1),
    "mu": stats.lognorm(0.2, scale=1 / 8),
    **{f"A_{x}": stats.beta(4.939, 2.117) for x in SERIES},
    **{f"phi_{x}": stats.vonmises(0.01) for x in SERIES},
    **{f"L_{x}": stats.lognorm(0.2, scale=8) for x in SERIES},
    "E0": stats.gamma(2, scale=30),
    **{f"sigma_{x}": stats.gamma(1, scale=5) for x in SERIES},
    "alpha": stats.uniform(0.005, 0.985),
    "beta": stats.lognorm(0.3, scale=0.25),
    "gamma": stats.lognorm(0.5, scale=1 / 6.5),
    "eta": stats.lognorm(0.3, scale=1 / 3.2),
    "theta": stats.uniform(1 / 14, 1 / 3 - 1 / 14),
    "delta": stats.uniform(0.01, 0.29),
    "d": stats.uniform(1 / 14, 1 / 3 - 1 / 14),
}


def test_all_parameters_have_the_published_prior(drawn):
    """Against draws of scipy that obey the same rules, which truncate t_k, Δt_k and L_X."""
    simulator, parameters = drawn
    assert set(SCIPY) == set(NAMES)
    assert len(NAMES) == 34
    rng = np.random.default_rng(5)
    rows = np.stack([SCIPY[name].rvs(8000, random_state=rng) for name in NAMES], 1)
    rows = rows[simulator.allowed(rows)]
    assert 0.5 < len(rows) / 8000 < 1
    found = [stats.ks_2samp(rows[:, k], parameters[:, k]).pvalue for k in range(34)]
    assert min(found) > 0.01 / 34


def test_the_noise_is_students(drawn):
    simulator, parameters = drawn
    row = parameters[:1].copy()
    reports = simulator.observe(np.random.default_rng(0), np.repeat(row, 3000, 0))
    exact = simulator.expected(row).ravel()
    sigma = np.repeat([row[0, NAMES.index(f"sigma_{x}")] for x in SERIES], T)
    day = 3 * T - 1  # the last deaths
    left = (reports[:, day] - exact[day]) / (sigma[day] * np.sqrt(exact[day]))
    assert stats.kstest(left, stats.t(4).cdf).pvalue > 0.01
    assert simulator.observations.names[day] == "D@80"


def test_other_countries_and_spans():
    simulator = Epidemic(population=1e6, days=90)
    parameters, reports = simulator.draw(np.random.default_rng(0), 3)
    assert reports.shape == (3, 270)
    np.testing.assert_allclose(np.sum(simulator.course(parameters)[:6], 0), 1e6, rtol=1e-9)


def test_networks_see_numbers_of_about_one(drawn):
    simulator, parameters = drawn
    y = simulator.observations.stretch(simulator.observe(np.random.default_rng(1), parameters).T)
    assert 0.4 < np.abs(y).mean() < 3
    assert np.abs(y).max() < 30
