"""The mixture has eight modes, and its labels say of which."""

from __future__ import annotations

import numpy as np
import pytest

from imgturbo.simulators import Mixture


@pytest.mark.parametrize(("labels", "count"), [("all", 8), ("some", 4), ("none", 1)])
def test_what_a_label_leaves_is_the_mixture_of_its_modes(labels, count):
    simulator = Mixture(labels=labels)
    x, y = simulator.draw(np.random.default_rng(0), 80_000)
    assert y.shape == (80_000, count)
    np.testing.assert_array_equal(y.sum(1), 1)
    nearest = ((x[:, None] - simulator.centres) ** 2).sum(-1).argmin(1)
    for label in range(count):
        mine = y[:, label] == 1
        found = np.bincount(nearest[mine], minlength=8) / mine.sum()
        np.testing.assert_allclose(found, simulator.posterior(np.eye(count)[[label]])[0], atol=0.01)
        for mode in np.flatnonzero(simulator.label_of == label):
            points = x[mine & (nearest == mode)]
            np.testing.assert_allclose(points.mean(0), simulator.centres[mode], atol=0.02)
            np.testing.assert_allclose(np.cov(points.T), 0.04 * np.eye(2), atol=0.003)


def test_labels_between_modes_are_drawn_by_their_density():
    simulator = Mixture()
    middle = (0.55 * simulator.centres[1] + 0.45 * simulator.centres[2])[None]
    y = simulator.observe(np.random.default_rng(0), np.repeat(middle, 50_000, 0))
    weights = np.exp(-((middle - simulator.centres) ** 2).sum(1) / (2 * 0.04))
    np.testing.assert_allclose(y.mean(0), weights / weights.sum(), atol=0.01)


def test_the_modes_are_on_a_ring():
    radii = np.hypot(*Mixture().centres.T)
    np.testing.assert_allclose(radii, radii[0])
    angles = np.sort(np.arctan2(*Mixture().centres.T))
    np.testing.assert_allclose(np.diff(angles), np.pi / 4)
