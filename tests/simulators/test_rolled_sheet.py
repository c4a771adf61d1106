"""The sheet: its moments standardise it, its codes are drawn from the prior."""

from __future__ import annotations

import numpy as np
import pytest

from imgturbo.simulators import Sheet


@pytest.mark.parametrize("numbers", [2, 4])
def test_both_sides_are_standardised(numbers):
    simulator, generator = Sheet(numbers=numbers), np.random.default_rng(0)
    z = simulator.prior(generator, 100_000)
    x = simulator.observe(generator, z)
    for rows, side in ((z, simulator.parameters), (x, simulator.observations)):
        standard = side.stretch(rows.T)
        np.testing.assert_allclose(standard.mean(1), 0, atol=0.02)
        np.testing.assert_allclose(standard.std(1), 1, atol=0.02)
    assert (simulator.parameters.kind, len(simulator.parameters)) == ("latent", numbers)


def test_it_lies_near_its_surface():
    simulator, generator = Sheet(), np.random.default_rng(1)
    x = simulator.observe(generator, simulator.prior(generator, 50_000))
    radius = np.hypot(x[:, 0], x[:, 1])
    assert abs(radius.mean() - 1) < 0.02
    assert radius.std() < 0.12
    assert np.abs(np.corrcoef(x.T)[3, :3]).max() < 0.03  # a function of the others all the same
