"""Masses by vectors against a loop over events, and against events whose masses are known."""

from __future__ import annotations

import cmath
import doctest
import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imgturbo.events import (
    MASSES,
    TABLE,
    invariant_mass,
    masses,
    neutrino_pz,
    observables,
    reconstructed_masses,
)
from imgturbo.events.masses import M_TOP, M_W, resonances
from imgturbo.events.simple import reconstructed, smeared


def massless(generator, n, spread=60.0):
    p = generator.normal(0, spread, (n, 3))
    return np.column_stack([p, np.linalg.norm(p, axis=1)])


def events(seed, n):
    """(n, 24) of six massless particles without any physics."""
    generator = np.random.default_rng(seed)
    return np.concatenate([massless(generator, n) for _ in range(6)], 1)


def boosted(p, beta):
    """Four-momenta (N, 4) in a frame that moves with −beta (N, 3)."""
    gamma = 1 / np.sqrt(1 - (beta**2).sum(1))
    along = (beta * p[:, :3]).sum(1)
    factor = gamma**2 / (gamma + 1) * along + gamma * p[:, 3]
    return np.column_stack([p[:, :3] + factor[:, None] * beta, gamma * (p[:, 3] + along)])


def decays(generator, mother, mass):
    """Two massless products of each mother (N, 4), isotropic in its frame."""
    n = len(mother)
    direction = generator.normal(size=(n, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    half = np.broadcast_to(mass, n)[:, None] / 2
    one = np.column_stack([half * direction, half])
    two = np.column_stack([-half * direction, half])
    beta = mother[:, :3] / mother[:, 3:]
    return boosted(one, beta), boosted(two, beta)


# ------------------------------------------------------------------- against a loop of one event


def mass_of(*particles):
    total = [sum(parts) for parts in zip(*particles, strict=True)]
    squared = total[3] ** 2 - sum(c * c for c in total[:3])
    return math.copysign(math.sqrt(abs(squared)), squared)


def one_event(x):
    """The definitions of the paper, one event (24,) at a time, without numpy."""
    electron, missing, *jets = (x[4 * n : 4 * n + 4].tolist() for n in range(6))
    energy, pz = electron[3], electron[2]
    m2 = energy**2 - sum(c * c for c in electron[:3])
    k = (M_W**2 - m2) / 2 + electron[0] * missing[0] + electron[1] * missing[1]
    a, b = energy**2 - pz**2, -2 * k * pz
    c = energy**2 * (missing[0] ** 2 + missing[1] ** 2) - k**2
    root = cmath.sqrt(b * b - 4 * a * c)
    roots = [(-b + sign * root) / (2 * a) for sign in (1, -1)]
    if any(abs(r.imag) > 0 for r in roots):
        z = roots[0].real
    else:
        z = min((r.real for r in roots), key=abs)
    neutrino = [missing[0], missing[1], z, math.hypot(missing[0], missing[1], z)]
    best = None
    for leptonic, hadronic in itertools.permutations(range(4), 2):
        others = [jets[j] for j in range(4) if j not in (leptonic, hadronic)]
        found = {
            "m_t_lep": mass_of(electron, neutrino, jets[leptonic]),
            "m_W_had": mass_of(*others),
            "m_t_had": mass_of(*others, jets[hadronic]),
        }
        chi2 = (
            ((found["m_t_lep"] - 172.76) / 5) ** 2
            + ((found["m_W_had"] - 80.379) / 10) ** 2
            + ((found["m_t_had"] - 172.76) / 15) ** 2
        )
        if best is None or chi2 < best[0]:
            best = chi2, found
    return {"m_tt": mass_of(electron, neutrino, *jets), **best[1]}


def test_masses_are_those_of_a_loop_over_events():
    x = events(0, 300)
    x[:, 11] *= 0.9  # an m² below zero, as networks have it
    vectors = reconstructed_masses(x)
    for row in range(len(x)):
        for name, mass in one_event(x[row]).items():
            assert vectors[name][row] == pytest.approx(mass, rel=1e-9, abs=1e-6), (row, name)


def test_200_000_events_are_no_matter_of_patience():
    x = np.tile(events(2, 2_000), (100, 1))
    began = time.process_time()
    found = reconstructed_masses(x)
    assert time.process_time() - began < 10  # one core, whatever else it has to do
    assert all(mass.shape == (200_000,) for mass in found.values())


def test_portions_are_no_matter(monkeypatch):
    x = events(1, 37)
    whole = reconstructed_masses(x)
    monkeypatch.setattr("imgturbo.events.masses._ROWS", 10)
    parts = reconstructed_masses(x)
    for name in MASSES:
        np.testing.assert_array_equal(parts[name], whole[name])


def test_no_event_has_no_masses():
    assert {name: len(m) for name, m in reconstructed_masses(np.empty((0, 24))).items()} == (
        dict.fromkeys(MASSES, 0)
    )


# ------------------------------------------------------------------- events with known masses


@pytest.fixture(scope="module")
def tops():
    """tt̄ → (b̄ e ν)(b u d̄) with masses as they are looked for: z (N, 24), all massless."""
    generator, n = np.random.default_rng(3), 200
    p = massless(generator, n, 80.0)[:, :3]
    mothers = [np.column_stack([s * p, np.sqrt(M_TOP**2 + (p**2).sum(1))]) for s in (1, -1)]
    quarks, products = [], []
    for mother in mothers:
        # Two bodies, one of them a W: in the frame of the top the b has (m_t² − m_W²)/2m_t.
        energy = (M_TOP**2 - M_W**2) / (2 * M_TOP)
        direction = generator.normal(size=(n, 3))
        direction *= energy / np.linalg.norm(direction, axis=1)[:, None]
        b = np.column_stack([direction, np.full(n, energy)])
        b = boosted(b, mother[:, :3] / mother[:, 3:])
        quarks.append(b)
        products.append(decays(generator, mother - b, M_W))
    (electron, neutrino), (up, down) = products
    return np.concatenate([electron, neutrino, quarks[1], quarks[0], up, down], 1)


def test_resonances_are_those_of_the_decay(tops):
    found = resonances(tops)
    for name, mass in (("m_W_lep", M_W), ("m_W_had", M_W), ("m_t_lep", M_TOP), ("m_t_had", M_TOP)):
        np.testing.assert_allclose(found[name], mass, rtol=1e-7)


def test_masses_of_a_perfect_detector_are_those_of_the_decay(tops):
    """Where the smaller root is the true one, the assignment finds W and tops."""
    order = [0, 1, 3, 4, 5, 2]  # jets in some order
    x = tops.reshape(-1, 6, 4)[:, order].reshape(len(tops), 24)
    pz = neutrino_pz(x[:, :4], x[:, 4:6])
    right = np.isclose(pz, tops[:, 6], rtol=1e-4, atol=1e-3)
    assert 0.4 < right.mean() < 0.9
    found = reconstructed_masses(x)
    for name, mass in (("m_W_had", M_W), ("m_t_lep", M_TOP), ("m_t_had", M_TOP)):
        np.testing.assert_allclose(found[name][right], mass, rtol=1e-4)
    total = tops.reshape(-1, 6, 4).sum(1)
    np.testing.assert_allclose(found["m_tt"][right], invariant_mass(total)[right], rtol=1e-4)


def test_the_neutrino_gives_back_the_mass_of_the_w_where_it_can():
    x = events(5, 500)
    pz = neutrino_pz(x[:, :4], x[:, 4:6])
    neutrino = np.column_stack([x[:, 4:6], pz, np.hypot(np.hypot(x[:, 4], x[:, 5]), pz)])
    mass = invariant_mass(x[:, :4] + neutrino)
    pt_e, pt_nu = np.hypot(x[:, 0], x[:, 1]), np.hypot(x[:, 4], x[:, 5])
    cosine = (x[:, 0] * x[:, 4] + x[:, 1] * x[:, 5]) / (pt_e * pt_nu)
    real = np.sqrt(2 * pt_e * pt_nu * (1 - cosine)) < M_W * (1 - 1e-6)  # the transverse mass
    assert 0.05 < real.mean() < 0.95
    np.testing.assert_allclose(mass[real], M_W, rtol=1e-6)
    # Where it cannot, p_z is what the real part is of massless particles.
    k = M_W**2 / 2 + pt_e * pt_nu * cosine
    np.testing.assert_allclose(pz[~real], (k * x[:, 2] / pt_e**2)[~real], rtol=1e-6)


@given(hnp.arrays(np.float64, (3, 6), elements=st.floats(-1e3, 1e3)))
def test_any_finite_event_has_finite_numbers(values):
    """Also one at rest, along the beam, or with less energy than momentum."""
    electron, missing = values[:, :4], values[:, 4:]
    assert np.isfinite(neutrino_pz(electron, missing)).all()


@given(st.floats(-3, 3), st.booleans())
def test_masses_do_not_depend_on_how_an_event_lies(angle, mirrored):
    x = events(7, 20).reshape(-1, 6, 4)
    cos, sin = math.cos(angle), math.sin(angle)
    lain = x.copy()
    lain[..., 0], lain[..., 1] = (
        cos * x[..., 0] - sin * x[..., 1],
        sin * x[..., 0] + cos * x[..., 1],
    )
    lain[..., 2] *= -1 if mirrored else 1
    before, after = (reconstructed_masses(p.reshape(-1, 24)) for p in (x, lain))
    for name in MASSES:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-6, atol=1e-5)


def test_the_table_has_the_columns_that_it_says():
    z, x = events(8, 5), events(9, 7)
    found = observables(z, x)
    assert list(found) == list(TABLE)
    np.testing.assert_array_equal(found["b_py"], z[:, 9])
    np.testing.assert_array_equal(found["b_E"], z[:, 11])
    np.testing.assert_array_equal(found["jet1_pz"], x[:, 10])


def test_examples_run():
    assert doctest.testmod(masses).failed == 0


# ------------------------------------------------------------------------------ without a network


def test_smeared_partons_are_jets_in_order(tops):
    x = smeared(tops, np.random.default_rng(0)).reshape(-1, 6, 4)
    z = tops.reshape(-1, 6, 4)
    pt = np.hypot(x[:, 2:, 0], x[:, 2:, 1])
    assert (np.diff(pt, axis=1) <= 0).all()
    np.testing.assert_array_equal(x[:, 0], z[:, 0])
    assert (x[:, 1, 2] == 0).all()
    # Momentum that a jet gains, p^miss loses.
    np.testing.assert_allclose(x[:, 1:, :2].sum(1), z[:, 1:, :2].sum(1), atol=1e-9)


def test_jets_are_taken_for_the_quarks_that_they_are(tops):
    """Of a perfect detector, by the masses: both b and the jets of the W, in either order."""
    order = [0, 1, 5, 3, 2, 4]
    x = tops.reshape(-1, 6, 4)[:, order].reshape(len(tops), 24)
    z, found = tops.reshape(-1, 6, 4), reconstructed(x, np.random.default_rng(0)).reshape(-1, 6, 4)
    right = np.isclose(found[:, 1, 2], z[:, 1, 2], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found[right, 1:4], z[right, 1:4], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found[right, 4:].sum(1), z[right, 4:].sum(1), rtol=1e-6)
    swapped = np.isclose(found[right, 4, 3], z[right, 5, 3])
    assert 0.3 < swapped.mean() < 0.7
