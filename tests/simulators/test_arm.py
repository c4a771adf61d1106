"""The arm is the published one."""

from __future__ import annotations

import doctest
import math

import numpy as np

from imgturbo.simulators import Arm, arm


def test_the_hand_is_where_a_loop_puts_it():
    simulator, generator = Arm(), np.random.default_rng(1)
    x = simulator.prior(generator, 7)
    for (height, a, b, c), hand in zip(x, simulator.observe(generator, x), strict=True):
        directions = (a, a + b, a + b + c)
        links = list(zip((0.5, 0.5, 1), directions, strict=True))
        along = sum(length * math.cos(d) for length, d in links)
        across = height + sum(length * math.sin(d) for length, d in links)
        np.testing.assert_allclose(hand, (along, across), atol=1e-12)


def test_the_stretch_is_that_of_the_closed_moments():
    simulator = Arm()
    _, y = simulator.draw(np.random.default_rng(0), 400_000)
    standard = simulator.observations.stretch(y.T)
    np.testing.assert_allclose(standard.mean(1), 0, atol=0.01)
    np.testing.assert_allclose(standard.std(1), 1, atol=0.01)


def test_the_prior_has_the_published_deviations():
    x = Arm().prior(np.random.default_rng(0), 200_000)
    np.testing.assert_allclose(np.cov(x.T), np.diag([1 / 16, 1 / 4, 1 / 4, 1 / 4]), atol=0.004)


def test_the_example_runs():
    assert doctest.testmod(arm).failed == 0
