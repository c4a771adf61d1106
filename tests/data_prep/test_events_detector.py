"""The parametrised detector on particles whose jets are known."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.events import Detector
from imgturbo.events import momenta
from imgturbo.events.layout import transverse

pytest.importorskip("fastjet", reason="jets need fastjet (the extra 'hep')")

EXACT = Detector(electron=(0, 0), jet=(0, 0))
ELECTRON = np.array([0.0, -40, 0, 40])


def particle(pt, eta, phi):
    """Massless."""
    return [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)]


def four(extra=()):
    """Four hard particles, well apart, and others."""
    hard = [particle(pt, eta, phi) for pt, eta, phi in
            [(30, 0, 0), (80, 1, 1.5), (50, -2, 3), (25, 2, -2.5)]]  # fmt: skip
    rows = np.array([*hard, *extra])
    return rows, np.full(len(rows), 211)


def see(rows, identities, detector=EXACT, seed=0):
    visible = detector.visible(rows, identities)
    (jets,) = detector.cluster([visible])
    return detector.see(ELECTRON, ELECTRON, visible, jets, np.random.default_rng(seed))


def test_an_exact_detector_sees_what_is_there():
    rows, identities = four()
    x = momenta(see(rows, identities))
    np.testing.assert_array_equal(x[0], ELECTRON)
    np.testing.assert_allclose(x[2:], rows[[1, 2, 0, 3]], rtol=1e-9)  # in the order of p_T
    assert x[1, 2] == 0
    np.testing.assert_allclose(x[:, :2].sum(0), 0, atol=1e-9)
    assert x[1, 3] == pytest.approx(np.hypot(*x[1, :2]))


def test_near_particles_are_one_jet_and_far_ones_are_not():
    """anti-k_T: what lies within R of a hard particle is its jet, four-momenta added."""
    near = particle(4, 1.3, 1.5)
    rows, identities = four([near])
    x = momenta(see(rows, identities))
    np.testing.assert_allclose(x[2], rows[1] + near, rtol=1e-9)
    rows, identities = four([particle(22, 1.8, 1.5)])
    assert see(rows, identities) is None  # a fifth jet


@pytest.mark.parametrize(
    ("extra", "identity", "jets", "balanced"),
    [
        ((30, 3.5, 0.0), 211, 4, True),  # seen, but too far forward for a jet
        ((30, 5.2, 0.0), 211, 4, False),  # not seen
        ((30, 0.0, -1.0), 14, 4, False),  # a neutrino
        ((15, 0.0, -1.0), 22, 4, True),  # too soft for a jet
        ((30, 0.0, -1.0), 22, 5, None),
    ],
)
def test_what_counts_as_a_jet_and_what_balances(extra, identity, jets, balanced):
    rows, identities = four([particle(*extra)])
    identities[-1] = identity
    x = see(rows, identities, Detector(electron=(0, 0), jet=(0, 0), jets=jets))
    if jets == 4:
        visible = rows if balanced else rows[:-1]
        missing = -(visible[:, :2].sum(0) + ELECTRON[:2])
        np.testing.assert_allclose(momenta(x)[1, :2], missing, atol=1e-9)
    else:
        assert x is not None


def test_missing_momentum_follows_what_was_measured():
    """Its balance with the five measured objects is that of the true ones."""
    rows, identities = four()
    x = momenta(see(rows, identities, Detector(electron=(0, 0)), seed=3))
    np.testing.assert_allclose(x[:, :2].sum(0), 0, atol=1e-9)
    assert not np.allclose(x[2], rows[1], rtol=1e-3)


def test_resolutions_are_those_that_are_stated():
    detector, generator = Detector(), np.random.default_rng(0)
    for energy in (25.0, 100.0, 400.0):
        electron = np.array([energy, 0, 0, energy])
        seen = np.array([detector.see_electron(electron, generator) for _ in range(4000)])
        expected = np.hypot(0.10 / np.sqrt(energy), 0.007)
        assert seen[:, 3].std() / energy == pytest.approx(expected, rel=0.05)
        np.testing.assert_allclose(transverse(seen)[1], 0)  # no direction is changed


def test_a_soft_or_forward_electron_is_lost():
    generator = np.random.default_rng(0)
    for pt, eta, kept in ((19, 0, False), (21, 0, True), (40, 2.6, False), (40, -2.4, True)):
        found = EXACT.see_electron(np.array(particle(pt, eta, 1.0)), generator)
        assert (found is not None) == kept
