"""What holds for every simulator, and how they are chosen."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.units import Unit

from imgturbo.errors import ImgturboError
from imgturbo.side import Side
from imgturbo.simulators import SIMULATORS, make_simulator

NAMES = sorted(SIMULATORS)


@pytest.mark.parametrize("name", NAMES)
def test_every_simulator_keeps_its_contract(name):
    simulator, generator = make_simulator(name), np.random.default_rng(0)
    assert simulator.name == name
    parameters = simulator.prior(generator, 9)
    observed = simulator.observe(generator, parameters)
    assert parameters.shape == (9, len(simulator.parameters))
    assert observed.shape == (9, len(simulator.observations))
    assert np.isfinite(observed).all()
    assert parameters.dtype == observed.dtype == np.float64
    for unit in (*simulator.parameters.units, *simulator.observations.units):
        Unit(unit)


@pytest.mark.parametrize("name", NAMES)
def test_draws_are_a_function_of_the_generator(name):
    first, again, other = (
        make_simulator(name).draw(np.random.default_rng(s), 5) for s in (7, 7, 8)
    )
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize("name", NAMES)
def test_parameters_survive_the_way_to_the_network_and_back(name):
    """In float32, which is what networks see; and their side survives JSON."""
    simulator = make_simulator(name)
    rows = simulator.prior(np.random.default_rng(0), 500)
    side = Side.from_dict(simulator.parameters.to_dict())
    standard = side.stretch(rows.T).astype(np.float32)
    assert np.isfinite(standard).all()
    back = side.stretch.inverse(standard.astype(np.float64)).T
    np.testing.assert_allclose(back, rows, rtol=1e-4, atol=1e-5)
    assert np.abs(standard.mean(1)).max() < 0.3
    assert 0.5 < standard.std(1).min() <= standard.std(1).max() < 1.5


def test_options_are_validated_like_other_sections():
    grid, root = (make_simulator("ballistics", {"impact": way}) for way in ("grid", "root"))
    assert grid.digest == make_simulator("ballistics").digest != root.digest
    for options, words in (
        ({"impakt": "grid"}, r"data\.source\.options.*ballistics.*'impakt'; did you mean 'impact'"),
        ({"impact": "soft"}, r"data\.source\.options.*impact.*'grid' or 'root'.*got 'soft'"),
        ({"impact": True}, r"impact.*truth value"),
    ):
        with pytest.raises(ImgturboError, match=words) as caught:
            make_simulator("ballistics", options)
        assert "\n" not in str(caught.value)
    with pytest.raises(ImgturboError, match="unknown key 'noise'"):
        make_simulator("arm", {"noise": 0.1})
